"""The plan's searcher and a person's Ctrl-C, without a cluster."""

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from making import AnyUnit, ablations, tiny_config
from ray.tune.search import Searcher

from omnimer_ray.execution.driver import Interruption, LastWords, PlanSearcher, connect
from omnimer_ray.execution.failures import LOST, Attempt
from omnimer_ray.machine.profile import MachineProfile, Resources
from omnimer_ray.planning.plan import make_plan
from omnimer_ray.planning.units import LedgerUnit, StageUnit, Unit

FINISHED = str(Searcher.FINISHED)
ATTEMPTS = LOST.attempts or 0


def unit(name: str, *needs: str) -> Unit:
    return AnyUnit(name, needs, f"title of {name}")


class Told:
    """Remembers what a watcher is told; like the driver's, it cannot be pickled where it holds a lock."""

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

    def give_up(self, unit: Unit, attempts: Sequence[Attempt]) -> None:
        self.lines.append(f"{unit.id} given up after {[str(attempt['outcome']) for attempt in attempts]}")


def searcher(
    *units: Unit, done: tuple[str, ...] = (), stopped: Callable[[], bool] = lambda: False, watch: Told | None = None
) -> PlanSearcher:
    watch = watch or Told()
    plan = PlanSearcher(units, done, stopped, watch)
    plan.give_up = watch.give_up
    return plan


def given(plan: PlanSearcher, trial: str) -> str | None:
    """The unit that a trial is given, or 'FINISHED', or None."""
    suggestion = plan.suggest(trial)
    return suggestion["unit"].id if isinstance(suggestion, dict) else suggestion


def end(plan: PlanSearcher, trial: str, outcome: str = "done", **result: Any) -> None:
    plan.on_trial_complete(trial, {"outcome": outcome, **result})


def test_a_unit_is_handed_out_once_what_it_needs_is_done() -> None:
    plan = searcher(unit("ledger"), unit("stage", "ledger"), unit("run", "stage"))
    assert given(plan, "t1") == "ledger"
    assert given(plan, "t2") is None
    end(plan, "t1")
    assert given(plan, "t2") == "stage"
    assert given(plan, "t3") is None
    end(plan, "t2")
    assert given(plan, "t3") == "run"
    end(plan, "t3")
    assert given(plan, "t4") == FINISHED
    assert plan.done == {"ledger", "stage", "run"}


def test_what_is_done_already_counts() -> None:
    plan = searcher(unit("run", "stage"), done=("stage",))
    assert given(plan, "t1") == "run"


def test_shared_stages_come_before_the_runs() -> None:
    units = make_plan(ablations(tiny_config())).units
    ledgers = [unit.id for unit in units if isinstance(unit, LedgerUnit)]
    plan = searcher(*(unit for unit in units if not isinstance(unit, LedgerUnit)), done=tuple(ledgers))
    first = given(plan, "t1")
    shared = [unit.id for unit in units if isinstance(unit, StageUnit)]
    assert [first] == shared


def test_a_whole_plan_is_handed_out_in_an_order_that_works() -> None:
    units = {unit.id: unit for unit in make_plan(ablations(tiny_config())).units}
    plan, done, running = searcher(*units.values()), set[str](), list[tuple[str, str]]()
    for trial in range(1000):
        name = given(plan, str(trial)) if len(running) < 2 else None
        if name == FINISHED:
            break
        if name is None:  # as many at once as fit, or none is ready: the oldest ends
            ended, finished = running.pop(0)
            end(plan, ended)
            done.add(finished)
        else:
            assert set(units[name].needs) <= done
            running.append((str(trial), name))
    assert done == set(units)
    assert not running


def test_finished_is_said_only_when_nothing_runs() -> None:
    plan = searcher(unit("one"))
    assert given(plan, "t1") == "one"
    assert given(plan, "t2") is None, "Tune never asks again after FINISHED, and this one may be lost"
    end(plan, "t1")
    assert given(plan, "t2") == FINISHED


def test_what_needs_a_failed_unit_is_left() -> None:
    plan = searcher(unit("bad"), unit("needs bad", "bad"), unit("needs that", "needs bad"), unit("free"))
    assert given(plan, "t1") == "bad"
    end(plan, "t1", "diverged", reason="the loss of step 7 is nan")
    assert given(plan, "t2") == "free"
    end(plan, "t2")
    assert given(plan, "t3") == FINISHED
    assert plan.failed == {"bad": "diverged: the loss of step 7 is nan"}
    assert [unit.id for unit in plan.pending] == ["needs bad", "needs that"]


