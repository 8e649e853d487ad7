"""Ray Tune runs a plan: it is handed what is ready, shared stages first, as many at once as the machine carries.

The records in the results folder are the truth; Tune's own state is a cache that is thrown away.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Protocol

import ray
from ray import tune
from ray.tune.search import Searcher

from omnimer_ray.corpora import default_cache
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.execution.capacity import Capacity, placement_group_tag, remove_placement_group
from omnimer_ray.execution.failures import POLICIES, Attempt, FailureKind, classify_text, record_attempts, should_retry
from omnimer_ray.execution.handout import Job, write_manifest
from omnimer_ray.execution.progress import Progress
from omnimer_ray.execution.tune_trial import classify_dead_trial, run_unit
from omnimer_ray.machine.profile import MachineProfile, Resources, concurrency, local_resources, usable
from omnimer_ray.planning.pruning import PRUNED, Pruning
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.units import Unit


class Outcome(NamedTuple):
    """How a sweep ended: units that were done, that failed (with the reason), and that did not start."""

    done: tuple[str, ...]
    failed: dict[str, str]
    left: tuple[str, ...]
    stopped: bool


class Watcher(Protocol):
    """Whoever is told when units start and end."""

    def start(self, unit: Unit) -> None:
        """A unit is handed to a trial."""

    def end(self, unit: Unit, outcome: str, reason: str | None) -> None:
        """Its trial is over, and why if it failed."""

    def wait(self, reason: str | None) -> None:
        """A ready unit waits for resources; None if none waits."""


MANY = 1000  # trials at once: the searcher counts them, and without a limit Tune would start them one after the other
CALLBACKS = ("fate", "has_room", "release", "give_up")  # of a searcher, set by `execute`


class PlanSearcher(Searcher):  # type: ignore[misc]
    """Hands out the units of a plan whose needs are met, by the ones that are done already or by each other."""

    driver: tuple[str, ...] = ("stopped", "watch")  # what belongs to the driver's process

    def __init__(self, units: Iterable[Unit], done: Iterable[str], stopped: Callable[[], bool], watch: Watcher) -> None:
        super().__init__(metric="outcome", mode="max")
        self.pending, self.done = list(units), set(done)
        self.running: dict[str, Unit] = {}
        self.failed: dict[str, str] = {}
        self.attempts: dict[str, list[Attempt]] = defaultdict(list)  # the failed ones
        self.stopped, self.watch = stopped, watch
        self.fate: Callable[[str, Unit, Sequence[Attempt]], Attempt] = _lost  # of a trial that died without a report
        self.has_room: Callable[[Collection[Unit]], bool] = lambda running: True  # for another unit beside the running ones
        self.release: Callable[[Unit], None] = lambda unit: None  # what its workers may still hold
        self.give_up: Callable[[Unit, Sequence[Attempt]], None] = lambda unit, attempts: None  # a unit that is not started again

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next ready unit. None if one may become ready or waits for resources; FINISHED if none can: Tune never asks again after it."""
        if self.stopped():
            return str(Searcher.FINISHED)
        if (self.ready() or self.may_grow()) and not self.has_room(self.running.values()):
            return None
        while self.ready() is None and self.may_grow():
            self.grow()
        unit = self.ready()
        if unit is None:  # a running unit may be what another one needs, or may be lost and retried
            return None if self.running else str(Searcher.FINISHED)
        self.pending.remove(unit)
        self.running[trial_id] = unit
        self.watch.start(unit)
        tried = self.attempts[unit.id]
        return {"unit": unit, "tried": list(tried)} if tried else {"unit": unit}

    def ready(self) -> Unit | None:
        """The next unit that may start."""
        return next((unit for unit in self.pending if set(unit.needs) <= self.done), None)

    def may_grow(self) -> bool:
        """Whether `grow` may add units; a plan's are fixed."""
        return False

    def grow(self) -> None:
        """Add units."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Books what became of a unit; one that may do better is handed out again, and what needs a failed one never is."""
        unit = self.running.pop(trial_id, None)
        if unit is None:
            return  # Tune tells again of an end whose booking failed, as where a disk is full
        self.release(unit)
        if error or not result:
            result = self.fate(trial_id, unit, self.attempts[unit.id])
        outcome, reason = str(result["outcome"]), result.get("reason")
        if outcome == "stopped" and not self.stopped():
            outcome, reason = str(FailureKind.LOST_WORKER), "it stopped, and nobody had asked it to"
        if outcome == "done":
            self.done.add(unit.id)
        elif outcome not in ("stopped", PRUNED):
            self._failed(unit, {"outcome": FailureKind(outcome), "reason": reason, "micro_batch": result.get("micro_batch")})
        self.watch.end(unit, outcome, reason)

    def _failed(self, unit: Unit, attempt: Attempt) -> None:
        """Queue a failed unit again, or record it. An attempt of a kind that may come any number of times is not counted."""
        attempts = [*self.attempts[unit.id], attempt]
        if POLICIES[attempt["outcome"]].retry.attempts is not None:
            self.attempts[unit.id] = attempts
        if should_retry(attempts):
            self.pending.insert(0, unit)
        else:
            self.failed[unit.id] = f"{attempt['outcome']}: {attempt['reason']}"
            self.give_up(unit, attempts)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher into the cache that nobody reads back; the driver's own callbacks stay here."""
        return {name: value for name, value in vars(self).items() if name not in (*self.driver, *CALLBACKS)}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: the records say what is done."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to read back."""


