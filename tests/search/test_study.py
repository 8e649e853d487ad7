"""The study and its searcher without a cluster: draws, reports, kills and resumes; no trial is reported or computed twice."""

import json
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import polars as pl
import pytest
from making import tiny_config
from optuna.trial import TrialState
from recording import FINISHED, RecordingWatcher, end

from omnimer_ray.errors import ConfigError
from omnimer_ray.planning.pruning import judge
from omnimer_ray.planning.search_space import Search, ledger_units, read_trials
from omnimer_ray.planning.units import LedgerUnit, Run, RunUnit, Unit
from omnimer_ray.records import predictions_schema, write_record, write_table
from omnimer_ray.search.runner import StudySearcher
from omnimer_ray.search.study import Study

SEARCH = Search(tiny_config(), num_trials=3, subsets=((), ("text",)), ranks=(4, 8), alphas=(16,))
SAME = replace(SEARCH, subsets=((),), ranks=(8,), rate_factors=(1.0, 1.0))  # every trial is one run


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., StudySearcher]:
    """The searcher of a search in one folder, as a driver that starts there makes it."""

    def make(search: Search = SEARCH, ledger: bool = True, stopped: Callable[[], bool] = lambda: False) -> StudySearcher:
        units = ledger_units(search)
        done = [unit.id for unit in units] if ledger else []
        return StudySearcher(study(tmp_path, search), units, done, stopped, RecordingWatcher())

    return make


def study(folder: Path, search: Search = SEARCH) -> Study:
    return Study(search, folder / "trials", folder / "trials.json")


def record(folder: Path, run: Run, outcome: str = "done", right: int = 2) -> None:
    """Write the record of a run with `right` of four answers correct."""
    place = folder / "trials" / "runs" / run.signature
    place.mkdir(parents=True)
    if outcome == "done":
        same = {**dict.fromkeys(predictions_schema()), "evaluation_corpus": run.config.corpus.name, "instruction": run.config.task}
        golds = ["neutral", "anger", "fear", "sadness"]
        rows = [{**same, "gold": gold, "prediction": gold if n < right else None} for n, gold in enumerate(golds)]
        write_table(place / "predictions.parquet", pl.DataFrame(rows, schema=predictions_schema()))
    write_record(place, {"outcome": outcome, "reason": None if outcome == "done" else "why", "num_steps": 7})


def given(plan: StudySearcher, trial: str) -> Unit | str | None:
    suggestion = plan.suggest(trial)
    return suggestion["unit"] if isinstance(suggestion, dict) else suggestion


def states(folder: Path) -> list[TrialState]:
    return [trial.state for trial in study(folder).study.get_trials()]


def finish(plan: StudySearcher, folder: Path, outcome: str = "done", **changes: Any) -> Unit:
    """Takes the next run unit, and stages before it, to their end."""
    while True:
        unit = given(plan, "next")
        assert isinstance(unit, Unit)
        if isinstance(unit, RunUnit):
            record(folder, unit.run, outcome, **changes)
        end(plan, "next", outcome if isinstance(unit, RunUnit) else "done", reason="why")
        if isinstance(unit, RunUnit):
            return unit


def test_the_ledger_is_built_before_the_first_trial(start: Callable[..., StudySearcher]) -> None:
    plan = start(ledger=False)
    first = given(plan, "t1")
    assert isinstance(first, Unit)
    assert isinstance(first, LedgerUnit)
    assert given(plan, "t2") is None
    assert plan.study.num_asked == 0
    end(plan, "t1")
    assert isinstance(given(plan, "t2"), Unit)
    assert plan.study.num_asked == 1


def test_trials_are_drawn_one_by_one_and_reported_to_the_study(start: Callable[..., StudySearcher], tmp_path: Path) -> None:
    plan = start()
    for right in (1, 4, 2):
        finish(plan, tmp_path, right=right)
    assert given(plan, "last") == FINISHED
    rows = read_trials(tmp_path)
    assert [row.outcome for row in rows] == ["done"] * 3
    assert [row.development_f1 for row in rows] == pytest.approx([1 / 7, 4 / 7, 2 / 7]), "over all seven emotions"
    assert [row.num_steps for row in rows] == [7] * 3
    assert plan.failed == {}


