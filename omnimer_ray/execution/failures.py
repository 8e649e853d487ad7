"""Kinds of failures: which error is of which kind, how often a unit is retried, and which failures are recorded.

A recorded failure is part of the results: the same command would fail again. A failure of a machine is logged and never recorded.
To add a kind: a line in FailureKind, a line in POLICIES, and the errors that mean it in TYPES, ERRNOS or MESSAGES.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import traceback
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from omnimer_ray.planning.units import PartUnit, RunUnit, Unit, record_folder
from omnimer_ray.records import write_record


class FailureKind(StrEnum):
    """Outcomes of a failed attempt, as in records. If the workers of a group fail differently, the kind that comes first here applies."""

    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    BAD_DATA = "bad_data"
    FAILED = "failed"  # a wrong setting or base, or an error of no known type
    HUNG = "hung"  # ended by its watchdog
    WAITING = "waiting"  # its resources were taken before its worker group was placed
    LOST_NODE = "lost_node"
    LOST_WORKER = "lost_worker"
    NOT_STARTED = "not_started"  # the worker group failed before any code of the unit ran
    STORAGE = "storage"  # the disk is full or read-only
    DAMAGED = "damaged"  # files of the results folder
    MACHINE = "machine"  # something is absent on a node or cannot be reached from it


class Retry(NamedTuple):
    """How often a unit is started in one sweep. Kinds with the same Retry are counted together."""

    attempts: int | None  # None: any number
    less_memory: bool = False  # the next attempt takes the next smaller micro-batch


class Policy(NamedTuple):
    """Policy of one kind: its retries, whether the last failure is recorded, and whether no further unit is started."""

    retry: Retry
    recorded: bool
    ends_sweep: bool = False


NEVER, LOST, LESS_MEMORY, ALWAYS = Retry(1), Retry(3), Retry(2, less_memory=True), Retry(None)
POLICIES: Mapping[FailureKind, Policy] = {
    FailureKind.DIVERGED: Policy(NEVER, recorded=True),
    FailureKind.OUT_OF_MEMORY: Policy(LESS_MEMORY, recorded=True),
    FailureKind.BAD_DATA: Policy(NEVER, recorded=True),
    FailureKind.FAILED: Policy(NEVER, recorded=True),
    FailureKind.HUNG: Policy(LOST, recorded=True),
    FailureKind.WAITING: Policy(ALWAYS, recorded=False),
    FailureKind.LOST_NODE: Policy(LOST, recorded=False),
    FailureKind.LOST_WORKER: Policy(LOST, recorded=True),
    FailureKind.NOT_STARTED: Policy(LOST, recorded=False),
    FailureKind.STORAGE: Policy(NEVER, recorded=False, ends_sweep=True),
    FailureKind.DAMAGED: Policy(NEVER, recorded=False),
    FailureKind.MACHINE: Policy(NEVER, recorded=False),
}
ORDER = list(FailureKind)

# Class -> kind, by top-level package and name, so that neither torch nor ray is imported. Base classes count.
TYPES: Mapping[str, FailureKind] = {
    "omnimer_ray.DivergedError": FailureKind.DIVERGED,
    "omnimer_ray.MediaError": FailureKind.BAD_DATA,
    "omnimer_ray.CorpusError": FailureKind.BAD_DATA,
    "omnimer_ray.ConfigError": FailureKind.FAILED,
    "omnimer_ray.BaseModelError": FailureKind.FAILED,
    "omnimer_ray.StorageError": FailureKind.STORAGE,
    "omnimer_ray.ResultsError": FailureKind.DAMAGED,
    "omnimer_ray.MachineError": FailureKind.MACHINE,
    "omnimer_ray.MissingExtraError": FailureKind.MACHINE,
    "omnimer_ray.SweepStoppedError": FailureKind.MACHINE,
    "builtins.MemoryError": FailureKind.OUT_OF_MEMORY,
    "builtins.ImportError": FailureKind.MACHINE,  # each node has its own environment
    "torch.OutOfMemoryError": FailureKind.OUT_OF_MEMORY,
    "ray.WorkerGroupStartupTimeoutError": FailureKind.WAITING,  # the placement group was not placed
    "ray.WorkerGroupStartupFailedError": FailureKind.NOT_STARTED,
    "ray.PreemptionError": FailureKind.LOST_NODE,
    "ray.NodeDiedError": FailureKind.LOST_NODE,
    "ray.LocalRayletDiedError": FailureKind.LOST_NODE,
    "ray.ObjectLostError": FailureKind.LOST_NODE,
    "ray.ActorUnschedulableError": FailureKind.LOST_NODE,
    "ray.ActorPlacementGroupRemoved": FailureKind.LOST_NODE,
    "ray.GetTimeoutError": FailureKind.LOST_NODE,
    "ray.WorkerHealthCheckTimeoutError": FailureKind.LOST_WORKER,
    "ray.CollectiveTimeoutError": FailureKind.LOST_WORKER,
    "ray.OutOfMemoryError": FailureKind.OUT_OF_MEMORY,
    "ray.OutOfDiskError": FailureKind.MACHINE,  # of one node
    "ray.RuntimeEnvSetupError": FailureKind.MACHINE,
    "ray.InsufficientClusterResourcesError": FailureKind.MACHINE,
}
# These types only mean that a process or a connection is lost; their message may give the reason.
LOSSES: Mapping[str, FailureKind] = {
    "ray.RayActorError": FailureKind.LOST_WORKER,
    "ray.WorkerCrashedError": FailureKind.LOST_WORKER,
    "ray.RaySystemError": FailureKind.LOST_NODE,
    "torch.DistError": FailureKind.LOST_WORKER,  # on the remaining ranks
    "builtins.ConnectionResetError": FailureKind.LOST_WORKER,
    "builtins.ConnectionAbortedError": FailureKind.LOST_WORKER,
    "builtins.BrokenPipeError": FailureKind.LOST_WORKER,
}
CLIENTS = ("huggingface_hub", "requests", "httpx", "httpx2", "urllib3", "urllib", "aiohttp")  # any error of theirs: unreachable
ERRNOS: Mapping[int, FailureKind] = {
    **dict.fromkeys((errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.ESTALE), FailureKind.STORAGE),
    errno.ENOMEM: FailureKind.OUT_OF_MEMORY,
}  # any other system error, such as an absent file, is of kind MACHINE
MESSAGES: Mapping[FailureKind, tuple[str, ...]] = {  # of errors without a type of their own
    FailureKind.OUT_OF_MEMORY: (
        "out of memory",
        "ALLOC_FAILED",  # cuBLAS on a card that is nearly full
        "allocate memory",  # the allocator of the CPU
        "low on memory",  # Ray's memory monitor
        "memory pressure",
    ),
    FailureKind.LOST_NODE: ("node has died", "node has crashed", "NodeDied", "LocalRayletDied", "Preemption"),
    FailureKind.LOST_WORKER: (
        "ActorDied",
        "ActorUnavailable",
        "actor is dead",
        "actor died",
        "WorkerCrashed",
        "onnection closed by peer",
        "onnection reset by peer",
        "DistBackendError",
        "DistNetworkError",
        "DistStoreError",
    ),
    FailureKind.STORAGE: tuple(os.strerror(number) for number, kind in ERRNOS.items() if kind is FailureKind.STORAGE),
    FailureKind.MACHINE: ("uncorrectable ECC", "CUDA-capable device", "CUDA driver", "NVIDIA driver", "CUDA unknown error"),
}
RAISED = re.compile(r"^(?:\w+::)?((?:\w+\.)*\w+)(?:: (.*))?$")  # the line of a trace that names the error
OS_ERROR = re.compile(r"\[Errno (\d+)\]")

Attempt = dict[str, Any]  # a failed one: outcome, reason, micro_batch


def classify(error: BaseException) -> Attempt:
    """Kind and reason of a failed worker group. An error of no known type is secondary to any of a known one."""
    in_setup = "_setup_torch_process_group" in str(error)  # by the trace: errors raised there are of any type
    causes = [_innermost(cause) for cause in getattr(error, "worker_failures", {}).values()] or [_innermost(error)]
    found = [(kind, cause) for cause in causes if (kind := _kind(cause)) is not None]
    kind, cause = min(found, key=lambda pair: ORDER.index(pair[0]), default=(FailureKind.FAILED, causes[0]))
    if in_setup and (not found or kind is FailureKind.LOST_WORKER):
        kind = FailureKind.NOT_STARTED
    return {"outcome": kind, "reason": _reason(cause)}


def classify_text(text: str) -> Attempt:
    """Kind and reason of a process that died, by Ray's message. The death of a process is no evidence about its unit's results."""
    kind = (_kind_of_text(text) if text.strip() else None) or FailureKind.LOST_WORKER
    if POLICIES[kind].recorded and kind is not FailureKind.OUT_OF_MEMORY:
        kind = FailureKind.LOST_WORKER
    return {"outcome": kind, "reason": _last_line(text) or "its process died"}


def should_retry(attempts: Sequence[Attempt]) -> bool:
    """Whether a unit is started again after these failed attempts."""
    allowed = _policy(attempts[-1]).retry.attempts
    return allowed is None or len(_counted(attempts)) < allowed


def ends_sweep(error: BaseException) -> bool:
    """Whether no further unit is started after this error, because no unit could be finished."""
    return _policy(classify(error)).ends_sweep


def needs_less_memory(attempts: Iterable[Attempt]) -> bool:
    """Whether the next attempt takes a smaller micro-batch."""
    return any(_policy(attempt).retry.less_memory for attempt in attempts)


def record_attempts(folder: Path, unit: Unit, attempts: Sequence[Attempt]) -> None:
    """Record a unit that is not started again, unless one of the failures that count is a machine's."""
    if all(_policy(attempt).recorded for attempt in _counted(attempts)):
        last = attempts[-1]
        record_failure(folder, unit, FailureKind(last["outcome"]), last["reason"], attempts)


