"""The driver: it starts or joins Ray and lets Tune run the units of a plan, as many at once as the live nodes hold.

The records in the results folder are the state of a sweep; Tune's own state is written to a folder that is deleted at the next start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import ray
from ray import tune

from omnimer_ray.corpora import default_cache
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import SweepStoppedError
from omnimer_ray.execution.capacity import Capacity, remove_placement_group, trial_tag
from omnimer_ray.execution.failures import classify, record_attempts, write_trace
from omnimer_ray.execution.handout import Job, write_manifest
from omnimer_ray.execution.progress import Progress
from omnimer_ray.execution.searcher import PlanSearcher
from omnimer_ray.execution.tune_trial import classify_dead_trial, run_unit
from omnimer_ray.machine.profile import MachineProfile, Resources, concurrency, local_resources, usable
from omnimer_ray.planning.pruning import Pruning
from omnimer_ray.planning.setup import Sweep

MAX_TRIALS = 1000  # at once: the searcher limits them by free resources; without a number Tune would start them one after the other


class Outcome(NamedTuple):
    """How a sweep ended: units that were done, that failed (with the reason), and that were not started."""

    done: tuple[str, ...]
    failed: dict[str, str]
    left: tuple[str, ...]
    stopped: bool


def make_job(sweep: Sweep, folder: Path, clips: Sequence[Clip], pruning: Pruning | None = None) -> Job:
    """Return what the units of a sweep share; workers receive no clips but `clips`."""
    session = f"{os.getpid()}-{int(time.time())}"
    job = Job(
        folder.resolve(),
        sweep.ledgers.resolve(),
        default_cache(),
        sweep.base,
        sweep.profile,
        session,
        pruning,
        dict(sweep.encoders),
        sweep.keeps_outputs,
    )
    write_manifest(job.work / "manifest.json", clips)
    for other in sweep.others:
        write_manifest(job.other_file(other.fingerprint), other.scored)
    shutil.rmtree(job.work / "progress", ignore_errors=True)
    return job


def run_with_ray(job: Job, searcher: PlanSearcher, progress: Progress, log: Callable[[str], None]) -> Outcome:
    """Start or join Ray, run the searcher's units, and leave Ray."""
    log("starting Ray" if job.profile.address is None else f"joining the Ray cluster at {job.profile.address}")
    try:
        concurrency(job.profile, connect(job.profile, local_resources()))  # raises if the cluster can never hold one run
        with Interruption(job.stop_file, log), progress, _ray_log(job.work / "ray.log"):
            return execute(searcher, job)
    finally:
        with _signals_ignored():
            ray.shutdown()


def connect(profile: MachineProfile, offered: Resources) -> Resources:
    """Start Ray on this machine with the offered resources, or join the profile's cluster; return the resources for runs."""
    settings = {
        "RAY_worker_niceness": "0",  # workers do the work here; at Ray's own 15 any other busy process would starve them
        "RAY_TRAIN_V2_ENABLED": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_RESULT_BUFFER_LENGTH": "0",
    }
    for name, value in {**settings, "OMP_NUM_THREADS": str(profile.threads_per_worker)}.items():
        os.environ.setdefault(name, value)
    # Ray shows all cards to a process that asked for none, and torch and DeepSpeed would use them.
    hidden = {} if profile.gpus_per_worker else {"CUDA_VISIBLE_DEVICES": ""}
    # Set in every process of the sweep from its start: gloo reads the name of its network when a process group is initialised.
    environment = {**hidden, **profile.environment}
    if profile.address is not None or os.environ.get("RAY_ADDRESS"):
        ray.init(address=profile.address or "auto", runtime_env={"env_vars": environment}, log_to_driver=False, logging_level="error")
        return usable(profile, [node["Resources"] for node in ray.nodes() if node["Alive"]])
    with _environment(environment):
        ray.init(
            num_cpus=int(offered.cpus),
            num_gpus=int(offered.gpus),
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            object_store_memory=200 * 2**20,
        )
    return offered


@contextlib.contextmanager
def _signals_ignored() -> Iterator[None]:
    """Ctrl-C and SIGTERM do nothing: the sweep is ending, and Ray's shutdown, cut short, would end the process with another exit code."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for child processes, then restore ours."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({name: value} if value is not None else {})


class _FileHandler(logging.FileHandler):
    """A log file that loses lines, instead of writing to the terminal, if its disk is full."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message; opening the file may fail as well."""
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore an error of writing."""


@contextlib.contextmanager
def _ray_log(path: Path) -> Iterator[None]:
    """Write Ray's log messages of this process to a file: they repeat traces of failures that the driver reports in one line."""
    logger = logging.getLogger("ray")
    handlers, propagate = logger.handlers, logger.propagate
    file = _FileHandler(path, encoding="utf-8", delay=True)
    logger.handlers, logger.propagate = [file], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        with contextlib.suppress(OSError):  # a full disk
            file.close()


