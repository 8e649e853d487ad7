"""Kinds of failures: the kind of each error, the number of retries, and which failures are recorded."""

import builtins
import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from making import ablations, tiny_config

from omnimer_ray import errors
from omnimer_ray.config import ThinkerConfig
from omnimer_ray.errors import (
    BaseModelError,
    ConfigError,
    CorpusError,
    DivergedError,
    LeaseHeldError,
    MachineError,
    MediaError,
    MissingExtraError,
    OmniMERError,
    ResultsError,
    StorageError,
)
from omnimer_ray.execution.failures import (
    LOSSES,
    MESSAGES,
    POLICIES,
    TYPES,
    Attempt,
    FailureKind,
    classify,
    record_attempts,
    record_failure,
    should_retry,
)
from omnimer_ray.planning.plan import make_plan
from omnimer_ray.planning.units import LedgerUnit, RunUnit, Unit, record_folder, recorded_outcome
from omnimer_ray.records import read_record

torch = pytest.importorskip("torch")
ray = pytest.importorskip("ray")

import httpx2  # noqa: E402
import huggingface_hub.errors as hub  # noqa: E402
import requests  # noqa: E402
from ray.train.v2._internal import exceptions as train_errors  # noqa: E402
from ray.train.v2.api import exceptions as api_errors  # noqa: E402


