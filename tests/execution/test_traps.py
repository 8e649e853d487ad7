"""Ray's traps, sprung on our own trials: real Ray without a dashboard, real worker groups; only the work of a unit is small.

Two cores for groups of two: whoever kept one, or waited with one, would leave the next trial waiting for ever.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray")

from making import tiny_config  # noqa: E402
from ray.util.placement_group import placement_group, remove_placement_group  # noqa: E402

from omnimer_ray.execution.driver import Outcome, connect, execute  # noqa: E402
from omnimer_ray.execution.handout import Job  # noqa: E402
from omnimer_ray.execution.searcher import PlanSearcher  # noqa: E402
from omnimer_ray.machine.profile import MachineProfile, Resources  # noqa: E402
from omnimer_ray.model.bases import locate  # noqa: E402
from omnimer_ray.planning.units import LedgerPart, LedgerUnit, Unit  # noqa: E402

pytestmark = pytest.mark.timeout(240)  # a trial that waits for ever fails here
LINES = 500


class Told:
    """Remembers what the driver is told, and does something about it."""

    def __init__(self, at_start: Callable[[], None] = lambda: None, at_end: Callable[[], None] = lambda: None) -> None:
        self.lines: list[str] = []
        self.at_start, self.at_end = at_start, at_end

    def start(self, unit: Unit) -> None:
        self.lines.append(f"start {unit.title}")
        self.at_start()

    def end(self, unit: Unit, outcome: str, reason: str | None) -> None:
        self.lines.append(f"{unit.title} {outcome}")
        self.at_end()

    def wait(self, reason: str | None) -> None:
        pass


def unit(name: str) -> Unit:
    return LedgerUnit(LedgerPart(name, "prosody", tiny_config()), name)


def hook(folder: Path) -> Callable[[], None]:
    """What runs at the start of every process of Ray's: the work of a unit becomes small, and a file may say what goes wrong, once."""

    def work(config: dict[str, Any]) -> dict[str, Any]:
        import torch
        import torch.distributed as dist

        job, name = config["job"], config["unit"].title
        ranks = torch.ones(1)
        if job.profile.workers_per_run:
            dist.all_reduce(ranks)  # the group stands
        if "full" in name:
            raise OSError(28, "No space left on device")
        if "short" in name and job.profile.micro_batch > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        while name.startswith("long"):
            time.sleep(0.05)
            if job.stop_file.exists():
                return {"outcome": "stopped"}
        with (job.folder / f"{name}.{dist.get_rank() if dist.is_initialized() else 0}.jsonl").open("w") as file:
            file.writelines(json.dumps({"step": step, "workers": int(ranks)}) + "\n" for step in range(LINES))
        return {"outcome": "done"}

    def die() -> None:
        """In the middle of the set-up: Ray has told this worker where its group meets, and that is what comes next."""
        while "MASTER_PORT" not in os.environ:
            time.sleep(0.001)
        with contextlib.suppress(FileNotFoundError):
            (folder / "die").unlink()
            os._exit(1)

    def start() -> None:
        import omnimer_ray.execution.tune_trial

        omnimer_ray.execution.tune_trial.work = work
        assert os.environ["OF_THE_PROFILE"] == "seen"  # before any process group
        if (folder / "raise").exists():
            os.environ["GLOO_SOCKET_IFNAME"] = "nowhere"
        if (folder / "die").exists():
            threading.Thread(target=die, daemon=True).start()

    return start


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Ray as a sweep starts it on two cores, but for the hook."""
    place, init = tmp_path_factory.mktemp("traps"), ray.init
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "5")

        def hooked(**options: Any) -> Any:
            return init(**{**options, "runtime_env": {**options.get("runtime_env", {}), "worker_process_setup_hook": hook(place)}})

        patch.setattr(ray, "init", hooked)
        connect(profile(), Resources(2, 0))
    yield place
    ray.shutdown()


def profile(workers: int = 2) -> MachineProfile:
    return MachineProfile(docs="a test", workers_per_run=workers, cpus_per_worker=1, micro_batch=8, environment={"OF_THE_PROFILE": "seen"})


def run(folder: Path, names: list[str], watch: Told, workers: int = 2) -> Outcome:
    job = Job(folder, folder / "ledgers", folder / "cache", locate("tiny"), profile(workers), f"{time.time_ns()}")
    job.work.mkdir(exist_ok=True)
    titles = {one.id: one.title for one in map(unit, names)}
    ended = execute(PlanSearcher([unit(name) for name in names], (), job.stop_file.exists, watch), job)
    failed = {titles[name]: reason for name, reason in ended.failed.items()}
    return Outcome(tuple(titles[name] for name in ended.done), failed, tuple(titles[name] for name in ended.left), ended.stopped)


def check_that_all_is_free() -> None:
    until = time.monotonic() + 20
    while (free := ray.available_resources().get("CPU")) != 2.0:
        assert time.monotonic() < until, f"of 2 cores {free} are free"
        time.sleep(0.1)


def written(folder: Path, name: str, workers: int) -> bool:
    """Every rank's lines are there, all of them."""
    whole = [{"step": step, "workers": workers} for step in range(LINES)]
    texts = [(folder / f"{name}.{rank}.jsonl").read_text() for rank in range(workers)]
    return all([json.loads(line) for line in text.splitlines()] == whole for text in texts)


