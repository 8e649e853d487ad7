"""The order in which the units of a plan are started, retried and recorded as failed, without a cluster."""

import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from making import AnyUnit, ablations, tiny_config
from recording import FINISHED, RecordingWatcher, end

from omnimer_ray.execution.failures import LOST
from omnimer_ray.execution.searcher import PlanSearcher
from omnimer_ray.planning.plan import make_plan
from omnimer_ray.planning.units import LedgerUnit, StageUnit, Unit

ATTEMPTS = LOST.attempts or 0


def unit(name: str, *needs: str) -> Unit:
    return AnyUnit(name, needs, f"title of {name}")


def searcher(
    *units: Unit, done: tuple[str, ...] = (), stopped: Callable[[], bool] = lambda: False, watcher: RecordingWatcher | None = None
) -> PlanSearcher:
    watcher = watcher or RecordingWatcher()
    made = PlanSearcher(units, done, stopped, watcher)
    made.record_failed = watcher.record_failed
    return made


def suggested(searcher: PlanSearcher, trial: str) -> str | None:
    """The id of the unit that is suggested for a trial, or 'FINISHED', or None."""
    suggestion = searcher.suggest(trial)
    return suggestion["unit"].id if isinstance(suggestion, dict) else suggestion


def test_a_unit_is_started_after_its_needs_are_done() -> None:
    search = searcher(unit("ledger"), unit("stage", "ledger"), unit("run", "stage"))
    assert suggested(search, "t1") == "ledger"
    assert suggested(search, "t2") is None
    end(search, "t1")
    assert suggested(search, "t2") == "stage"
    assert suggested(search, "t3") is None
    end(search, "t2")
    assert suggested(search, "t3") == "run"
    end(search, "t3")
    assert suggested(search, "t4") == FINISHED
    assert search.done == {"ledger", "stage", "run"}


def test_units_that_were_done_before_count_as_done() -> None:
    search = searcher(unit("run", "stage"), done=("stage",))
    assert suggested(search, "t1") == "run"


def test_shared_stages_come_before_the_runs() -> None:
    units = make_plan(ablations(tiny_config())).units
    ledgers = [unit.id for unit in units if isinstance(unit, LedgerUnit)]
    search = searcher(*(unit for unit in units if not isinstance(unit, LedgerUnit)), done=tuple(ledgers))
    first = suggested(search, "t1")
    shared = [unit.id for unit in units if isinstance(unit, StageUnit)]
    assert [first] == shared


def test_all_units_of_a_plan_are_started_after_their_needs() -> None:
    units = {unit.id: unit for unit in make_plan(ablations(tiny_config())).units}
    search, done, running = searcher(*units.values()), set[str](), list[tuple[str, str]]()
    for trial in range(1000):
        name = suggested(search, str(trial)) if len(running) < 2 else None
        if name == FINISHED:
            break
        if name is None:  # as many at once as fit, or none is ready: the oldest ends
            ended, finished = running.pop(0)
            end(search, ended)
            done.add(finished)
        else:
            assert set(units[name].needs) <= done
            running.append((str(trial), name))
    assert done == set(units)
    assert not running


def test_finished_is_returned_only_if_no_unit_runs() -> None:
    search = searcher(unit("one"))
    assert suggested(search, "t1") == "one"
    assert suggested(search, "t2") is None, "Tune calls no searcher again after FINISHED, and the running unit may be lost"
    end(search, "t1")
    assert suggested(search, "t2") == FINISHED


def test_units_that_depend_on_a_failed_unit_are_not_started() -> None:
    search = searcher(unit("bad"), unit("needs bad", "bad"), unit("needs that", "needs bad"), unit("free"))
    assert suggested(search, "t1") == "bad"
    end(search, "t1", "diverged", reason="the loss of step 7 is nan")
    assert suggested(search, "t2") == "free"
    end(search, "t2")
    assert suggested(search, "t3") == FINISHED
    assert search.failed == {"bad": "diverged: the loss of step 7 is nan"}
    assert [unit.id for unit in search.pending] == ["needs bad", "needs that"]


def test_units_that_depend_on_a_unit_recorded_as_failed_are_not_started() -> None:
    search = searcher(unit("needs bad", "bad"), unit("free"), done=("other",))
    assert suggested(search, "t1") == "free"
    end(search, "t1")
    assert suggested(search, "t2") == FINISHED


@pytest.mark.parametrize("how", [{"result": {"outcome": "lost_worker", "reason": "ActorDied"}}, {"error": True}, {"result": None}])
def test_a_lost_unit_is_retried_a_limited_number_of_times(how: dict[str, Any]) -> None:
    watcher = RecordingWatcher()
    search = searcher(unit("one"), unit("two", "one"), watcher=watcher)
    for attempt in range(ATTEMPTS):
        assert suggested(search, f"t{attempt}") == "one"
        search.on_trial_complete(f"t{attempt}", **how)
    assert suggested(search, "last") == FINISHED
    assert search.failed == {"one": f"lost_worker: {'ActorDied' if how.get('result') else 'its process died'}"}
    assert "one failed after ['lost_worker', 'lost_worker', 'lost_worker']" in watcher.lines


