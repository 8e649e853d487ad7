"""Progress lines of a running sweep, from the plain files that its workers write."""

import io
import json
import time
from pathlib import Path

import pytest
from making import ablations, tiny_config
from rich.console import Console

from omnimer_ray.errors import ResultsError
from omnimer_ray.execution import progress
from omnimer_ray.execution.progress import Progress, console_logger, describe, last_step
from omnimer_ray.planning.extents import extents_of
from omnimer_ray.planning.plan import make_plan
from omnimer_ray.planning.units import LedgerUnit, Unit, record_folder
from omnimer_ray.records import write_record

PLAN = make_plan(ablations(tiny_config()))
EXTENTS = extents_of(PLAN, num_training=160, num_scored=96)
BASE = next(unit for unit in PLAN.units if unit.title == "Base / sentiment, seed 0")
ZERO = next(unit for unit in PLAN.units if unit.title == "Zero-shot / emotion")


class Clock:
    """A clock that changes only when a test sets `now`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("omnimer_ray.execution.progress.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def lines_of(console: Console) -> list[str]:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


def make_progress(folder: Path, recorded: tuple[str, ...] = ()) -> Progress:
    return Progress(Console(file=io.StringIO(), width=40), folder, EXTENTS, recorded, lambda unit: None)


def write_history(folder: Path, unit: Unit, *lines: str) -> None:
    assert unit.stage is not None
    path = folder / "stages" / unit.stage.key / "history.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(lines))


def test_a_line_is_logged_when_a_unit_starts_and_when_it_ends(tmp_path: Path, clock: Clock) -> None:
    watcher = make_progress(tmp_path)
    watcher.start(BASE)
    write_history(tmp_path, BASE, '{"step": 49, "num_steps": 50, "loss": 1.0}\n', '{"step": 50, "num_steps": 50, "loss": 0.12345}\n')
    assert BASE.stage is not None
    write_record(tmp_path / "stages" / BASE.stage.key, {"outcome": "done", "matched": "LoRA on 8 modules"})
    clock.now = 75.0
    watcher.end(BASE, "done", None)
    assert lines_of(watcher.console) == [
        "[  0:00] start  Base / sentiment, seed 0",
        "[  1:15] done   Base / sentiment, seed 0, loss 0.123; LoRA on 8 modules",
    ]
    assert watcher.finished == {BASE.id}


@pytest.mark.parametrize(("outcome", "printed"), [("diverged", "diverged"), ("lost_worker", "lost worker"), ("stopped", "stopped")])
def test_the_end_of_a_failed_or_stopped_unit_is_logged_with_its_outcome(tmp_path: Path, outcome: str, printed: str) -> None:
    watcher = make_progress(tmp_path)
    watcher.start(ZERO)
    watcher.end(ZERO, outcome, None if outcome == "stopped" else "the reason")
    assert lines_of(watcher.console)[1] == f"[  0:00] {printed:6} Zero-shot / emotion" + (": the reason" if outcome != "stopped" else "")
    assert (watcher.finished, watcher.running) == (set(), {})


def test_after_is_called_with_each_ended_unit_and_its_error_is_logged(tmp_path: Path, clock: Clock) -> None:
    watcher, ended = make_progress(tmp_path), []

    def after(unit: Unit) -> None:
        ended.append(unit)
        raise ResultsError("cannot write the card: no space left")

    watcher.after = after
    for unit, outcome in ((BASE, "diverged"), (ZERO, "done")):
        watcher.start(unit)
        watcher.end(unit, outcome, None)
    assert ended == [BASE, ZERO]
    assert lines_of(watcher.console)[-1] == "[  0:00] cannot write the card: no space left"
    assert watcher.finished == {ZERO.id}


def test_the_state_of_a_unit_is_described_from_its_files(tmp_path: Path) -> None:
    assert describe(BASE, tmp_path) == "Base / sentiment, seed 0: loading"
    write_history(tmp_path, BASE, '{"step": 7, "num_steps": 50, "loss": 0.5}\n')
    assert describe(BASE, tmp_path) == "Base / sentiment, seed 0: step 7 of 50, loss 0.500"
    answers = tmp_path / ".sweep" / "progress" / f"{BASE.id}.json"
    answers.parent.mkdir(parents=True)
    answers.write_text(json.dumps({"done": 16, "total": 96, "what": "clips"}))
    assert describe(BASE, tmp_path) == "Base / sentiment, seed 0: 16 of 96 clips"


@pytest.mark.parametrize("text", ["", '{"step": 7, "num_st', "[1]\n"])
def test_a_history_without_a_complete_step_counts_as_empty(tmp_path: Path, text: str) -> None:
    write_history(tmp_path, BASE, text)
    assert last_step(BASE, tmp_path) == {}
    assert describe(BASE, tmp_path) == "Base / sentiment, seed 0: loading"


def test_the_time_left_is_estimated_from_the_work_done(tmp_path: Path, clock: Clock) -> None:
    total = sum(extent.work for extent in EXTENTS.values())
    watcher = make_progress(tmp_path, recorded=tuple(unit.id for unit in PLAN.units if isinstance(unit, LedgerUnit)))
    assert watcher._line() == "3 of 20 units done  "
    watcher.start(BASE)
    watcher.end(BASE, "done", None)
    clock.now = 10.0
    assert "left" not in watcher._line(), "too early for an estimate"
    clock.now = 60.0
    minutes = (total - watcher.recorded_work - EXTENTS[BASE.id].work) / EXTENTS[BASE.id].work
    assert watcher._line() == f"4 of 20 units done, about {minutes:.0f} min left  "


def test_without_a_terminal_plain_lines_are_logged_at_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_SEC", 0.0)
    monkeypatch.setattr(progress, "UPDATE_EVERY_SEC", 0.01)
    watcher = make_progress(tmp_path)
    with watcher:
        watcher.start(ZERO)
        while len(lines_of(watcher.console)) < 3:
            time.sleep(0.01)
    assert lines_of(watcher.console)[-1] == "[  0:00] 0 of 20 units done  Zero-shot / emotion: loading"


def test_on_a_terminal_a_status_line_is_shown(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with Progress(console, tmp_path, EXTENTS, (), lambda unit: None) as watcher:
        watcher.start(ZERO)
    assert "starting workers" in "".join(lines_of(console))


def test_lines_are_neither_wrapped_nor_parsed_as_markup() -> None:
    console = Console(file=io.StringIO(), width=10)
    console_logger(console)("[bold] a line that is longer than ten columns [/oops]")
    assert lines_of(console) == ["[bold] a line that is longer than ten columns [/oops]"]


def test_the_record_folder_of_a_run_is_named_by_its_signature(tmp_path: Path) -> None:
    assert record_folder(ZERO, tmp_path) == tmp_path / "runs" / ZERO.id.removeprefix("run-")


def test_the_reason_why_a_unit_waits_is_logged_after_ten_seconds_and_then_once_a_minute(tmp_path: Path, clock: Clock) -> None:
    watcher = make_progress(tmp_path)
    for second in range(131):
        clock.now = float(second)
        watcher.wait("waiting for 2 cores on one node: 1 free of 4 cores")
    assert lines_of(watcher.console) == [
        f"[{minute:3d}:{second:02d}] waiting for 2 cores on one node: 1 free of 4 cores" for minute, second in ((0, 10), (1, 10), (2, 10))
    ]
    assert watcher._line().endswith("  waiting for 2 cores on one node: 1 free of 4 cores")
    watcher.wait(None)
    assert "waiting" not in watcher._line()
    for second in range(140, 145):  # the cores of a finished unit are free only after a few seconds
        clock.now = float(second)
        watcher.wait("waiting for 2 cores on one node: 1 free of 4 cores")
    assert len(lines_of(watcher.console)) == 3
    assert "waiting" not in watcher._line()