def test_what_needs_a_unit_that_failed_before_is_left() -> None:
    plan = searcher(unit("needs bad", "bad"), unit("free"), done=("other",))
    assert given(plan, "t1") == "free"
    end(plan, "t1")
    assert given(plan, "t2") == FINISHED


@pytest.mark.parametrize("how", [{"result": {"outcome": "lost_worker", "reason": "ActorDied"}}, {"error": True}, {"result": None}])
def test_a_lost_unit_is_handed_out_again_but_not_for_ever(how: dict[str, Any]) -> None:
    watch = Told()
    plan = searcher(unit("one"), unit("two", "one"), watch=watch)
    for attempt in range(ATTEMPTS):
        assert given(plan, f"t{attempt}") == "one"
        plan.on_trial_complete(f"t{attempt}", **how)
    assert given(plan, "last") == FINISHED
    assert plan.failed == {"one": f"lost_worker: {'ActorDied' if how.get('result') else 'its process died'}"}
    assert "one given up after ['lost_worker', 'lost_worker', 'lost_worker']" in watch.lines


def test_a_unit_that_waits_for_resources_is_not_started_and_no_attempt_is_counted() -> None:
    """No room: nothing is handed out. No cores in time: back to the head of the queue, as often as it takes."""
    watch, room = Told(), [False]
    plan = searcher(unit("one"), unit("two"), watch=watch)
    plan.has_room = lambda running: room[0]
    assert given(plan, "t0") is None
    assert watch.lines == []
    room[0] = True
    for attempt in range(1, 3 * ATTEMPTS):
        assert given(plan, f"t{attempt}") == "one"
        end(plan, f"t{attempt}", "waiting", reason="no cores within 60 s")
    assert (plan.attempts["one"], plan.failed, plan.done) == ([], {}, set())
    assert not any("given up" in line for line in watch.lines)
    assert plan.suggest("last") == {"unit": unit("one")}
    room[0] = False
    end(plan, "last")
    assert given(plan, "t8") is None, "not FINISHED while a unit waits"


def test_a_full_cluster_is_finished_once_nothing_is_pending() -> None:
    plan = searcher(unit("one"))
    assert given(plan, "t1") == "one"
    plan.has_room = lambda running: False
    assert given(plan, "t2") is None
    end(plan, "t1")
    assert given(plan, "t2") == FINISHED


def test_what_was_tried_goes_along(tmp_path: Path) -> None:
    """A unit that ran out of memory is started again once; whoever starts it sees why."""
    watch, short = Told(), {"outcome": "out_of_memory", "reason": "no more", "micro_batch": 8}
    plan = searcher(unit("one"), watch=watch)
    assert plan.suggest("t1") == {"unit": unit("one")}
    plan.on_trial_complete("t1", short)
    assert plan.suggest("t2") == {"unit": unit("one"), "tried": [short]}
    plan.on_trial_complete("t2", {**short, "micro_batch": 4})
    assert given(plan, "t3") == FINISHED
    assert plan.failed == {"one": "out_of_memory: no more"}
    assert watch.lines == [
        *("start one", "one out_of_memory", "start one"),
        *("one given up after ['out_of_memory', 'out_of_memory']", "one out_of_memory"),
    ]


def test_last_words_are_those_that_tune_wrote(tmp_path: Path) -> None:
    words = LastWords()
    (tmp_path / "error.txt").write_text("The actor is dead")
    for name, file in (("t1", tmp_path / "error.txt"), ("t2", tmp_path / "none"), ("t3", None)):
        words.on_trial_start(0, [], SimpleNamespace(trial_id=name, error_file=file and str(file)))
    assert [words.of(name) for name in ("t1", "t2", "t3", "t4")] == ["The actor is dead", "", "", ""]


def test_a_stopped_unit_neither_failed_nor_is_done() -> None:
    asked = [False]
    plan = searcher(unit("one"), unit("two", "one"), stopped=lambda: asked[0])
    assert given(plan, "t1") == "one"
    asked[0] = True
    end(plan, "t1", "stopped")
    assert (plan.done, plan.failed) == (set(), {})
    assert given(plan, "t2") == FINISHED


