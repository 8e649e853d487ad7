"""Helpers for tests of searchers without a cluster: a watcher that records the searcher's reports, and the end of a trial."""

from collections.abc import Sequence
from typing import Any

from ray.tune.search import Searcher

from omnimer_ray.execution.failures import Attempt
from omnimer_ray.execution.searcher import PlanSearcher
from omnimer_ray.planning.units import Unit

FINISHED = str(Searcher.FINISHED)


class RecordingWatcher:
    """Records each report as a line. With a lock it cannot be pickled, like the driver's watcher."""

    def __init__(self, lock: object = None) -> None:
        self.lock = lock
        self.lines: list[str] = []

    def start(self, unit: Unit) -> None:
        self.lines.append(f"start {unit.id}")

    def end(self, unit: Unit, outcome: str, reason: str | None) -> None:
        self.lines.append(f"{unit.id} {outcome}")

    def wait(self, reason: str | None) -> None:
        if reason:
            self.lines.append(reason)

    def record_failed(self, unit: Unit, attempts: Sequence[Attempt]) -> None:
        self.lines.append(f"{unit.id} failed after {[str(attempt['outcome']) for attempt in attempts]}")


def end(searcher: PlanSearcher, trial: str, outcome: str = "done", **result: Any) -> None:
    """End a trial with an outcome."""
    searcher.on_trial_complete(trial, {"outcome": outcome, **result})