def test_no_trial_is_drawn_before_it_can_start(start: Callable[..., StudySearcher]) -> None:
    """Its parameters are drawn when those of as many earlier trials as possible are known."""
    plan = start()
    first = given(plan, "t1")
    assert isinstance(first, Unit)
    plan.has_room = lambda running: False
    assert given(plan, "t2") is None
    assert plan.study.num_asked == 1


def test_two_at_once_are_two_trials(start: Callable[..., StudySearcher]) -> None:
    plan = start()
    first, second = (given(plan, name) for name in ("t1", "t2"))
    assert isinstance(first, Unit)
    assert isinstance(second, Unit)
    assert first.id != second.id
    assert plan.study.num_asked == 2


def test_a_kill_loses_nothing(start: Callable[..., StudySearcher], tmp_path: Path) -> None:
    plan = start()
    finish(plan, tmp_path)
    left = [given(plan, "t1"), given(plan, "t2")]
    before = plan.study.trials()
    again = start()  # the other driver is dead
    assert again.study.trials() == before, "params and history"
    assert [given(again, "t1"), given(again, "t2")] == left
    assert again.study.num_asked == 3
    assert states(tmp_path) == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.RUNNING]


def test_a_recorded_run_is_reported_to_the_study_at_the_next_start(start: Callable[..., StudySearcher], tmp_path: Path) -> None:
    plan = start(replace(SEARCH, num_trials=1, subsets=((),)))
    unit = given(plan, "t1")
    assert isinstance(unit, Unit)
    assert isinstance(unit, RunUnit)
    record(tmp_path, unit.run)
    again = start(replace(SEARCH, num_trials=1, subsets=((),)))
    assert again.study.trials()[0].outcome == "done"
    assert given(again, "t1") == FINISHED


def test_a_trial_that_was_partly_drawn_at_a_kill_is_completed(tmp_path: Path) -> None:
    first = study(tmp_path)
    trial = first.study.ask()
    rank = trial.suggest_categorical("rank", (4, 8))
    (asked,) = study(tmp_path).open
    assert asked.params["rank"] == rank
    assert set(asked.params) >= {"auxiliaries", "rank", "alpha", "learning_rate"}


def test_an_incomplete_last_line_of_the_journal_is_cut(tmp_path: Path) -> None:
    study(tmp_path).ask()
    journal = tmp_path / "trials" / "study.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "worker')
    (tmp_path / "trials" / "study.journal.lock").symlink_to(journal)
    again = study(tmp_path)
    assert journal.read_bytes().startswith(whole)
    assert again.num_asked == 1
    again.ask()
    assert study(tmp_path).num_asked == 2


def test_one_run_is_computed_once(start: Callable[..., StudySearcher], tmp_path: Path) -> None:
    plan = start(SAME)
    unit = given(plan, "t1")
    assert isinstance(unit, Unit)
    assert given(plan, "t2") is None, "the other two trials wait for it"
    assert isinstance(unit, RunUnit)
    record(tmp_path, unit.run)
    end(plan, "t1")
    assert given(plan, "t2") == FINISHED
    rows = read_trials(tmp_path)
    assert [(row.outcome, row.repeats) for row in rows] == [("done", None), ("done", 0), ("done", 0)]
    assert len({row.development_f1 for row in rows}) == 1
    more = start(replace(SAME, num_trials=4))
    assert given(more, "t1") == FINISHED
    assert more.study.trials()[3].repeats == 0


@pytest.mark.parametrize(
    ("outcome", "state"), [("pruned", TrialState.PRUNED), ("diverged", TrialState.FAIL), ("out_of_memory", TrialState.FAIL)]
)
def test_pruned_and_failed_trials_are_distinct(
    start: Callable[..., StudySearcher], tmp_path: Path, outcome: str, state: TrialState
) -> None:
    plan = start(replace(SEARCH, num_trials=1))
    finish(plan, tmp_path, outcome)
    assert states(tmp_path) == [state]
    (row,) = read_trials(tmp_path)
    assert (row.outcome, row.reason, row.development_f1) == (outcome, "why", None)
    assert plan.failed == {}, "no failure of the sweep"
    assert given(plan, "next") == FINISHED