def test_a_unit_that_stopped_unasked_is_handed_out_again() -> None:
    plan = searcher(unit("one"))
    assert given(plan, "t1") == "one"
    end(plan, "t1", "stopped")
    assert given(plan, "t2") == "one"
    assert plan.attempts["one"] == [{"outcome": "lost_worker", "reason": "it stopped, and nobody had asked it to", "micro_batch": None}]


def test_a_pruned_unit_is_over_and_no_failure() -> None:
    plan = searcher(unit("one"))
    assert given(plan, "t1") == "one"
    end(plan, "t1", "pruned", reason="below the others")
    assert (plan.failed, plan.attempts["one"], given(plan, "t2")) == ({}, [], FINISHED)


def test_an_unknown_outcome_fails_loudly() -> None:
    plan = searcher(unit("one"))
    assert given(plan, "t1") == "one"
    with pytest.raises(ValueError, match="'tired' is not a valid FailureKind"):
        end(plan, "t1", "tired")


def test_an_end_that_could_not_be_booked_is_told_twice() -> None:
    plan = searcher(unit("one"))
    assert given(plan, "t1") == "one"
    end(plan, "t1")
    plan.on_trial_complete("t1", error=True)
    assert (plan.done, plan.failed) == ({"one"}, {})


def test_cards_are_hidden_from_what_a_profile_without_any_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []
    monkeypatch.setattr("ray.init", lambda **options: seen.append({**os.environ, **options.get("runtime_env", {}).get("env_vars", {})}))
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}}])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for address in (None, "auto"):
        for cards, visible in ((0, ""), (1, "3")):
            connect(
                MachineProfile(docs="a test", address=address, gpus_per_worker=cards, environment={"A_NETWORK": "eth7"}), Resources(8, 1)
            )
            assert (seen[-1]["CUDA_VISIBLE_DEVICES"], seen[-1]["A_NETWORK"]) == (visible, "eth7")
            assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ.get("A_NETWORK")) == ("3", None)


def test_nothing_starts_once_it_is_stopped() -> None:
    asked = [False]
    plan = searcher(unit("one"), unit("two"), stopped=lambda: asked[0])
    assert given(plan, "t1") == "one"
    asked[0] = True
    assert given(plan, "t2") == FINISHED
    assert [unit.id for unit in plan.pending] == ["two"]


def test_whoever_watches_is_told_what_starts_and_how_it_ends() -> None:
    watch = Told()
    plan = searcher(unit("one"), unit("two"), unit("three"), watch=watch)
    for trial, result in (("t1", None), ("t2", {"outcome": "done"}), ("t3", {"outcome": "diverged", "reason": "nan"}), ("t4", None)):
        plan.suggest(trial)
        plan.on_trial_complete(trial, result)
    starts_and_ends = ["start one", "one lost_worker", "start one", "one done", "start two"]
    starts_and_ends += ["two given up after ['diverged']", "two diverged", "start three"]
    assert watch.lines == [*starts_and_ends, "three lost_worker"]


def test_tune_can_pickle_it_whatever_the_driver_watches_with(tmp_path: Path) -> None:
    lock = threading.Lock()
    plan = searcher(unit("one"), done=("zero",), stopped=lambda: lock.locked(), watch=Told(lock))
    plan.suggest("t1")
    again = pickle.loads(pickle.dumps(plan))
    assert (again.done, [unit.id for unit in again.running.values()]) == ({"zero"}, ["one"])
    plan.save(str(tmp_path / "state"))
    plan.restore(str(tmp_path / "state"))
    assert list(tmp_path.iterdir()) == []


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0)  # handlers run between two steps of the main thread


def test_the_first_ctrl_c_asks_to_stop_and_the_second_stops(tmp_path: Path) -> None:
    told: list[str] = []
    stop_file = tmp_path / ".sweep" / "stop"
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interruption(stop_file, told.append):
        interrupt()
        assert stop_file.exists()
        assert told == ["stopping: running units write a checkpoint after their step; Ctrl-C again stops at once"]
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert not stop_file.exists()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_sigterm_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Interruption(tmp_path / "stop", lambda line: None):
        interrupt(signal.SIGTERM)


def test_a_stop_that_was_asked_of_an_earlier_sweep_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("asked long ago")
    with Interruption(tmp_path / "stop", lambda line: None):
        assert not (tmp_path / "stop").exists()


def test_outside_the_main_thread_signals_are_left_alone(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[Any] = []

    def enter() -> None:
        with Interruption(tmp_path / "stop", lambda line: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]