def execute(searcher: PlanSearcher, job: Job) -> Outcome:
    """Run the searcher's units, as many at once as the live nodes hold. Returns when no further unit can start.

    Raises SweepStoppedError if the results folder cannot be written, or if Ray Tune itself fails.
    """
    done_before, errors = set(searcher.done), TrialErrors()
    searcher.classify_dead = lambda trial_id, unit, attempts: classify_dead_trial(job, unit, attempts, errors.read(trial_id))
    searcher.has_room = Capacity(job.profile, job.session, searcher.watcher.wait)
    searcher.record_failed = lambda unit, attempts: record_attempts(job.folder, unit, attempts)
    if job.profile.workers_per_run:
        searcher.release = lambda unit: remove_placement_group(unit, job.session)
    trainable = tune.with_resources(tune.with_parameters(run_unit, job=job), partial(_trial_resources, job.profile, job.session))
    shutil.rmtree(job.work / "tune", ignore_errors=True)
    reused = not job.profile.workers_per_run  # a trial that does the work itself hands its process, with all that it imported, to the next
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(search_alg=searcher, num_samples=-1, max_concurrent_trials=MAX_TRIALS, reuse_actors=reused),
        run_config=tune.RunConfig(
            name="tune", storage_path=str(job.work), verbose=0, failure_config=tune.FailureConfig(max_failures=0), callbacks=[errors]
        ),
    )
    try:
        tuner.fit()
    except Exception as error:
        write_trace(job.work / "errors" / "tune.txt", error)
        reason = f"Ray Tune failed with {type(error).__name__}: {classify(error)['reason']}"
        raise SweepStoppedError(reason) from error
    if searcher.fault is not None:
        raise SweepStoppedError(f"{job.folder} cannot be written ({searcher.fault}); free some space or make it writable")
    return Outcome(
        tuple(sorted(searcher.done - done_before)), searcher.failed, tuple(unit.id for unit in searcher.pending), job.stop_file.exists()
    )


class TrialErrors(tune.Callback):  # type: ignore[misc]
    """Ray's texts about trials whose process died; Tune reports to its searcher only that they died."""

    def __init__(self) -> None:
        self.trials: dict[str, Any] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Keep the trial."""
        self.trials[trial.trial_id] = trial

    def read(self, trial_id: str) -> str:
        """Return the text of a trial's error; empty if there is none."""
        path = getattr(self.trials.get(trial_id), "error_file", None)
        return Path(path).read_text(encoding="utf-8") if path and Path(path).exists() else ""


def _trial_resources(profile: MachineProfile, session: str, config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """Return the resources of a trial's own actor, which is the worker itself if there is no worker group, and otherwise only waits.

    A waiting actor requests one byte: Tune refuses a trial that requests nothing, and a part of a core would make a worker's core unusable.
    """
    if profile.workers_per_run:
        return tune.PlacementGroupFactory([{"memory": 1}])
    requested = {"CPU": profile.cpus_per_worker, "GPU": profile.gpus_per_worker, "memory": trial_tag(session)}
    return tune.PlacementGroupFactory([{name: amount for name, amount in requested.items() if amount}])


class Interruption:
    """Signal handlers of a sweep. First Ctrl-C: start no further unit; running units write a checkpoint and stop. Second, or SIGTERM: stop at once."""

    def __init__(self, stop_file: Path, log: Callable[[str], None]) -> None:
        self.stop_file, self.log = stop_file, log

    def __enter__(self) -> None:
        self.stop_file.parent.mkdir(parents=True, exist_ok=True)
        self.stop_file.unlink(missing_ok=True)
        if threading.current_thread() is threading.main_thread():
            self.handlers = signal.signal(signal.SIGINT, self._stop), signal.signal(signal.SIGTERM, self._stop_at_once)

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):  # on a disk that became read-only
            self.stop_file.unlink()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self.handlers[0])
            signal.signal(signal.SIGTERM, self.handlers[1])

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.stop_file.exists():
            self._stop_at_once(number, frame)
        self.stop_file.write_text(f"requested at {time.time()}\n")
        self.log("stopping: running units write a checkpoint after their step; Ctrl-C again stops at once")

    def _stop_at_once(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt
