"""Drawn parameters become a run inside train; the best trials become variants on new seeds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from making import tiny_config

from omnimer_ray.config import changed
from omnimer_ray.errors import ConfigError
from omnimer_ray.planning.plan import make_plan
from omnimer_ray.planning.search_space import (
    Search,
    Trial,
    best,
    confirmation,
    delta,
    draw,
    identity,
    is_over,
    ledger_units,
    named,
    read_trials,
    trial_plan,
    trial_run,
    units_of,
)
from omnimer_ray.planning.units import LedgerUnit
from omnimer_ray.records import write_json

SEARCH = Search(tiny_config(), num_trials=3, num_confirmed=2)
NONE: dict[str, Any] = {"auxiliaries": "none", "rank": 8, "alpha": 16, "learning_rate": 2e-3}
HYBRID = {**NONE, "auxiliaries": "text+audio", "schedule": "hybrid", "auxiliary_weight": 0.5}
MULTI = {**NONE, "auxiliaries": "text+audio", "schedule": "multi_stage"}


class Chosen:
    """Returns fixed draws and records the requested parameters."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params, self.asked = params, dict[str, Any]()

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        assert self.params[name] in choices
        self.asked[name] = choices
        return self.params[name]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        assert low <= self.params[name] <= high
        assert log
        self.asked[name] = (low, high)
        return float(self.params[name])


@pytest.mark.parametrize("params", [NONE, HYBRID, MULTI], ids=["none", "hybrid", "multi_stage"])
def test_only_parameters_with_an_effect_are_drawn(params: dict[str, Any]) -> None:
    chosen = Chosen({**HYBRID, **params})  # it would have an answer to everything
    assert draw(SEARCH, chosen) == params
    assert set(chosen.asked) == set(params)
    assert chosen.asked["learning_rate"] == pytest.approx((5e-4, 15e-3))
    assert len(chosen.asked["auxiliaries"]) == 8


def test_a_trial_is_a_run_on_a_part_of_train() -> None:
    none, hybrid, multi = (trial_run(SEARCH, params).config for params in (NONE, HYBRID, MULTI))
    assert (none.auxiliaries, none.schedule, none.mixture, none.corpus.development) == ((), None, None, 4)
    assert (hybrid.auxiliaries, hybrid.schedule) == (("audio", "text"), "hybrid")
    assert hybrid.mixture == {"emotion": 1.0, "text_keywords": 0.5, "prosody": 0.5}
    assert (multi.schedule, multi.mixture) == ("multi_stage", None)
    assert {run.optimizer.learning_rate for run in (none, hybrid, multi)} == {2e-3}
    assert (none.lora.rank, none.lora.alpha, none.seed, none.task) == (8, 16, 0, "emotion")


def test_no_trial_can_fill_a_cell_of_a_table() -> None:
    plan = make_plan(confirmation(SEARCH, trials(0.1, 0.2, 0.3)))
    assert all(run.config.corpus.development is None for run in plan.runs.values())
    assert not {trial_run(SEARCH, params).signature for params in (NONE, HYBRID, MULTI)} & set(plan.runs)


def test_the_units_of_a_trial_have_the_needs_of_any_run() -> None:
    kinds = [unit.id.split("-")[0] for unit in units_of("trial 3", trial_run(SEARCH, MULTI))]
    assert kinds == ["ledger", "ledger", "stage", "run"]
    assert [unit.id.split("-")[0] for unit in units_of("trial 4", trial_run(SEARCH, NONE))] == ["run"]
    assert units_of("trial 4", trial_run(SEARCH, NONE))[0].title == "trial 4 / emotion, seed 0"


def test_the_ledger_is_made_of_all_training_clips_and_once() -> None:
    units = ledger_units(SEARCH)
    assert [unit.title for unit in units] == [f"supervision: {kind}" for kind in ("text_keywords", "facial_expression", "prosody")]
    assert all(unit.part.config.corpus.development is None for unit in units)
    trial = {unit.id for unit in units_of("", trial_run(SEARCH, MULTI)) if isinstance(unit, LedgerUnit)}
    assert trial < {unit.id for unit in units}
    assert ledger_units(replace(SEARCH, subsets=((),))) == ()


def test_a_plan_of_every_chain_for_checks() -> None:
    assert [[stage.kinds for stage in run.stages] for run in trial_plan(SEARCH).runs.values()] == [
        [("emotion",)],
        [("emotion", "text_keywords", "facial_expression", "prosody")],
        [("text_keywords", "facial_expression", "prosody"), ("emotion",)],
    ]
    assert len(trial_plan(replace(SEARCH, subsets=((),))).runs) == 1


def trials(*values: float | None, outcome: str | None = "done", repeats: int | None = None) -> list[Trial]:
    found = [NONE, HYBRID, MULTI, {**NONE, "rank": 4}]
    return [Trial(n, outcome, None, found[n % 4], value, 9, f"s{n}", repeats) for n, value in enumerate(values)]