class Wrapped(Exception):
    """Like Ray Train's errors: the error of the worker is an attribute."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__("Training failed due to worker errors:\nmuch text")
        vars(self).update(attributes)


DIED = ray.exceptions.RayActorError(error_msg="The actor died unexpectedly.\nThe actor is dead because its worker process has died.")
NODE_DIED = ray.exceptions.RayActorError(error_msg="The actor died.\nThe actor is dead because its node has died.")
NO_TEMPLATE = OSError("Can't load the chat template for 'base'. Make sure it has a chat_template.jinja file, with space left for one.")
KILLED = MachineError("clip_1: its decoder was killed from outside (SIGKILL), as a machine out of memory does, on node7; free memory")


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (DivergedError("the loss of step 3 is nan"), "diverged", "the loss of step 3 is nan"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory", "CUDA out of memory. Tried to allocate 2 GiB"),
        (torch.OutOfMemoryError("no more"), "out_of_memory", "no more"),
        (MediaError("clip_1: empty"), "bad_data", "clip_1: empty"),
        (CorpusError("2 faults:\nrow 3: no label"), "bad_data", "row 3: no label"),
        (ConfigError("no training items for prosody"), "failed", "no training items for prosody"),
        (BaseModelError("no checkpoint"), "failed", "no checkpoint"),
        (RuntimeError("Traceback\n  ...\nomnimer_ray.errors.DivergedError: the loss is inf"), "diverged", None),
        (AssertionError(), "failed", "AssertionError"),
        (ValueError("something new"), "failed", "something new"),
        (StorageError("cannot write x: No space left on device"), "storage", "cannot write x: No space left on device"),
        (ResultsError("adapter_model.safetensors is damaged"), "damaged", None),
        (LeaseHeldError("in use"), "damaged", None),
        (OSError(errno.ENOSPC, "No space left on device"), "storage", "[Errno 28] No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "/nfs/x"), "storage", None),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "storage", None),
        (OSError(errno.ESTALE, "Stale file handle"), "storage", None),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "storage", None),
        (FileNotFoundError(errno.ENOENT, "No such file", "/nfs/x"), "machine", "[Errno 2] No such file: '/nfs/x'"),
        (PermissionError(errno.EACCES, "Permission denied"), "machine", None),
        (OSError(errno.ENOTCONN, "Transport endpoint is not connected"), "machine", None),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "machine", None),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out_of_memory", None),
        (hub.OfflineModeIsEnabled("offline mode is enabled"), "machine", None),
        (hub.LocalEntryNotFoundError("not in the cache"), "machine", None),
        (requests.exceptions.ConnectionError("Max retries exceeded"), "machine", None),
        (httpx2.ConnectError("Name or service not known"), "machine", None),
        (ModuleNotFoundError("No module named 'peft'"), "machine", None),
        (NO_TEMPLATE, "failed", None),
        (MissingExtraError("peft", "train"), "machine", None),
        (MachineError("too few cores"), "machine", "too few cores"),
        (KILLED, "machine", None),
        (RuntimeError(f"Traceback\n  ...\nomnimer_ray.errors.MachineError: {KILLED}"), "machine", None),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "machine", None),
        (NODE_DIED, "lost_node", None),
        (ray.exceptions.NodeDiedError("it died"), "lost_node", None),
        (RuntimeError("1 worker(s) were killed due to the node running low on memory."), "out_of_memory", None),
        (DIED, "lost_worker", "The actor is dead because its worker process has died."),
        (ray.exceptions.WorkerCrashedError(), "lost_worker", None),
        (RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:123"), "lost_worker", None),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "lost_worker", None),
        (RuntimeError("torch.distributed.DistBackendError: NCCL error, remote process exited"), "lost_worker", None),
        (torch.distributed.DistBackendError("NCCL error, remote process exited"), "lost_worker", None),
        (torch.distributed.DistBackendError("NCCL error, unhandled cuda error 'out of memory'"), "out_of_memory", None),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "out_of_memory", None),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), "out_of_memory", None),
        (MemoryError("9 GiB"), "out_of_memory", None),
        (train_errors.WorkerGroupStartupFailedError("one of the worker actors failed to initialize"), "not_started", None),
    ],
)
def test_kind_and_reason_of_an_error(error: Exception, kind: str, reason: str | None) -> None:
    assert classify(error) == {"outcome": FailureKind(kind), "reason": reason or str(error).splitlines()[-1]}


def test_the_error_of_a_worker_is_found_inside_rays_wrappers() -> None:
    nested = Wrapped(worker_failures={0: Wrapped(cause=DivergedError("the loss is nan"))})
    assert classify(nested) == {"outcome": "diverged", "reason": "the loss is nan"}
    assert classify(Wrapped(worker_failures={1: Wrapped(health_check_failure=DIED)}))["outcome"] == "lost_worker"
    assert classify(Wrapped(controller_failure=DIED))["outcome"] == "lost_worker"
    assert classify(Wrapped(cause="no error"))["outcome"] == "failed"
    assert classify(train_errors.UserExceptionWithTraceback(KILLED, "Traceback ... out of memory"))["outcome"] == "machine"


def test_an_error_of_no_known_type_is_secondary_to_a_lost_worker() -> None:
    secondary = RuntimeError("collective aborted")
    assert classify(Wrapped(worker_failures={0: secondary, 1: DIED}))["outcome"] == "lost_worker"
    assert classify(Wrapped(worker_failures={0: OSError("broken pipe"), 1: DIED}))["outcome"] == "lost_worker"


def test_an_error_in_the_set_up_of_a_process_group_is_never_recorded() -> None:
    """Regression: a node whose network interface has another name was recorded as lost_worker after three attempts."""
    error = Wrapped(controller_failure=RuntimeError("Unable to find address for: nowhere"))
    assert classify(error)["outcome"] == "failed"
    error.args = ("Training failed:\n  File config.py, in _setup_torch_process_group\nRuntimeError: Unable to find address",)
    assert classify(error) == {"outcome": "not_started", "reason": "Unable to find address for: nowhere"}
    assert not POLICIES[FailureKind.NOT_STARTED].recorded


def test_a_diverged_worker_has_precedence_over_a_lost_worker() -> None:
    assert classify(Wrapped(worker_failures={0: DIED, 1: DivergedError("nan")}))["outcome"] == "diverged"


def test_the_kinds_of_ray_trains_own_errors() -> None:
    died = train_errors.WorkerHealthCheckFailedError("A worker health check failed.", failure=ray.exceptions.ActorDiedError())
    assert classify(api_errors.WorkerGroupError("errors", {0: died}))["outcome"] == "lost_worker"
    error = api_errors.ControllerError(train_errors.WorkerGroupStartupTimeoutError(num_workers=2))
    assert classify(error)["outcome"] == "waiting"


def test_every_class_in_the_tables_exists() -> None:
    """This test fails if a library renames one of its errors."""
    modules = {
        "omnimer_ray": [errors],
        "builtins": [builtins],
        "torch": [torch, torch.distributed],
        "ray": [ray.exceptions, train_errors, api_errors],
    }
    for qualified in (*TYPES, *LOSSES):
        package, _, name = qualified.partition(".")
        found = [getattr(module, name) for module in modules[package] if hasattr(module, name)]
        assert found, f"{qualified} does not exist"
        assert found[0].__module__.partition(".")[0] == package


def test_every_kind_has_a_policy_and_every_error_of_the_package_has_a_kind() -> None:
    assert set(POLICIES) == set(FailureKind)
    assert set(MESSAGES) | set(TYPES.values()) | set(LOSSES.values()) | {FailureKind.HUNG} == set(FailureKind)
    ours = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, OmniMERError) and kind is not OmniMERError
    ]
    assert all(any(f"omnimer_ray.{base.__name__}" in TYPES for base in kind.__mro__) for kind in ours)


def test_an_unknown_kind_raises_an_error() -> None:
    with pytest.raises(ValueError, match="'tired' is not a valid FailureKind"):
        should_retry([{"outcome": "tired", "reason": None, "micro_batch": None}])


def test_the_failures_module_imports_neither_torch_nor_ray() -> None:
    code = "import sys, omnimer_ray.execution.failures; print(sorted({'torch', 'ray'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


UNITS = make_plan(ablations(tiny_config())).units


@pytest.mark.parametrize("kind", FailureKind)
def test_a_recorded_failure_is_read_as_the_units_outcome(tmp_path: Path, kind: FailureKind) -> None:
    for unit in UNITS:
        record_failure(tmp_path, unit, kind, "the reason")
        if not isinstance(unit, LedgerUnit):
            assert recorded_outcome(unit, tmp_path) == kind
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "stages"}, "a ledger unit has no record"


def config_of(unit: Unit) -> ThinkerConfig:
    assert isinstance(unit, RunUnit)
    return unit.run.config


@pytest.mark.parametrize("training", [True, False])
def test_the_record_of_a_failed_run_identifies_the_run(tmp_path: Path, training: bool) -> None:
    unit = next(unit for unit in UNITS if isinstance(unit, RunUnit) and unit.run.config.training is training)
    record_failure(tmp_path, unit, FailureKind.DIVERGED, "nan")
    record = read_record(record_folder(unit, tmp_path))
    assert record == {
        "outcome": "diverged",
        "reason": "nan",
        "stages": [],
        "signature": unit.id.removeprefix("run-"),
        "method": "thinker",
        "task": config_of(unit).task,
        "fold": None,
        "seed": 0 if training else None,
        "attempts": [],
        "files": {},
    }


def failed(*outcomes: str) -> list[Attempt]:
    return [{"outcome": outcome, "reason": f"reason {number}", "micro_batch": 8} for number, outcome in enumerate(outcomes, 1)]


@pytest.mark.parametrize(
    ("outcomes", "retried", "recorded"),
    [
        (["out_of_memory"], True, None),
        (["out_of_memory"] * 2, False, "out_of_memory"),
        (["hung", "out_of_memory"], True, None),
        (["out_of_memory", "hung"], True, None),
        (["lost_worker", "hung"], True, None),
        (["lost_worker", "out_of_memory", "hung", "lost_worker"], False, "lost_worker"),
        (["hung"] * 3, False, "hung"),
        (["lost_worker", "lost_node", "hung"], False, None),
        (["lost_node"] * 3, False, None),
        (["diverged"], False, "diverged"),
        (["bad_data"], False, "bad_data"),
        (["storage"], False, None),
        (["machine"], False, None),
    ],
)
def test_which_failures_are_retried_and_which_are_recorded(
    outcomes: list[str], retried: bool, recorded: str | None, tmp_path: Path
) -> None:
    """Failures of a machine are not recorded as a run's; three lost or hung workers within one sweep are."""
    attempts, unit = failed(*outcomes), next(unit for unit in UNITS if isinstance(unit, RunUnit))
    assert should_retry(attempts) is retried
    if not retried:
        record_attempts(tmp_path, unit, attempts)
        record = read_record(record_folder(unit, tmp_path)) if recorded else None
        assert recorded_outcome(unit, tmp_path) == recorded
        assert record is None or (record["reason"], record["attempts"]) == (f"reason {len(attempts)}", attempts)
