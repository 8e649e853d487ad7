"""Before a sweep: its faults. After it: failed units, units that were not started, and the command that resumes."""

import importlib.metadata
import io
import shutil
import signal
import time
from collections import namedtuple
from importlib.metadata import version
from pathlib import Path
from typing import Any

import making
import pytest
from making import clip, sweep_of, tiny_config
from rich.console import Console

from analysis import load
from omnimer_ray import launch
from omnimer_ray.doctor import quick_findings, work
from omnimer_ray.errors import ConfigError, MachineError, ResultsError, StorageError, SweepStoppedError
from omnimer_ray.execution import lease
from omnimer_ray.execution.driver import Outcome
from omnimer_ray.execution.failures import FailureKind, record_failure
from omnimer_ray.execution.lease import Lease, holder
from omnimer_ray.model.bases import locate
from omnimer_ray.outputs.analysis_inputs import write_plan
from omnimer_ray.planning.plan import make_plan
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.space import SearchSpace
from omnimer_ray.planning.units import StageUnit, Unit, record_folder
from omnimer_ray.records import write_json, write_record

CLIPS = (*(clip(f"{video}_{index}") for video in "abcd" for index in range(5)), clip("e_1", split="validation"))
COMMAND = "python -m omnimer_ray.sweep ablations"


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return sweep_of(tmp_path, CLIPS)


def one(sweep: Sweep, title: str) -> Unit:
    return next(unit for unit in sweep.plan.units if unit.title == title)


def report(sweep: Sweep, ended: Outcome | None) -> tuple[int, list[str]]:
    lines: list[str] = []
    return launch._report(ended, sweep, lines.append), lines


def finish(sweep: Sweep, *units: Unit) -> None:
    for unit in units:
        record_folder(unit, sweep.folder).mkdir(parents=True, exist_ok=True)
        write_record(record_folder(unit, sweep.folder), {"outcome": "done"})


def test_a_finished_sweep_reports_nothing_to_resume(sweep: Sweep) -> None:
    assert report(sweep, Outcome((), {}, (), False)) == (0, [])
    assert report(sweep, None) == (0, [])


def test_unrecorded_failures_resume_with_the_same_command(sweep: Sweep) -> None:
    unit = one(sweep, "Base / emotion, seed 0")
    assert report(sweep, Outcome((), {unit.id: "storage: disk full"}, ("x", "y"), False)) == (
        4,
        [
            "failed: Base / emotion, seed 0: storage: disk full",
            "2 units were not started, because a unit that they need failed",
            f"what was finished is kept. Resume with:  {COMMAND}",
        ],
    )


def test_recorded_failures_are_started_again_only_with_retry(sweep: Sweep) -> None:
    unit = one(sweep, "Base / emotion, seed 0")
    record_failure(sweep.folder, unit, FailureKind.DIVERGED, "nan")
    again = f"1 units are recorded as failed. Start them again with:  {COMMAND} --retry failed"
    assert report(sweep, Outcome((), {unit.id: "diverged: nan"}, (), False)) == (
        4,
        ["failed: Base / emotion, seed 0: diverged: nan", again],
    )
    assert report(sweep, None) == (4, [again]), "the same command later"


def test_a_stopped_sweep_logs_the_command_that_resumes(sweep: Sweep) -> None:
    assert report(sweep, Outcome((), {}, ("x",), True)) == (
        130,
        ["1 units were not started", f"what was finished is kept. Resume with:  {COMMAND}"],
    )


def test_whether_anything_can_start(sweep: Sweep) -> None:
    units = sweep.plan.units
    shared = next(unit for unit in units if isinstance(unit, StageUnit))
    rows = [unit for unit in units if "Multi-stage" in unit.title]
    new: dict[str, str | None] = {unit.id: None for unit in units}
    done: dict[str, str | None] = {unit.id: "done" for unit in units}
    assert launch._can_start(sweep.plan, new)
    assert not launch._can_start(sweep.plan, done)
    waiting = done | {unit.id: None for unit in rows}
    assert launch._can_start(sweep.plan, waiting)
    assert not launch._can_start(sweep.plan, waiting | {shared.id: "diverged"})
    assert not launch._can_start(sweep.plan, waiting | {shared.id: None, units[0].id: "failed"}), "also where the failed one is far above"


def test_a_machine_that_is_not_fit_is_refused_before_anything_starts(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the quick doctor: a full disk and a missing package, and a worker's memory."""
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(launch, "prepare", lambda request, **named: sweep._replace(base=locate("tiny")))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(2**40, 2**40 - 2**27, 2**27))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: raise_missing() if name == "qwen-omni-utils" else version(name))
    monkeypatch.setattr(work, "available_gib", lambda: 0.1)
    monkeypatch.setattr(launch, "_run", lambda *rest: pytest.fail("it started"))
    with pytest.raises(MachineError) as raised:
        launch.run(sweep.request, dry_run=False)
    faults = str(raised.value).splitlines()
    assert faults[0].endswith("checks of this machine failed (python -m omnimer_ray.doctor):")
    assert any(line.startswith("  packages: qwen-omni-utils is not installed; install again: ") for line in faults)
    assert any(line.startswith("  disk: ") and "has 0.1 GiB free and needs 0.5" in line for line in faults)
    assert any(line.startswith("  fits: a worker needs ") and ", and has " in line for line in faults)
    assert launch.run(sweep.request, dry_run=True) == 0, "a plan is printed on any machine"
    assert not sweep.folder.exists()


