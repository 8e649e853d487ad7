"""A search around its trials: its expected work, its last lines, and no confirmation before the trials have ended."""

import io
from pathlib import Path
from typing import Any

import pytest
from making import clip, sweep_of, tiny_config
from rich.console import Console

from omnimer_ray import launch
from omnimer_ray.planning.extents import extent
from omnimer_ray.planning.search_space import Search, Trial, ledger_units, trial_run, units_of
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.units import LedgerUnit
from omnimer_ray.records import write_json
from omnimer_ray.search import runner
from omnimer_ray.search.runner import Expected, closing
from omnimer_ray.search.study import Study

CLIPS = (*(clip(f"{video}_{index}") for video in "abcd" for index in range(10)), clip("e_1", split="validation"))
NONE = {"auxiliaries": "none", "rank": 8, "alpha": 16, "learning_rate": 2e-3}
TEXT = {**NONE, "auxiliaries": "text", "schedule": "multi_stage"}
SEARCH = Search(tiny_config(), num_trials=2, num_confirmed=1, confirmation_seeds=(1, 2))


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    made = sweep_of(tmp_path, CLIPS)._replace(search=SEARCH)
    return made._replace(plan=made.make_plan())


def write(sweep: Sweep, *outcomes: str | None) -> None:
    rows = [
        Trial(number, outcome, None, (NONE, TEXT)[number % 2], 0.2 + number / 10 if outcome == "done" else None, 9, f"s{number}", None)
        for number, outcome in enumerate(outcomes)
    ]
    write_json(sweep.folder / "trials.json", {"trials": [row._asdict() for row in rows]})


def test_a_trial_takes_the_place_of_a_guess(sweep: Sweep) -> None:
    expected = Expected(sweep, ledger_units(SEARCH), Study(SEARCH, sweep.folder / "trials", sweep.folder / "trials.json"))
    ledgers = [unit.id for unit in ledger_units(SEARCH)]
    assert set(expected.extents) == {*ledgers, "trial 0", "trial 1"}
    assert (expected.extents[ledgers[0]].answers, expected.extents["trial 0"].steps, expected.extents["trial 0"].answers) == (40, 9, 10)
    units = [unit for unit in units_of("trial 0", trial_run(SEARCH, TEXT)) if not isinstance(unit, LedgerUnit)]
    for unit in units:
        expected.add(unit)
    assert set(expected.extents) == {*ledgers, *(unit.id for unit in units), "trial 1"}
    assert expected.extents[units[0].id] == extent(units[0], 30, 10)
    assert expected.titles[units[1].id] == "trial 0 / emotion, seed 0"


def test_the_last_lines_name_the_best_trial_its_folder_and_the_evaluated_split(sweep: Sweep) -> None:
    write(sweep, "done", "done")
    for name in ("one", "two"):
        (sweep.folder / "runs" / name).mkdir(parents=True)
        (sweep.folder / "runs" / name / "predictions.parquet").touch()
    assert closing(sweep) == [
        "chosen on development: trial 1, macro F1 0.300: text / multi_stage / rank 8 / alpha 16 / rate 0.002",
        "chosen on development: trial 0, macro F1 0.200: none / rank 8 / alpha 16 / rate 0.002",
        "validation was opened once for each of 2 confirmed runs, and by no trial",
    ]


def searched(sweep: Sweep, monkeypatch: pytest.MonkeyPatch, code: int) -> tuple[int, list[Sweep]]:
    """A search whose trials end with `code`, and what was confirmed then."""
    confirmed: list[Sweep] = []

    def confirm(sweep: Sweep, console: Console) -> int:
        confirmed.append(sweep)
        return launch.DONE

    monkeypatch.setattr(launch, "_prepare_clips", lambda sweep, log: sweep)
    monkeypatch.setattr(runner, "run_trials", lambda sweep, console: code)
    monkeypatch.setattr(launch, "_run", confirm)
    return launch._run_search(sweep, Console(file=io.StringIO())), confirmed


def test_the_best_are_confirmed_once_all_trials_have_ended(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    write(sweep, "done", "pruned")
    code, (confirmed,) = searched(sweep, monkeypatch, launch.DONE)
    assert code == launch.DONE
    assert [(row.variant[:6], row.seed) for row in confirmed.plan.rows] == [("Base", 1), ("Base", 2), ("best 1", 1), ("best 1", 2)]
    assert (sweep.folder / "tables" / "search.md").exists()


@pytest.mark.parametrize("code", [launch.FAILED, launch.INTERRUPTED])
def test_nothing_is_confirmed_before_that(sweep: Sweep, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    write(sweep, "done", None)
    assert searched(sweep, monkeypatch, code) == (code, [])
    assert "not finished" in (sweep.folder / "tables" / "search.md").read_text()


def test_the_state_of_a_search_counts_its_trials(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    write(sweep, "diverged", None)
    monkeypatch.setattr(launch, "prepare", lambda request: sweep)
    console = Console(file=io.StringIO(), width=500)
    assert launch.status(sweep.request, console) == launch.DONE
    assert isinstance(console.file, io.StringIO)
    assert "2 of 2 trials drawn: 1 diverged, 1 not finished" in console.file.getvalue().splitlines()
    data: dict[str, Any] = dict(launch.as_data(sweep.request))
    assert [trial["outcome"] for trial in data["trials"]] == ["diverged", None]


def test_the_codes_are_those_of_the_launch() -> None:
    assert (runner.DONE, runner.FAILED, runner.INTERRUPTED) == (launch.DONE, launch.FAILED, launch.INTERRUPTED)