def record_failure(folder: Path, unit: Unit, kind: FailureKind, reason: str, attempts: Sequence[Attempt] = ()) -> None:
    """Write the record of a failed unit: the sweep continues without it, and the tables show the gap. A ledger and a feature have none."""
    if isinstance(unit, PartUnit):
        return
    about: dict[str, Any] = {"stages": [], "attempts": list(attempts)}
    if isinstance(unit, RunUnit):
        config = unit.run.config
        about |= {
            "signature": unit.run.signature,
            "method": config.method,
            "task": config.task,
            "fold": config.corpus.fold,
            "seed": config.seed if config.seeded else None,
        }
    path = record_folder(unit, folder)
    path.mkdir(parents=True, exist_ok=True)
    write_record(path, {**about, "outcome": kind, "reason": reason})


def write_trace(path: Path, error: BaseException) -> None:
    """Write an error's trace to a file, if the disk is not full."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")


def _policy(attempt: Attempt) -> Policy:
    return POLICIES[FailureKind(attempt["outcome"])]


def _counted(attempts: Sequence[Attempt]) -> list[Attempt]:
    """The attempts that count against the same number of retries as the last one."""
    retry = _policy(attempts[-1]).retry
    return [attempt for attempt in attempts if _policy(attempt).retry == retry]


def _kind(error: BaseException) -> FailureKind | None:
    """Kind by type; by message only for types that do not give the reason. None: unknown."""
    classes = [(cls.__module__.partition(".")[0], cls.__name__) for cls in type(error).__mro__]
    if (kind := _kind_of_type(classes, str(error))) is not None:
        return kind
    if isinstance(error, OSError):
        return _kind_of_errno(error.errno) if error.errno else None  # an OSError that a library raises has no number
    return _kind_of_text(str(error))


def _kind_of_type(classes: Sequence[tuple[str, str]], message: str) -> FailureKind | None:
    """`classes`: package and name of an error's class and of its base classes."""
    names = [f"{package}.{name}" for package, name in classes]
    if known := [TYPES[name] for name in names if name in TYPES]:
        return known[0]
    if lost := [LOSSES[name] for name in names if name in LOSSES]:
        return _kind_of_message(message) or lost[0]
    return FailureKind.MACHINE if any(package in CLIENTS for package, _ in classes) else None


