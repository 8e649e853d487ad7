"""What became of a trial: failures that would come again are recorded, those of the machine are not."""

from pathlib import Path
from typing import Any

import pytest
from making import ablations, tiny_config

from omnimer_ray.config import RunConfig
from omnimer_ray.errors import (
    BaseModelError,
    ConfigError,
    CorpusError,
    DivergedError,
    MachineError,
    MediaError,
    MissingExtraError,
    ResultsError,
)
from omnimer_ray.execution.capacity import placement_group_tag
from omnimer_ray.execution.handout import Job
from omnimer_ray.execution.tune_trial import FAILURES, Attempt, again, classify, died, record_attempts, record_failure
from omnimer_ray.machine.profile import MachineProfile, load_profile
from omnimer_ray.model.bases import locate
from omnimer_ray.planning.plan import make_plan
from omnimer_ray.planning.units import LedgerUnit, RunUnit, Unit, record_folder, recorded_outcome
from omnimer_ray.records import read_record, write_record


class Wrapped(Exception):
    """As Ray Train's errors are: the worker's own hangs below."""

    def __init__(self, **below: Any) -> None:
        super().__init__("Training failed due to worker errors:\nmuch text")
        vars(self).update(below)


class ActorDiedError(Exception):
    """As Ray names it."""


DIED = ActorDiedError("The actor died unexpectedly.\nThe actor is dead because its worker process has died.")


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (DivergedError("the loss of step 3 is nan"), "diverged", "the loss of step 3 is nan"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory", "CUDA out of memory. Tried to allocate 2 GiB"),
        (type("OutOfMemoryError", (RuntimeError,), {})("no more"), "out_of_memory", "no more"),
        (MediaError("clip_1: empty"), "bad_data", "clip_1: empty"),
        (CorpusError("2 faults:\nrow 3: no label"), "bad_data", "row 3: no label"),
        (ConfigError("no training items for prosody"), "failed", "no training items for prosody"),
        (BaseModelError("no checkpoint"), "failed", "no checkpoint"),
        (RuntimeError("Traceback\n  ...\nomnimer_ray.errors.DivergedError: the loss is inf"), "diverged", None),
        (AssertionError(), "failed", "AssertionError"),
        (ValueError("something new"), "failed", "something new"),
        (ResultsError("cannot write x: No space left on device"), "storage", "cannot write x: No space left on device"),
        (OSError(28, "No space left on device"), "storage", "[Errno 28] No space left on device"),
        (FileNotFoundError(2, "No such file"), "storage", "[Errno 2] No such file"),
        (MissingExtraError("peft", "train"), "machine", None),
        (MachineError("too few cores"), "machine", "too few cores"),
        (RuntimeError("The actor died.\nThe actor is dead because its node has died."), "lost_node", None),
        (RuntimeError("1 worker(s) were killed due to the node running low on memory."), "out_of_memory", None),
        (DIED, "lost_worker", "The actor is dead because its worker process has died."),
        (RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:123"), "lost_worker", None),
        (ConnectionResetError(104, "Connection reset by peer"), "lost_worker", None),
        (RuntimeError("torch.distributed.DistBackendError: NCCL error, remote process exited"), "lost_worker", None),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "out_of_memory", None),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), "out_of_memory", None),
        (MemoryError("9 GiB"), "out_of_memory", None),
    ],
)
def test_an_error_is_told_by_its_kind(error: Exception, kind: str, reason: str | None) -> None:
    assert classify(error) == {"outcome": kind, "reason": reason or str(error).splitlines()[-1]}


def test_the_workers_own_error_is_found_below_rays() -> None:
    deep = Wrapped(worker_failures={0: Wrapped(cause=DivergedError("the loss is nan"))})
    assert classify(deep) == {"outcome": "diverged", "reason": "the loss is nan"}
    assert classify(Wrapped(worker_failures={1: Wrapped(health_check_failure=DIED)}))["outcome"] == "lost_worker"
    assert classify(Wrapped(controller_failure=DIED))["outcome"] == "lost_worker"
    assert classify(Wrapped(cause="no error"))["outcome"] == "failed"


def test_one_lost_worker_tells_for_the_others() -> None:
    collateral = RuntimeError("collective aborted")
    assert classify(Wrapped(worker_failures={0: collateral, 1: DIED}))["outcome"] == "lost_worker"
    assert classify(Wrapped(worker_failures={0: OSError("broken pipe"), 1: DIED}))["outcome"] == "lost_worker"


def test_whatever_is_raised_while_a_process_group_is_set_up_passes() -> None:
    error = Wrapped(controller_failure=RuntimeError("Unable to find address for: nowhere"))
    assert classify(error)["outcome"] == "failed"
    error.args = ("Training failed:\n  File config.py, in _setup_torch_process_group\nRuntimeError: Unable to find address",)
    assert classify(error) == {"outcome": "lost_worker", "reason": "Unable to find address for: nowhere"}


def test_a_failure_that_would_come_again_goes_before_a_lost_worker() -> None:
    assert classify(Wrapped(worker_failures={0: DIED, 1: DivergedError("nan")}))["outcome"] == "diverged"