def test_a_unit_that_waits_for_resources_is_not_started_and_no_attempt_is_counted() -> None:
    """Without room nothing is started. A unit whose cores were taken meanwhile returns to the head of the queue, any number of times."""
    watcher, room = RecordingWatcher(), [False]
    search = searcher(unit("one"), unit("two"), watcher=watcher)
    search.has_room = lambda running: room[0]
    assert suggested(search, "t0") is None
    assert watcher.lines == []
    room[0] = True
    for attempt in range(1, 3 * ATTEMPTS):
        assert suggested(search, f"t{attempt}") == "one"
        end(search, f"t{attempt}", "waiting", reason="no cores within 60 s")
    assert (search.attempts["one"], search.failed, search.done) == ([], {}, set())
    assert not any("failed after" in line for line in watcher.lines)
    assert search.suggest("last") == {"unit": unit("one")}
    room[0] = False
    end(search, "last")
    assert suggested(search, "t8") is None, "not FINISHED while a unit waits"


def test_a_full_cluster_is_finished_if_nothing_is_pending() -> None:
    search = searcher(unit("one"))
    assert suggested(search, "t1") == "one"
    search.has_room = lambda running: False
    assert suggested(search, "t2") is None
    end(search, "t1")
    assert suggested(search, "t2") == FINISHED


def test_failed_attempts_are_passed_to_the_next_attempt(tmp_path: Path) -> None:
    """A unit that ran out of memory is retried once."""
    watcher, short = RecordingWatcher(), {"outcome": "out_of_memory", "reason": "no more", "micro_batch": 8}
    search = searcher(unit("one"), watcher=watcher)
    assert search.suggest("t1") == {"unit": unit("one")}
    search.on_trial_complete("t1", short)
    assert search.suggest("t2") == {"unit": unit("one"), "attempts": [short]}
    search.on_trial_complete("t2", {**short, "micro_batch": 4})
    assert suggested(search, "t3") == FINISHED
    assert search.failed == {"one": "out_of_memory: no more"}
    assert watcher.lines == [
        *("start one", "one out_of_memory", "start one"),
        *("one failed after ['out_of_memory', 'out_of_memory']", "one out_of_memory"),
    ]


def test_a_stopped_unit_is_neither_failed_nor_done() -> None:
    stop = [False]
    search = searcher(unit("one"), unit("two", "one"), stopped=lambda: stop[0])
    assert suggested(search, "t1") == "one"
    stop[0] = True
    end(search, "t1", "stopped")
    assert (search.done, search.failed) == (set(), {})
    assert suggested(search, "t2") == FINISHED


def test_a_unit_that_stopped_without_a_request_is_retried() -> None:
    search = searcher(unit("one"))
    assert suggested(search, "t1") == "one"
    end(search, "t1", "stopped")
    assert suggested(search, "t2") == "one"
    assert search.attempts["one"] == [{"outcome": "lost_worker", "reason": "it stopped without a request to stop", "micro_batch": None}]


def test_a_pruned_unit_is_not_a_failure() -> None:
    search = searcher(unit("one"))
    assert suggested(search, "t1") == "one"
    end(search, "t1", "pruned", reason="below the others")
    assert (search.failed, search.attempts["one"], suggested(search, "t2")) == ({}, [], FINISHED)


def test_after_a_full_disk_no_further_unit_is_started() -> None:
    search = searcher(unit("one"), unit("two"), unit("three"))
    assert [suggested(search, "t1"), suggested(search, "t2")] == ["one", "two"]
    end(search, "t1", "storage", reason="No space left on device")
    assert suggested(search, "t3") == FINISHED
    end(search, "t2")
    assert (search.fault, search.done, search.failed) == ("No space left on device", {"two"}, {"one": "storage: No space left on device"})


def test_an_unknown_outcome_raises_an_error() -> None:
    search = searcher(unit("one"))
    assert suggested(search, "t1") == "one"
    with pytest.raises(ValueError, match="'tired' is not a valid FailureKind"):
        end(search, "t1", "tired")


def test_a_repeated_end_of_a_trial_is_ignored() -> None:
    search = searcher(unit("one"))
    assert suggested(search, "t1") == "one"
    end(search, "t1")
    search.on_trial_complete("t1", error=True)
    assert (search.done, search.failed) == ({"one"}, {})


def test_nothing_is_started_after_a_stop() -> None:
    stop = [False]
    search = searcher(unit("one"), unit("two"), stopped=lambda: stop[0])
    assert suggested(search, "t1") == "one"
    stop[0] = True
    assert suggested(search, "t2") == FINISHED
    assert [unit.id for unit in search.pending] == ["two"]


def test_the_watcher_receives_starts_and_ends() -> None:
    watcher = RecordingWatcher()
    search = searcher(unit("one"), unit("two"), unit("three"), watcher=watcher)
    for trial, result in (("t1", None), ("t2", {"outcome": "done"}), ("t3", {"outcome": "diverged", "reason": "nan"}), ("t4", None)):
        search.suggest(trial)
        search.on_trial_complete(trial, result)
    starts_and_ends = ["start one", "one lost_worker", "start one", "one done", "start two"]
    starts_and_ends += ["two failed after ['diverged']", "two diverged", "start three"]
    assert watcher.lines == [*starts_and_ends, "three lost_worker"]


def test_the_searcher_is_pickled_without_the_watcher(tmp_path: Path) -> None:
    lock = threading.Lock()
    search = searcher(unit("one"), done=("zero",), stopped=lambda: lock.locked(), watcher=RecordingWatcher(lock))
    search.suggest("t1")
    again = pickle.loads(pickle.dumps(search))
    assert (again.done, [unit.id for unit in again.running.values()]) == ({"zero"}, ["one"])
    search.save(str(tmp_path / "state"))
    search.restore(str(tmp_path / "state"))
    assert list(tmp_path.iterdir()) == []