def _kind_of_errno(number: int) -> FailureKind:
    return ERRNOS.get(number, FailureKind.MACHINE)


def _kind_of_text(text: str) -> FailureKind | None:
    """Kind of an error that Ray or a library turned into text: by the type that a line of the trace names, else by the message."""
    for line in reversed(text.strip().splitlines()):
        if raised := RAISED.match(line.strip()):
            package, _, name = raised[1].rpartition(".")
            if (kind := _kind_of_type([(package.partition(".")[0] or "builtins", name)], text)) is not None:
                return kind
            if name.endswith("Error") and (number := OS_ERROR.match(raised[2] or "")):
                return _kind_of_errno(int(number[1]))
    return _kind_of_message(text)


def _kind_of_message(text: str) -> FailureKind | None:
    return next((kind for kind, marks in MESSAGES.items() if any(mark in text for mark in marks)), None)


def _innermost(error: BaseException) -> BaseException:
    """The error below all of Ray's wrappers."""
    for name in ("controller_failure", "health_check_failure", "cause", "_base_exc"):
        if isinstance(inner := getattr(error, name, None), BaseException):
            return _innermost(inner)
    return error


def _reason(error: BaseException) -> str:
    return _last_line(str(error)) or type(error).__name__


def _last_line(text: str) -> str:
    """The last line, where traces have the error itself; without Ray's list of possible causes of a process's end."""
    return (text.strip().splitlines() or [""])[-1].partition(" Some common causes include")[0]