def _lost(trial_id: str, unit: Unit, tried: Sequence[Attempt]) -> Attempt:
    return classify_text("")


class LastWords(tune.Callback):  # type: ignore[misc]
    """What Ray says of a trial whose process died; Tune tells its searcher only that it did."""

    def __init__(self) -> None:
        self.trials: dict[str, Any] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Remembers the trial."""
        self.trials[trial.trial_id] = trial

    def of(self, trial_id: str) -> str:
        """The text of its error; empty where there is none."""
        path = getattr(self.trials.get(trial_id), "error_file", None)
        return Path(path).read_text(encoding="utf-8") if path and Path(path).exists() else ""


def connect(profile: MachineProfile, offered: Resources) -> Resources:
    """Starts Ray here, or joins the profile's cluster; what it offers to runs."""
    # Workers do the work here: at Ray's own niceness of 15, any other busy process starves them.
    quiet = {
        "RAY_worker_niceness": "0",
        "RAY_TRAIN_V2_ENABLED": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_RESULT_BUFFER_LENGTH": "0",
    }
    for name, value in {**quiet, "OMP_NUM_THREADS": str(profile.threads_per_worker)}.items():
        os.environ.setdefault(name, value)
    # Ray shows all cards to a process that asked for none, and torch and DeepSpeed would take them.
    hidden = {} if profile.gpus_per_worker else {"CUDA_VISIBLE_DEVICES": ""}
    # In every process of the sweep from its start: gloo reads its network's name when a process group is set up.
    environment = {**hidden, **profile.environment}
    if profile.address is not None or os.environ.get("RAY_ADDRESS"):
        ray.init(address=profile.address or "auto", runtime_env={"env_vars": environment}, log_to_driver=False, logging_level="error")
        return usable(profile, [node["Resources"] for node in ray.nodes() if node["Alive"]])
    with _inherited(environment):
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
def _inherited(environment: dict[str, str]) -> Iterator[None]:
    """What is started meanwhile has these settings, and so has what that starts; this process keeps its own."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({name: value} if value is not None else {})


def execute(searcher: PlanSearcher, job: Job) -> Outcome:
    """Run what the searcher hands out, as many at once as the live nodes hold. Returns when nothing more can start."""
    before, words = set(searcher.done), LastWords()
    searcher.fate = lambda trial_id, unit, tried: classify_dead_trial(job, unit, tried, words.of(trial_id))
    searcher.has_room = Capacity(job.profile, job.session, searcher.watch.wait)
    searcher.give_up = lambda unit, attempts: record_attempts(job.folder, unit, attempts)
    if job.profile.workers_per_run:  # else the group is the trial's own, and Tune removes it
        searcher.release = lambda unit: remove_placement_group(unit, job.session)
    trainable = tune.with_resources(tune.with_parameters(run_unit, job=job), partial(_trial_resources, job.profile, job.session))
    shutil.rmtree(job.work / "tune", ignore_errors=True)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(search_alg=searcher, num_samples=-1, max_concurrent_trials=MANY, reuse_actors=False),
        run_config=tune.RunConfig(
            name="tune", storage_path=str(job.work), verbose=0, failure_config=tune.FailureConfig(max_failures=0), callbacks=[words]
        ),
    )
    tuner.fit()
    return Outcome(
        tuple(sorted(searcher.done - before)), searcher.failed, tuple(unit.id for unit in searcher.pending), job.stop_file.exists()
    )


def make_job(sweep: Sweep, folder: Path, clips: Sequence[Clip], pruning: Pruning | None = None) -> Job:
    """What the units of a sweep share; `clips` are all that its workers are ever handed."""
    session = f"{os.getpid()}-{int(time.time())}"
    job = Job(folder.resolve(), sweep.ledgers.resolve(), default_cache(), sweep.base, sweep.profile, session, pruning)
    write_manifest(job.work / "manifest.json", clips)
    shutil.rmtree(job.work / "progress", ignore_errors=True)
    return job


def carry_out(job: Job, searcher: PlanSearcher, progress: Progress, log: Callable[[str], None]) -> Outcome:
    """Starts or joins Ray, runs what the searcher hands out, and leaves Ray."""
    log("starting Ray" if job.profile.address is None else f"joining the Ray cluster at {job.profile.address}")
    try:
        concurrency(job.profile, connect(job.profile, local_resources()))  # raises if the cluster can never hold one run
        with Interruption(job.stop_file, log), progress:
            return execute(searcher, job)
    finally:
        ray.shutdown()


def _trial_resources(profile: MachineProfile, session: str, config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """Resources of the trial's own actor, which only waits for its workers unless it is the worker itself.

    One that waits asks for a byte: Tune refuses a trial that asks for nothing, and a share of a core would leave a worker's core unusable.
    """
    if profile.workers_per_run:
        return tune.PlacementGroupFactory([{"memory": 1}])
    tag = placement_group_tag(config["unit"], session)
    asked = {"CPU": profile.cpus_per_worker, "GPU": profile.gpus_per_worker, "memory": tag}
    return tune.PlacementGroupFactory([{name: amount for name, amount in asked.items() if amount}])


class Interruption:
    """Ctrl-C once: no new units, running ones write a checkpoint and stop. Twice, or SIGTERM: stop at once."""

    def __init__(self, stop_file: Path, log: Callable[[str], None]) -> None:
        self.stop_file, self.log = stop_file, log

    def __enter__(self) -> None:
        self.stop_file.parent.mkdir(parents=True, exist_ok=True)
        self.stop_file.unlink(missing_ok=True)
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._once), signal.signal(signal.SIGTERM, self._at_once)

    def __exit__(self, *error: object) -> None:
        self.stop_file.unlink(missing_ok=True)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self.before[0])
            signal.signal(signal.SIGTERM, self.before[1])

    def _once(self, number: int, frame: FrameType | None) -> None:
        if self.stop_file.exists():
            self._at_once(number, frame)
        self.stop_file.write_text(f"asked at {time.time()}\n")
        self.log("stopping: running units write a checkpoint after their step; Ctrl-C again stops at once")

    def _at_once(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt
