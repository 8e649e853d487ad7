"""Known faults of Ray, provoked in real trials and worker groups without a dashboard; only the work of a unit is replaced.

Two cores for groups of two: a trial that does not release a core, or holds one while it waits, blocks the next trial for ever.
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

from omnimer_ray.errors import SweepStoppedError  # noqa: E402
from omnimer_ray.execution.driver import Outcome, connect, execute  # noqa: E402
from omnimer_ray.execution.handout import Job  # noqa: E402
from omnimer_ray.execution.searcher import PlanSearcher  # noqa: E402
from omnimer_ray.machine.profile import MachineProfile, Resources  # noqa: E402
from omnimer_ray.model.bases import locate  # noqa: E402
from omnimer_ray.planning.units import LedgerPart, LedgerUnit, Unit  # noqa: E402

pytestmark = pytest.mark.timeout(240)  # a trial that waits for ever fails by this timeout
NUM_LINES = 500


class Watcher:
    """Records the titles of units that start and end, and calls a function at each start and each end."""

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


def setup_hook(folder: Path) -> Callable[[], None]:
    """The set-up function of Ray's worker processes: replaces the work of a unit, and provokes the fault that a file in `folder` names."""

    def work(config: dict[str, Any]) -> dict[str, Any]:
        import torch
        import torch.distributed as dist

        job, name = config["job"], config["unit"].title
        ranks = torch.ones(1)
        if job.profile.workers_per_run:
            dist.all_reduce(ranks)  # fails without a process group
        if "full" in name:
            raise OSError(28, "No space left on device")
        if "absent" in name:
            raise FileNotFoundError(2, "No such file", "/share/clip.mp4")
        if "short" in name and job.profile.micro_batch > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        while name.startswith("long"):
            time.sleep(0.05)
            if job.stop_file.exists():
                return {"outcome": "stopped"}
        with (job.folder / f"{name}.{dist.get_rank() if dist.is_initialized() else 0}.jsonl").open("w") as file:
            file.writelines(json.dumps({"step": step, "workers": int(ranks)}) + "\n" for step in range(NUM_LINES))
        (job.folder / f"{name}.pid").write_text(str(os.getpid()))
        return {"outcome": "done"}

    def die() -> None:
        """End the process in the middle of the set-up: the group's address is set, and the process group is not made yet."""
        while "MASTER_PORT" not in os.environ:
            time.sleep(0.001)
        with contextlib.suppress(FileNotFoundError):
            (folder / "die").unlink()
            os._exit(1)

    def start() -> None:
        import omnimer_ray.execution.tune_trial

        omnimer_ray.execution.tune_trial.work = work
        assert os.environ["PROFILE_VARIABLE"] == "set"  # before any process group is made
        if (folder / "raise").exists():
            os.environ["GLOO_SOCKET_IFNAME"] = "nowhere"
        if (folder / "die").exists():
            threading.Thread(target=die, daemon=True).start()

    return start


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of all tests; Ray runs on two cores as a sweep starts it, except for the set-up function."""
    folder, init = tmp_path_factory.mktemp("traps"), ray.init
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "5")

        def hooked(**options: Any) -> Any:
            return init(**{**options, "runtime_env": {**options.get("runtime_env", {}), "worker_process_setup_hook": setup_hook(folder)}})

        patch.setattr(ray, "init", hooked)
        connect(profile(), Resources(2, 0))
    yield folder
    ray.shutdown()


def profile(workers: int = 2) -> MachineProfile:
    return MachineProfile(docs="a test", workers_per_run=workers, cpus_per_worker=1, micro_batch=8, environment={"PROFILE_VARIABLE": "set"})


def run(folder: Path, names: list[str], watcher: Watcher, workers: int = 2) -> Outcome:
    job = Job(folder, folder / "ledgers", folder / "cache", locate("tiny"), profile(workers), f"{time.time_ns()}")
    job.work.mkdir(exist_ok=True)
    titles = {one.id: one.title for one in map(unit, names)}
    ended = execute(PlanSearcher([unit(name) for name in names], (), job.stop_file.exists, watcher), job)
    failed = {titles[name]: reason for name, reason in ended.failed.items()}
    return Outcome(tuple(titles[name] for name in ended.done), failed, tuple(titles[name] for name in ended.left), ended.stopped)


def wait_for_free_cores() -> None:
    """Wait until both cores are free; fail after 20 s."""
    deadline = time.monotonic() + 20
    while (free := ray.available_resources().get("CPU")) != 2.0:
        assert time.monotonic() < deadline, f"{free} of 2 cores are free"
        time.sleep(0.1)


def is_complete(folder: Path, name: str, workers: int) -> bool:
    """Whether every rank has written all its lines and nothing else."""
    expected = [{"step": step, "workers": workers} for step in range(NUM_LINES)]
    texts = [(folder / f"{name}.{rank}.jsonl").read_text() for rank in range(workers)]
    return all([json.loads(line) for line in text.splitlines()] == expected for text in texts)


def test_a_stopped_trial_releases_its_cores_and_the_next_one_starts(folder: Path) -> None:
    stop_file = folder / ".sweep" / "stop"
    ended = run(folder, ["long", "after"], Watcher(at_start=stop_file.touch))
    assert ended == Outcome((), {}, ("after",), True)
    wait_for_free_cores()
    stop_file.unlink()
    assert run(folder, ["after"], Watcher()).done == ("after",)
    assert is_complete(folder, "after", workers=2)
    wait_for_free_cores()


@pytest.mark.parametrize("fault", ["raise", pytest.param("die", marks=pytest.mark.slow)])
def test_the_next_trial_starts_after_a_failed_process_group(folder: Path, fault: str) -> None:
    (folder / fault).touch()
    names = [f"first to {fault}", f"next to {fault}"]
    watcher = Watcher(at_end=lambda: (folder / fault).unlink(missing_ok=True))
    ended = run(folder, names, watcher)
    assert ended == Outcome(tuple(sorted(names)), {}, (), False)
    lost, done = [f"start {names[0]}", f"{names[0]} not_started"], [line for name in names for line in (f"start {name}", f"{name} done")]
    assert watcher.lines == lost + done
    assert all(is_complete(folder, name, workers=2) for name in names)
    wait_for_free_cores()


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_unit_that_ran_out_of_memory_is_done_with_less_memory(folder: Path, workers: int) -> None:
    watcher, name = Watcher(), f"short of memory {workers}"
    assert run(folder, [name], watcher, workers) == Outcome((name,), {}, (), False)
    assert watcher.lines == [f"start {name}", f"{name} out_of_memory", f"start {name}", f"{name} done"]
    wait_for_free_cores()


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_slow_driver_loses_no_outcome_and_no_line(folder: Path, workers: int) -> None:
    one, two, three, absent = names = [f"{name} of {workers}" for name in ("one", "two", "three", "absent")]
    watcher = Watcher(at_start=lambda: time.sleep(2), at_end=lambda: time.sleep(4))
    ended = run(folder, names, watcher, workers)
    assert (set(ended.done), ended.left, ended.stopped) == ({one, two, three}, (), False)
    assert ended.failed == {absent: "machine: [Errno 2] No such file: '/share/clip.mp4'"}
    ends = [f"{one} done", f"{two} done", f"{three} done", f"{absent} machine"]
    assert sorted(watcher.lines) == sorted([*(f"start {name}" for name in names), *ends])
    assert all(is_complete(folder, name, workers=1) for name in (one, two, three))
    wait_for_free_cores()


def test_a_full_disk_ends_the_sweep(folder: Path) -> None:
    """Each further unit would fail after minutes of loading."""
    watcher = Watcher()
    with pytest.raises(SweepStoppedError) as raised:
        run(folder, ["full", "next"], watcher)
    assert str(raised.value) == f"{folder} cannot be written ([Errno 28] No space left on device); free some space or make it writable"
    assert watcher.lines == ["start full", "full storage"]
    wait_for_free_cores()


def test_an_error_of_tune_itself_ends_the_sweep_with_its_trace_in_a_file(folder: Path) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a fault of Tune")

    with pytest.raises(SweepStoppedError, match=r"^Ray Tune failed with \w+: .*a fault of Tune"):
        run(folder, ["one"], Watcher(at_start=fail))
    assert "ZeroDivisionError: a fault of Tune" in (folder / ".sweep" / "errors" / "tune.txt").read_text()
    wait_for_free_cores()


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_units_run_one_after_the_other_on_the_only_free_core(folder: Path, workers: int) -> None:
    """Regression: Tune waits up to 10 minutes for the searcher's next unit before it frees the core of a trial without a worker group."""
    other_driver = placement_group([{"CPU": 1}])
    assert other_driver.wait(10)
    names = [f"first on one core {workers}", f"second on one core {workers}"]
    watcher = Watcher()
    assert run(folder, names, watcher, workers) == Outcome(tuple(names), {}, (), False)
    assert watcher.lines == [line for name in names for line in (f"start {name}", f"{name} done")]
    processes = {(folder / f"{name}.pid").read_text() for name in names}
    assert len(processes) == (2 if workers else 1)  # a trial that does the work itself hands its process on
    remove_placement_group(other_driver)
    wait_for_free_cores()


def test_a_worker_group_whose_cores_are_taken_waits_for_them(folder: Path) -> None:
    """Regression: another driver takes a core between the start of a unit and of its group. The unit was lost after three timeouts."""
    groups: list[Any] = []

    class CoreTaker(Watcher):
        def start(self, unit: Unit) -> None:
            super().start(unit)
            if not groups:
                groups.append(placement_group([{"CPU": 1}]))
                assert groups[0].wait(10)

        def wait(self, reason: str | None) -> None:
            if reason and reason not in self.lines:
                self.lines.append(reason)
                remove_placement_group(groups[0])

    watcher = CoreTaker()
    assert run(folder, ["busy"], watcher) == Outcome(("busy",), {}, (), False)
    reason = "waiting for 2 workers with 1 core on one node each: 1 free of 2 cores"
    assert watcher.lines == ["start busy", "busy waiting", reason, "start busy", "busy done"]
    wait_for_free_cores()