def test_the_best_are_of_those_that_are_done_and_each_run_once() -> None:
    rows = [*trials(0.2, 0.4, 0.4), Trial(3, "done", None, HYBRID, 0.4, 9, "s1", 1), Trial(4, "pruned", "why", NONE, None, 4, "s4", None)]
    assert [trial.number for trial in best(SEARCH, rows)] == [1, 2, 0], "the last is the best without auxiliaries"
    assert [trial.number for trial in best(replace(SEARCH, num_confirmed=9), rows)] == [1, 2, 0]
    alone = [trial._replace(params=NONE) for trial in trials(0.5, 0.4, 0.3)]
    assert [trial.number for trial in best(SEARCH, [*alone, Trial(3, "done", None, HYBRID, 0.1, 9, "s3", None)])] == [0, 1, 3]
    assert [trial.number for trial in best(SEARCH, alone)] == [0, 1]


def test_nothing_is_chosen_before_every_trial_has_ended() -> None:
    open_ = Trial(2, None, None, NONE, None, None, "s2", None)
    assert not is_over(SEARCH, [*trials(0.1, 0.2), open_])
    assert list(confirmation(SEARCH, [*trials(0.1, 0.2), open_]).variants) == ["Base"]
    assert is_over(SEARCH, [*trials(0.1, 0.2), open_._replace(outcome="diverged")])


def test_the_best_are_variants_beside_base_on_fresh_seeds() -> None:
    plan = make_plan(confirmation(SEARCH, trials(0.1, 0.3, 0.2)))
    first = "best 1: text+audio / hybrid / rank 8 / alpha 16 / rate 0.002 / auxiliaries x 0.5"
    second = "best 2: text+audio / multi_stage / rank 8 / alpha 16 / rate 0.002"
    third = "best 3: none / rank 8 / alpha 16 / rate 0.002"
    assert [row.variant for row in plan.rows] == ["Base"] * 3 + [first] * 3 + [second] * 3 + [third] * 3
    assert {row.seed for row in plan.rows} == {1, 2, 3}
    assert {row.task for row in plan.rows} == {"emotion"}


def test_a_best_trial_equal_to_base_is_merged_and_reported() -> None:
    base = {**NONE, "learning_rate": SEARCH.baseline.optimizer.learning_rate}
    first, *others = trials(0.1, 0.0, 0.0)
    plan = make_plan(confirmation(SEARCH, [first._replace(params=base), *others]))
    assert plan.merged == (f"variant 'best 1: {named(base)}' is the same run as 'Base'",)


def test_seeds_of_the_command_are_fresh_ones() -> None:
    assert SEARCH.with_seeds((0, 1)).confirmation_seeds == (1, 2)
    assert replace(SEARCH, seed=7).with_seeds((0,)).confirmation_seeds == (8,)


def test_more_trials_are_the_same_study_and_another_range_is_not() -> None:
    assert identity(replace(SEARCH, num_trials=99, num_confirmed=1, confirmation_seeds=(9,))) == identity(SEARCH)
    assert identity(replace(SEARCH, ranks=(2,)))["ranks"] != identity(SEARCH)["ranks"]
    other = replace(SEARCH, baseline=changed(SEARCH.baseline, {"epochs": 2.0}))
    assert identity(other)["baseline"] != identity(SEARCH)["baseline"]


def test_the_variant_of_a_trial_has_the_configuration_that_was_run() -> None:
    for params in (NONE, HYBRID, MULTI):
        mine = changed(SEARCH.baseline, {**delta(SEARCH, params), "task": "emotion"})
        ran = trial_run(SEARCH, params).config
        same = {name for name, value in mine.model_dump().items() if value != ran.model_dump()[name]}
        assert same <= {"corpus", "supervision", "mixture", "schedule", "evaluation"}, (
            "what the canonical form drops, and what trials need not answer"
        )


def test_written_trials_are_read(tmp_path: Path) -> None:
    assert read_trials(tmp_path) == []
    rows = trials(0.1, 0.2)
    write_json(tmp_path / "trials.json", {"search": {}, "trials": [row._asdict() for row in rows]})
    assert read_trials(tmp_path) == rows


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_trials": 0, "reduction": 1}, "search: num_trials 0 must be 1 or more; reduction 1 must be 2 or more"),
        ({"ranks": (), "confirmation_seeds": ()}, "search: ranks must name at least one; confirmation_seeds must name at least one"),
        ({"subsets": (("smell",),)}, "search: subsets name ['smell']; known: text, video, audio"),
        ({"rate_factors": (3.0, 0.1)}, "search: rate_factors 3 to 0.1 must be a range above 0"),
        ({"rungs": (0.5, 0.25)}, "search: rungs (0.5, 0.25) must rise between 0 and 1"),
        ({"rungs": (0.5, 1.0)}, "search: rungs (0.5, 1.0) must rise between 0 and 1"),
        ({"confirmation_seeds": (0, 1)}, "search: confirmation_seeds (0, 1) contain 0, the seed of the trials; choose others"),
    ],
)
def test_a_search_must_fit(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        replace(SEARCH, **changes)
    assert str(raised.value) == text
