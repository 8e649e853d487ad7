"""A watcher that records what a searcher reports, and one trial's end, for tests of searchers without a cluster."""

from collections.abc import Sequence
from typing import Any

from ray.tune.search import Searcher

from omnimer_ray.execution.failures import Attempt
from omnimer_ray.execution.searcher import PlanSearcher
from omnimer_ray.planning.units import Unit

FINISHED = str(Searcher.FINISHED)


class RecordingWatcher:
    """Records what it receives as lines; like the driver's watcher it cannot be pickled, if it has a lock."""

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