def raise_missing() -> str:
    raise importlib.metadata.PackageNotFoundError


def test_a_base_that_is_not_downloaded_is_reported_and_not_refused(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "prepare", lambda request, **named: sweep)
    monkeypatch.setattr(launch, "quick_findings", lambda profile, results: [])
    monkeypatch.setattr(launch, "_run", lambda *rest: 0)
    console = Console(file=io.StringIO(), width=200)
    assert launch.run(sweep.request, False, console) == 0
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\nmemory   the base's config.json is not here, so its memory cannot be estimated\n" in text
    assert "\ntime     no measured rates yet: no run of this corpus and base is finished on this profile\n" in text


def test_the_doctor_is_quick(sweep: Sweep) -> None:
    began = time.process_time()
    quick_findings(sweep.profile, sweep.folder)
    assert time.process_time() - began < 1, "seconds of processor time"


def test_a_relative_folder_inside_a_ray_job_is_refused(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    launch._check_place(sweep.request._replace(results=Path("results")))
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    launch._check_place(sweep.request)
    with pytest.raises(
        ConfigError, match=r"^--results results is relative, and a Ray job's working folder is temporary; give an absolute path"
    ):
        launch._check_place(sweep.request._replace(results=Path("results")))


def test_every_relative_path_that_workers_read_is_refused_inside_a_ray_job(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    relative = sweep.request._replace(corpus="indomer:data", media=Path("clips"), base="models/tiny", machine="own.yaml", space="own.py")
    with pytest.raises(ConfigError) as raised:
        launch._check_place(relative)
    assert str(raised.value) == (
        "--corpus data and --media clips and --base models/tiny are relative, and a Ray job's working folder is temporary; "
        "give an absolute path that all machines share"
    )
    launch._check_place(relative.absolute()._replace(base=str(tmp_path / "models" / "tiny")))
    launch._check_place(sweep.request._replace(base="Qwen/Qwen2.5-Omni-7B"))


def test_a_relative_folder_is_refused_in_a_ray_job(given: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    joined = given._replace(profile=given.profile.model_copy(update={"address": "auto"}))
    monkeypatch.setattr(launch, "prepare", lambda request, **named: joined)
    with pytest.raises(
        MachineError, match="storage: --results results is relative; give an absolute path that all machines of the cluster"
    ):
        launch.run(joined.request._replace(results=Path("results")), dry_run=False)


def planned(sweep: Sweep, folds: int | None = None, **changes: Any) -> Sweep:
    return sweep._replace(plan=make_plan(SearchSpace(tiny_config(**changes), {"Base": {}}), folds))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"global_batch": 128}, "20 items x 5 epochs do not fill one global batch of 128; "),
        ({"block": 12, "global_batch": 24}, "micro_batch 8 x workers 1 does not divide block 12; "),
        ({"folds": 6}, "folds 6 must be from 2 to 5, the number of source videos"),
        ({"folds": 5, "epochs": 0.8}, "16 items x 0.8 epochs do not fill one global batch of 16; "),
    ],
)
def test_the_error_names_stages_that_cannot_run(sweep: Sweep, changes: dict[str, Any], text: str) -> None:
    launch._check_stages(sweep)
    with pytest.raises(ConfigError) as raised:
        launch._check_stages(planned(sweep, **changes))
    assert str(raised.value).startswith(text)


@pytest.fixture
def given(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """The sweep that any request comes to."""
    monkeypatch.setattr(launch, "prepare", lambda request, **named: sweep)
    return sweep


def run(sweep: Sweep) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=500)
    code = launch.run(sweep.request, False, console)
    assert isinstance(console.file, io.StringIO)
    return code, console.file.getvalue()


def test_ctrl_c_before_any_worker_started_logs_the_command_that_resumes(given: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "read_corpus", interrupted)
    code, text = run(given)
    assert code == 130
    assert f"\nresume   {COMMAND}\n" in text, "also before the work, for a process that is killed"
    assert text.endswith(f"stopped at once; what was finished is kept. Resume with:  {COMMAND}\n")


def test_a_folder_in_use_is_refused_before_anything_is_made(given: Sweep) -> None:
    with Lease(given.folder), pytest.raises(ResultsError, match="is in use by another sweep"):
        run(given)
    assert [file.name for file in given.folder.iterdir()] == [".sweep"]


