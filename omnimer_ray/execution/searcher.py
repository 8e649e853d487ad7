"""The order in which Ray Tune starts the units of a plan: those whose needs are done, with retries first.

The searcher knows no cluster: the driver sets four callbacks that connect it to one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Protocol

from ray.tune.search import Searcher

from omnimer_ray.execution.failures import POLICIES, Attempt, FailureKind, classify_text, should_retry
from omnimer_ray.planning.pruning import PRUNED
from omnimer_ray.planning.units import Unit

CALLBACKS = ("classify_dead", "has_room", "release", "record_failed")  # attributes of a searcher that `execute` sets


class Watcher(Protocol):
    """Receives the start and the end of each unit."""

    def start(self, unit: Unit) -> None:
        """Handle the start of a unit's trial."""

    def end(self, unit: Unit, outcome: str, reason: str | None) -> None:
        """Handle the end of a unit's trial; `reason` is set if it failed."""

    def wait(self, reason: str | None) -> None:
        """Handle the reason why a ready unit waits for resources; None if no unit waits."""


class PlanSearcher(Searcher):  # type: ignore[misc]
    """Tune's search algorithm that suggests the units of a plan in the order of their dependencies."""

    driver: tuple[str, ...] = ("stopped", "watcher")  # attributes that belong to the driver's process

    def __init__(self, units: Iterable[Unit], done: Iterable[str], stopped: Callable[[], bool], watcher: Watcher) -> None:
        """`done`: ids of units that are recorded as done; `stopped`: whether no further unit may start."""
        super().__init__(metric="outcome", mode="max")
        self.pending, self.done = list(units), set(done)
        self.running: dict[str, Unit] = {}  # by trial id
        self.failed: dict[str, str] = {}  # unit id -> reason
        self.fault: str | None = None  # reason why no further unit is started
        self.attempts: dict[str, list[Attempt]] = defaultdict(list)  # failed attempts by unit id
        self.stopped, self.watcher = stopped, watcher
        self.classify_dead: Callable[[str, Unit, Sequence[Attempt]], Attempt] = _classify_as_lost  # a trial that died without a report
        self.has_room: Callable[[Collection[Unit]], bool] = lambda running: True  # whether another unit fits beside the running ones
        self.release: Callable[[Unit], None] = lambda unit: None  # free resources that the workers of an ended unit may still hold
        self.record_failed: Callable[[Unit, Sequence[Attempt]], None] = lambda unit, attempts: None  # a unit without a further retry

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the config of the next ready unit's trial, or None while a unit may become ready or waits for resources.

        FINISHED only if no unit can start any more, because Tune never asks again after it.
        """
        if self.stopped() or self.fault is not None:
            return str(Searcher.FINISHED)
        if (self.ready() or self.may_grow()) and not self.has_room(self.running.values()):
            return None
        while self.ready() is None and self.may_grow():
            self.grow()
        unit = self.ready()
        if unit is None:  # a running unit may be needed by a pending one, or may be retried
            return None if self.running else str(Searcher.FINISHED)
        self.pending.remove(unit)
        self.running[trial_id] = unit
        self.watcher.start(unit)
        attempts = self.attempts[unit.id]
        return {"unit": unit, "attempts": list(attempts)} if attempts else {"unit": unit}

    def ready(self) -> Unit | None:
        """Return the first pending unit whose needs are done."""
        return next((unit for unit in self.pending if set(unit.needs) <= self.done), None)

    def may_grow(self) -> bool:
        """Whether `grow` may add units; the units of a plan are fixed."""
        return False

    def grow(self) -> None:
        """Add units."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Store the outcome of a trial's unit; a failed unit is retried if its failure kind allows it."""
        unit = self.running.pop(trial_id, None)
        if unit is None:
            return  # Tune repeats this call if its own bookkeeping failed, for example on a full disk
        self.release(unit)
        if error or not result:
            result = self.classify_dead(trial_id, unit, self.attempts[unit.id])
        outcome, reason = str(result["outcome"]), result.get("reason")
        if outcome == "stopped" and not self.stopped():
            outcome, reason = str(FailureKind.LOST_WORKER), "it stopped without a request to stop"
        if outcome == "done":
            self.done.add(unit.id)
        elif outcome not in ("stopped", PRUNED):
            self._add_failure(unit, {"outcome": FailureKind(outcome), "reason": reason, "micro_batch": result.get("micro_batch")})
        self.watcher.end(unit, outcome, reason)

    def _add_failure(self, unit: Unit, attempt: Attempt) -> None:
        """Queue a failed unit again, or record it. Attempts of a kind with unlimited retries are not counted."""
        attempts = [*self.attempts[unit.id], attempt]
        if POLICIES[attempt["outcome"]].retry.attempts is not None:
            self.attempts[unit.id] = attempts
        if should_retry(attempts):
            self.pending.insert(0, unit)
        else:
            self.failed[unit.id] = f"{attempt['outcome']}: {attempt['reason']}"
            self.record_failed(unit, attempts)
        if POLICIES[attempt["outcome"]].ends_sweep:
            self.fault = attempt["reason"]

    def __getstate__(self) -> dict[str, Any]:
        """Return the state that Tune pickles, and that is never restored, without the callbacks of the driver."""
        return {name: value for name, value in vars(self).items() if name not in (*self.driver, *CALLBACKS)}

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the records in the results folder are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the records in the results folder are the state."""


def _classify_as_lost(trial_id: str, unit: Unit, attempts: Sequence[Attempt]) -> Attempt:
    return classify_text("")