def test_rays_own_errors_are_known() -> None:
    ray = pytest.importorskip("ray")
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    died = WorkerHealthCheckFailedError("A worker health check failed.", failure=ray.exceptions.ActorDiedError())
    error = ray.train.WorkerGroupError("errors", {0: died})
    assert classify(error)["outcome"] == "lost_worker"


def test_a_placement_group_that_is_not_placed_in_time_waits() -> None:
    ray = pytest.importorskip("ray")
    from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

    error = ray.train.ControllerError(WorkerGroupStartupTimeoutError(num_workers=2))
    assert classify(error)["outcome"] == "waiting"


UNITS = make_plan(ablations(tiny_config())).units


@pytest.mark.parametrize("kind", FAILURES)
def test_a_recorded_failure_is_the_units_outcome(tmp_path: Path, kind: str) -> None:
    for unit in UNITS:
        record_failure(tmp_path, unit, kind, "the reason")
        if not isinstance(unit, LedgerUnit):
            assert recorded_outcome(unit, tmp_path) == kind
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "stages"}, "a part of the ledger has no record"


def test_units_of_a_plan_are_known_by_a_few_bytes_of_memory() -> None:
    marks = [placement_group_tag(unit, "one") for unit in UNITS]
    assert len(set(marks)) == len(UNITS)
    assert not set(marks) & {placement_group_tag(unit, "another sweep on the same cluster") for unit in UNITS}
    assert all(1 <= number <= 2**20 for number in marks)


def test_what_died_when_all_was_written_is_done(tmp_path: Path) -> None:
    job = Job(tmp_path, tmp_path / "ledgers", tmp_path, locate("tiny"), load_profile("laptop"), "1")
    unit = next(unit for unit in UNITS if isinstance(unit, RunUnit))
    assert died(job, unit, [], "")["outcome"] == "lost_worker"
    record_folder(unit, tmp_path).mkdir(parents=True)
    write_record(record_folder(unit, tmp_path), {"outcome": "done"})
    assert died(job, unit, [], "") == {"outcome": "done"}


def config_of(unit: Unit) -> RunConfig:
    assert isinstance(unit, RunUnit)
    return unit.run.config


@pytest.mark.parametrize("training", [True, False])
def test_a_runs_failure_says_which_run(tmp_path: Path, training: bool) -> None:
    unit = next(unit for unit in UNITS if isinstance(unit, RunUnit) and unit.run.config.training is training)
    record_failure(tmp_path, unit, "diverged", "nan")
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


def job(folder: Path) -> Job:
    return Job(folder, folder, folder, locate("tiny"), MachineProfile(docs="test", micro_batch=8), "1")


def failed(*outcomes: str) -> list[Attempt]:
    return [{"outcome": outcome, "reason": f"reason {place}", "micro_batch": 8} for place, outcome in enumerate(outcomes, 1)]


@pytest.mark.parametrize(
    ("outcomes", "once_more", "recorded"),
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
def test_what_is_started_again_and_what_is_recorded(outcomes: list[str], once_more: bool, recorded: str | None, tmp_path: Path) -> None:
    """A lost machine says nothing against a run; three lost workers, or ones that stood still, within one sweep do."""
    attempts, unit = failed(*outcomes), next(unit for unit in UNITS if isinstance(unit, RunUnit))
    assert again(attempts) is once_more
    if not once_more:
        record_attempts(tmp_path, unit, attempts)
        record = read_record(record_folder(unit, tmp_path)) if recorded else None
        assert recorded_outcome(unit, tmp_path) == recorded
        assert record is None or (record["reason"], record["attempts"]) == (f"reason {len(attempts)}", attempts)


@pytest.mark.parametrize(
    ("told", "kind", "reason"),
    [
        ("", "lost_worker", "its process died"),
        ("The actor died unexpectedly.\nThe actor is dead because its worker process has died.", "lost_worker", None),
        ("The actor died unexpectedly.\nThe actor is dead because its node has died. Node Id: 1f", "lost_node", None),
        ("The actor is dead because its owner has died. Worker exit detail: Owner's node has crashed.", "lost_node", None),
        ("It is dead. End of file. Some common causes include: (1) the OOM killer", "lost_worker", "It is dead. End of file."),
        ("2 worker(s) were killed due to the node running low on memory.", "out_of_memory", None),
        ("ray::ImplicitFunc.train()\nomnimer_ray.errors.ResultsError: cannot write x", "storage", None),
        ("ValueError: something new", "lost_worker", None),
    ],
)
def test_what_became_of_a_process_that_died(told: str, kind: str, reason: str | None, tmp_path: Path) -> None:
    result = died(job(tmp_path), UNITS[0], [], told)
    assert result == {"outcome": kind, "reason": reason or told.splitlines()[-1], "micro_batch": 8}


def test_a_watchdogs_word_counts_once(tmp_path: Path) -> None:
    told = tmp_path / ".sweep" / "hung" / f"{UNITS[0].id}.txt"
    told.parent.mkdir(parents=True)
    told.write_text("it took no step")
    tried = failed("out_of_memory")
    assert died(job(tmp_path), UNITS[0], tried, "died") == {"outcome": "hung", "reason": "it took no step", "micro_batch": 4}
    assert died(job(tmp_path), UNITS[0], tried, "died")["outcome"] == "lost_worker"