def test_status_is_read_from_the_folder_alone(given: Sweep) -> None:
    finish(given, one(given, "Zero-shot / emotion"))
    record_failure(given.folder, one(given, "Base / emotion, seed 0"), FailureKind.DIVERGED, "nan")
    started = one(given, "Base / sentiment, seed 0")
    assert started.stage is not None
    stage = given.folder / "stages" / started.stage.key
    stage.mkdir(parents=True)
    (stage / "history.jsonl").write_text('{"step": 3, "num_steps": 6, "loss": 0.5}\n')
    console = Console(file=io.StringIO(), width=500)
    assert launch.status(given.request, console) == 0
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        f"{given.folder}: not running",
        "1 units done, 1 failed, 1 started, 17 not started",
        "  Base / sentiment, seed 0: step 3 of 6, loss 0.500",
        "  Base / emotion, seed 0: diverged",
        f"resume with:  {COMMAND}",
    ]


def test_a_plan_as_data(given: Sweep) -> None:
    finish(given, one(given, "Zero-shot / emotion"))
    data: dict[str, Any] = dict(launch.as_data(given.request))
    assert (data["space"], data["running"], data["stages"], data["shared_stages"]) == ("ablations", False, 13, 1)
    states = {unit["title"]: unit["state"] for unit in data["units"]}
    assert (states["Zero-shot / emotion"], states["Base / emotion, seed 0"]) == ("done", "new")
    with Lease(given.folder):
        assert launch.as_data(given.request)["running"] is True


def test_missing_curves_and_cards_are_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = sweep_of(tmp_path, (clip("a_1"), clip("b_1", split="validation"), clip("b_2", split="validation")))
    monkeypatch.setattr(launch, "read_corpus", lambda *given, **named: sweep.corpus)
    monkeypatch.setattr(launch, "_can_start", lambda plan, outcomes: False)
    monkeypatch.setattr("omnimer_ray.media.prepare.thumbnails", lambda *given: b"")
    for unit in sweep.plan.units:
        making.finish(sweep, unit, making.step(1, 1.0))
    assert launch._run(sweep, Console(file=io.StringIO(), width=500)) == 0
    kept = {str(path.relative_to(sweep.folder)) for path in sweep.folder.rglob("*") if path.is_file()}
    assert len(list((sweep.folder / "tensorboard").iterdir())) == 13 + 4
    assert sum(name.startswith("stages/") and name.endswith("README.md") for name in kept) == 13
    assert "report.html" in kept


def test_a_sigterm_before_any_worker_started_ends_like_ctrl_c(given: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(launch, "read_corpus", lambda *arguments, **named: signal.raise_signal(signal.SIGTERM))
    code, text = run(given)
    assert code == 130
    assert text.endswith(f"stopped at once; what was finished is kept. Resume with:  {COMMAND}\n")
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    "error",
    [
        SweepStoppedError("Ray Tune failed with TuneError: the head died"),
        StorageError("cannot write x: No space left on device"),
        OSError(28, "No space left on device"),
    ],
)
def test_a_sweep_that_the_machine_stopped_ends_with_the_reason_and_the_command_that_resumes(
    given: Sweep, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def stopped(*arguments: object) -> int:
        raise error

    monkeypatch.setattr(launch, "read_corpus", lambda *arguments, **named: given.corpus)
    monkeypatch.setattr(launch, "_run", stopped)
    code, text = run(given)
    assert code == 4
    assert text.endswith(f"stopped: {error}\nwhat was finished is kept. Resume with:  {COMMAND}\n")


def test_other_errors_of_files_keep_their_trace(given: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object, **named: object) -> None:
        raise FileNotFoundError(2, "No such file")

    monkeypatch.setattr(launch, "read_corpus", missing)
    with pytest.raises(FileNotFoundError):
        run(given)


def test_a_sweep_whose_folder_was_taken_over_stops_and_names_it(given: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SEC", 0.01)

    def suspended(*arguments: object, **named: object) -> None:
        write_json(given.folder / ".sweep" / "lease.json", {"host": "elsewhere", "pid": 1})
        time.sleep(20)

    monkeypatch.setattr(launch, "read_corpus", suspended)
    with pytest.raises(ResultsError) as raised:
        run(given)
    assert str(raised.value) == (
        f"{given.folder} was taken over by another sweep while this one was suspended; this one stopped, and what was finished is kept"
    )
    assert holder(given.folder) == ("elsewhere", 1)


def test_the_folder_of_a_running_sweep_can_be_loaded(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnimer_ray.media.prepare.prepare_media", lambda *given: 0)
    monkeypatch.setattr("omnimer_ray.media.prepare.thumbnails", lambda *given: b"")
    write_plan(sweep)
    launch._prepare_clips(sweep, print)
    assert load(sweep.folder).clips["clip"].to_list() == [clip.id for clip in CLIPS]