def test_a_stopped_trial_gives_its_cores_back_and_the_next_one_starts(folder: Path) -> None:
    stop_file = folder / ".sweep" / "stop"
    ended = run(folder, ["long", "after"], Told(at_start=stop_file.touch))
    assert ended == Outcome((), {}, ("after",), True)
    check_that_all_is_free()
    stop_file.unlink()
    assert run(folder, ["after"], Told()).done == ("after",)
    assert written(folder, "after", workers=2)
    check_that_all_is_free()


@pytest.mark.parametrize("fault", ["raise", pytest.param("die", marks=pytest.mark.slow)])
def test_after_a_failed_process_group_the_next_trial_starts(folder: Path, fault: str) -> None:
    (folder / fault).touch()
    names = [f"first to {fault}", f"next to {fault}"]
    watch = Told(at_end=lambda: (folder / fault).unlink(missing_ok=True))
    ended = run(folder, names, watch)
    assert ended == Outcome(tuple(sorted(names)), {}, (), False)
    lost, again = [f"start {names[0]}", f"{names[0]} not_started"], [line for name in names for line in (f"start {name}", f"{name} done")]
    assert watch.lines == lost + again
    assert all(written(folder, name, workers=2) for name in names)
    check_that_all_is_free()


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_what_ran_out_of_memory_is_done_in_less(folder: Path, workers: int) -> None:
    watch, name = Told(), f"short of memory {workers}"
    assert run(folder, [name], watch, workers) == Outcome((name,), {}, (), False)
    assert watch.lines == [f"start {name}", f"{name} out_of_memory", f"start {name}", f"{name} done"]
    check_that_all_is_free()


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_slow_driver_loses_nothing(folder: Path, workers: int) -> None:
    one, two, three, full = names = [f"{name} of {workers}" for name in ("one", "two", "three", "full")]
    watch = Told(at_start=lambda: time.sleep(2), at_end=lambda: time.sleep(4))
    ended = run(folder, names, watch, workers)
    assert (set(ended.done), ended.left, ended.stopped) == ({one, two, three}, (), False)
    assert ended.failed == {full: "storage: [Errno 28] No space left on device"}
    ends = [f"{one} done", f"{two} done", f"{three} done", f"{full} storage"]
    assert sorted(watch.lines) == sorted([*(f"start {name}" for name in names), *ends])
    assert all(written(folder, name, workers=1) for name in (one, two, three))
    check_that_all_is_free()


def test_a_group_that_finds_its_cores_taken_waits_for_them(folder: Path) -> None:
    """Another driver takes a core between a unit's start and its group's. Before: three timeouts, and the unit was recorded as lost."""
    held: list[Any] = []

    class Waiting(Told):
        def start(self, unit: Unit) -> None:
            super().start(unit)
            if not held:
                held.append(placement_group([{"CPU": 1}]))
                assert held[0].wait(10)

        def wait(self, reason: str | None) -> None:
            if reason and reason not in self.lines:
                self.lines.append(reason)
                remove_placement_group(held[0])

    watch = Waiting()
    assert run(folder, ["busy"], watch) == Outcome(("busy",), {}, (), False)
    waits = "waiting for 2 workers with 1 core on one node each: 1 free of 2 cores"
    assert watch.lines == ["start busy", "busy waiting", waits, "start busy", "busy done"]
    check_that_all_is_free()