def test_intermediate_scores_of_a_trial_are_in_the_study(start: Callable[..., StudySearcher], tmp_path: Path) -> None:
    search = replace(SEARCH, num_trials=1, subsets=((),))
    plan = start(search)
    unit = given(plan, "t1")
    assert isinstance(unit, Unit)
    assert isinstance(unit, RunUnit)
    judge(tmp_path / "trials", unit.run.config, unit.run.signature, 0.25, 0.3, 3)
    judge(tmp_path / "trials", unit.run.config, unit.run.signature, 0.5, 0.2, 3)
    record(tmp_path, unit.run, "pruned")
    end(plan, "t1", "pruned", reason="why")
    (trial,) = study(tmp_path, search).study.get_trials()
    assert (trial.intermediate_values, trial.value) == ({25: 0.3, 50: 0.2}, 0.2)


def test_a_first_stage_that_failed_ends_its_trial(start: Callable[..., StudySearcher], tmp_path: Path) -> None:
    plan = start(replace(SEARCH, num_trials=20, subsets=(("text",),)))
    for number in range(20):
        unit = given(plan, f"t{number}")
        assert isinstance(unit, Unit)
        if isinstance(unit, RunUnit):
            record(tmp_path, unit.run)
            end(plan, f"t{number}")
            continue
        assert unit.stage is not None
        place = tmp_path / "trials" / "stages" / unit.stage.key
        place.mkdir(parents=True)
        write_record(place, {"outcome": "diverged", "reason": "nan"})
        end(plan, f"t{number}", "diverged", reason="nan")
        break
    rows = plan.study.trials()
    assert (rows[-1].outcome, rows[-1].params["schedule"]) == ("diverged", "multi_stage")
    assert (plan.pending, plan.failed) == ([], {})


def test_a_trial_whose_processes_died_for_good_stays_open(start: Callable[..., StudySearcher]) -> None:
    plan = start(replace(SEARCH, num_trials=1, subsets=((),)))
    for attempt in range(3):
        assert isinstance(given(plan, f"t{attempt}"), Unit)
        plan.on_trial_complete(f"t{attempt}", error=True)
    assert given(plan, "last") == FINISHED
    assert list(plan.failed.values()) == ["lost_worker: its process died"]
    assert [row.outcome for row in plan.study.trials()] == [None]


def test_no_trial_is_drawn_after_a_stop(start: Callable[..., StudySearcher]) -> None:
    plan = start(stopped=lambda: True)
    assert given(plan, "t1") == FINISHED
    assert plan.study.num_asked == 0


def test_a_draw_depends_on_the_seed_and_the_trial_number_only(tmp_path: Path) -> None:
    first, second, other = (study(tmp_path / name, replace(SEARCH, seed=seed)) for name, seed in (("a", 0), ("b", 0), ("c", 5)))
    drawn = [[made.ask().params for _ in range(3)] for made in (first, second, other)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({json.dumps(params) for params in drawn[0]}) == 3


def test_the_same_history_draws_the_same_trials_and_learns_from_it(tmp_path: Path) -> None:
    """Rank 8 is right and rank 4 wrong; after ten random trials it shows."""
    drawn = []
    for name in ("a", "b"):
        made = study(tmp_path / name, replace(SEARCH, num_trials=24))
        for _ in range(24):
            asked = made.ask()
            record(tmp_path / name, asked.run, right=4 if asked.params["rank"] == 8 else 0)
            assert made.settle() == [asked]
        drawn.append([row.params for row in made.trials()])
    assert drawn[0] == drawn[1]
    ranks = [params["rank"] for params in drawn[0]]
    assert ranks[:10].count(8) < 8
    assert ranks[14:].count(8) >= 8
    assert all(("schedule" in params) == (params["auxiliaries"] == "text") for params in drawn[0])


def test_a_study_of_another_search_is_refused(tmp_path: Path) -> None:
    study(tmp_path).ask()
    with pytest.raises(ConfigError) as raised:
        study(tmp_path, replace(SEARCH, ranks=(2,), reduction=4, num_trials=50))
    assert str(raised.value) == (
        f"the study in {tmp_path / 'trials'} was started with another ranks, reduction; "
        "give another --results, or search in a file of another name"
    )


def test_the_journal_opens_by_its_name_alone(tmp_path: Path) -> None:
    study(tmp_path).ask()
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "trials" / "study.journal")))
    assert optuna.get_all_study_names(storage) == ["search"]
    assert optuna.load_study(study_name="search", storage=storage).direction.name == "MAXIMIZE"


def test_tune_can_pickle_it(start: Callable[..., StudySearcher]) -> None:
    plan = start()
    plan.watcher = RecordingWatcher(threading.Lock())
    assert pickle.loads(pickle.dumps(plan)).done == plan.done
