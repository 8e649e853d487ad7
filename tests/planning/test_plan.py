"""A search space becomes runs, stages and units of work; what is shared is planned once."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from making import ALL, ablations, tiny_config, whole_config

from omnimer_ray.errors import ConfigError
from omnimer_ray.planning.identity import ledger_key
from omnimer_ray.planning.plan import Plan, Row, make_plan, make_run
from omnimer_ray.planning.space import SearchSpace
from omnimer_ray.planning.units import LedgerUnit, RunUnit, Stage, StageUnit, Unit, record_folder, recorded_outcome, trained_stage
from omnimer_ray.records import write_record
from search_spaces.supervision_settings import space as supervision_settings

LEDGERS = {"text_keywords", "facial_expression", "prosody"}


@pytest.fixture
def plan() -> Plan:
    return make_plan(ablations(tiny_config()))


def unit_of(plan: Plan, variant: str, task: str = "sentiment") -> RunUnit:
    row = next(row for row in plan.rows if (row.variant, row.task) == (variant, task))
    return next(unit for unit in plan.units if isinstance(unit, RunUnit) and unit.run.signature == row.signature)


def needed(plan: Plan, unit: Unit) -> set[str]:
    """The titles of what a unit needs."""
    return {other.title for other in plan.units if other.id in unit.needs}


def space(variants: dict[str, Any], **changes: Any) -> SearchSpace:
    return replace(SearchSpace(tiny_config(), variants, tasks=("sentiment",)), **changes)


def test_ablations_are_twelve_runs_in_thirteen_stages(plan: Plan) -> None:
    trained = [run for run in plan.runs.values() if run.config.training]
    assert (len(trained), len(plan.runs), len(plan.stages), plan.num_shared()) == (12, 16, 13, 1)
    assert sum(isinstance(unit, LedgerUnit) for unit in plan.units) == 3
    assert len(plan.units) == 3 + 1 + 16
    assert plan.merged == ()


def test_rows_are_variants_by_tasks_in_their_order(plan: Plan) -> None:
    names = [
        "Zero-shot",
        "Zero-shot (forced choice)",
        "Base",
        "Base + Text Aux",
        "Base + Visual Aux",
        "Base + Audio Aux",
        "All Aux (Multi-stage)",
        "All Aux (Hybrid)",
    ]
    assert [row.variant for row in plan.rows if row.task == "emotion"] == names
    assert [row.variant for row in plan.rows if row.task == "sentiment"] == names
    assert {row.seed for row in plan.rows if row.variant in names[:2]} == {None}
    assert {row.seed for row in plan.rows if row.variant not in names[:2]} == {0}
    assert {row.signature for row in plan.rows} == set(plan.runs)


def test_a_unit_follows_all_units_that_it_needs(plan: Plan) -> None:
    seen: set[str] = set()
    for unit in plan.units:
        assert set(unit.needs) <= seen
        assert unit.id not in seen
        seen.add(unit.id)


def test_ledgers_are_first_and_shared_stages_second(plan: Plan) -> None:
    assert [type(unit) for unit in plan.units] == [LedgerUnit] * 3 + [StageUnit] + [RunUnit] * 16


def test_the_needs_of_each_row(plan: Plan) -> None:
    assert needed(plan, unit_of(plan, "Zero-shot")) == set()
    assert needed(plan, unit_of(plan, "Base")) == set()
    assert needed(plan, unit_of(plan, "Base + Visual Aux")) == {"supervision: facial_expression"}
    assert needed(plan, unit_of(plan, "All Aux (Hybrid)")) == {f"supervision: {kind}" for kind in LEDGERS}
    assert needed(plan, unit_of(plan, "All Aux (Multi-stage)")) == {"stage 1: text_keywords, facial_expression, prosody, seed 0"}


def test_the_first_stage_is_shared_by_both_tasks(plan: Plan) -> None:
    sentiment, emotion = (unit_of(plan, "All Aux (Multi-stage)", task) for task in ("sentiment", "emotion"))
    assert sentiment.run.stages[0].key == emotion.run.stages[0].key
    assert sentiment.run.stages[1].key != emotion.run.stages[1].key
    assert sentiment.needs == emotion.needs == (f"stage-{sentiment.run.stages[0].key}",)
    shared = next(unit for unit in plan.units if unit.id == sentiment.needs[0])
    assert needed(plan, shared) == {f"supervision: {kind}" for kind in LEDGERS}


def test_the_chain_of_a_run() -> None:
    def chain(**changes: Any) -> list[tuple[tuple[str, ...], int]]:
        return [(stage.kinds, stage.position) for stage in make_run(tiny_config(**changes)).stages]

    assert chain(training=False) == []
    assert chain() == [(("sentiment",), 0)]
    assert chain(auxiliaries=ALL) == [(("sentiment", "text_keywords", "facial_expression", "prosody"), 0)]
    assert chain(auxiliaries={"audio"}, schedule="multi_stage", task="emotion") == [(("prosody",), 0), (("emotion",), 1)]


def stages(**changes: Any) -> list[Stage]:
    return list(make_run(whole_config(schedule="multi_stage", **changes)).stages)


def test_supervision_is_no_part_of_a_stage_without_auxiliaries() -> None:
    assert stages()[1].predecessor == stages()[0].key
    one = make_run(tiny_config()).stages[0]
    assert one.key == make_run(tiny_config(supervision__max_new_tokens=99)).stages[0].key


def test_runs_that_end_in_one_stage_train_it_once() -> None:
    plan = make_plan(space({"Base": {}, "short answers": {"evaluation.max_new_tokens": 9}, "shorter": {"evaluation.max_new_tokens": 8}}))
    first, second, third = plan.units
    assert len(plan.stages) == 1
    assert first.needs == ()
    assert second.needs == third.needs == (first.id,)


def test_supervision_is_the_same_whatever_part_of_train_is_held_out() -> None:
    whole, part = (
        make_plan(space({"Text": {"auxiliaries": {"text"}}}, baseline=tiny_config(**extra))).units
        for extra in ({}, {"corpus__development": 4})
    )
    assert whole[0] == part[0]
    assert whole[1].id != part[1].id


def test_different_inputs_or_answers_of_the_base_have_different_ledgers() -> None:
    aux = {"auxiliaries": {"text"}}
    variants = {"En": aux, "Id": aux | {"answer_language": "id"}, "Rank 4": aux | {"lora.rank": 4}, "Long": aux | {"media.max_sec": 9}}
    plan = make_plan(space(variants, seeds=(0, 1)), folds=2)
    parts = [unit.part for unit in plan.units if isinstance(unit, LedgerUnit)]
    assert [(part.kind, part.config.answer_language, part.config.media.max_sec) for part in parts] == [
        ("text_keywords", "en", 8),
        ("text_keywords", "id", 8),
    ], "text is read without media"
    assert {unit.title for unit in plan.units if isinstance(unit, LedgerUnit)} == {
        f"supervision: text_keywords, ledger {part.key[:6]}" for part in parts
    }
    assert all(part.config.corpus.folds == 2 and part.config.corpus.fold is None for part in parts), "made for all folds together"
    for unit in plan.units:
        if isinstance(unit, RunUnit):
            assert unit.needs == (f"ledger-{ledger_key(unit.run.config, 'text_keywords')}-text_keywords",)


def test_a_stage_that_one_run_ends_with_and_another_continues_is_trained_once() -> None:
    """As Base beside a run that trains Base's stage and then another: two units must never train one stage."""
    base, twice = make_run(tiny_config()), make_run(tiny_config(auxiliaries={"text"}, schedule="multi_stage"))
    first = base.stages[0]
    longer = twice._replace(stages=(first, twice.stages[1]._replace(predecessor=first.key)))
    rows = tuple(Row(name, "sentiment", 0, None, run.signature) for name, run in (("Base", base), ("Longer", longer)))
    plan = Plan(space({"Base": {}, "Longer": {}}), rows, {run.signature: run for run in (base, longer)})
    (shared, one, other) = plan.units
    assert [trained_stage(unit) for unit in plan.units] == [first, None, longer.stages[1]]
    assert one.needs == other.needs == (shared.id,)


def test_seeds_and_folds_multiply_rows_and_zero_shot_has_no_seed() -> None:
    plan = make_plan(ablations(tiny_config()).with_seeds((0, 1)), folds=3)
    trained = [row for row in plan.rows if row.seed is not None]
    assert (len(trained), len(plan.rows) - len(trained)) == (6 * 2 * 2 * 3, 2 * 2 * 3)
    assert len(plan.runs) == len(plan.rows)
    assert len(plan.stages) == 13 * 2 * 3
    assert plan.num_shared() == 2 * 3
    assert {row.fold for row in plan.rows} == {0, 1, 2}
    titles = {unit.title for unit in plan.units}
    assert {"Base / emotion, seed 1, fold 2", "Zero-shot / emotion, fold 0", "supervision: prosody"} <= titles


def test_a_run_has_the_same_signature_whatever_the_space_calls_it() -> None:
    one = make_plan(space({"Base": {}}))
    other = make_plan(space({"Nothing": {"auxiliaries": (), "schedule": "multi_stage"}}))
    assert one.rows[0].signature == other.rows[0].signature


def test_two_variants_that_mean_one_run_are_an_error() -> None:
    equal = space({"Base": {}, "Base again": {"lora": {"rank": 8}}, "none / multi": {"schedule": "multi_stage"}})
    with pytest.raises(ConfigError) as raised:
        make_plan(equal)
    assert str(raised.value) == "variant 'Base again' is the same run as 'Base'; variant 'none / multi' is the same run as 'Base'"


def test_a_grid_merges_equal_variants_and_reports_it() -> None:
    plan = make_plan(space({"Base": {}, "none / multi": {"schedule": "multi_stage"}, "other": {"lora.rank": 4}}, grid=True))
    assert plan.merged == ("variant 'none / multi' is the same run as 'Base'",)
    assert [row.variant for row in plan.rows] == ["Base", "other"]


def test_all_faults_of_a_space_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        make_plan(space({"One": {"lora.rnak": 4}, "Two": {"epochs": -1}, "Three": {"auxiliaries": {"text"}, "schedule": None}}))
    assert str(raised.value) == (
        "variant 'One': unknown field 'lora.rnak'; did you mean 'lora.rank' or 'lora.alpha'? "
        "variant 'Two': config: epochs: Input should be greater than 0; "
        "variant 'Three': auxiliaries text need a schedule: 'hybrid' or 'multi_stage'"
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"variants": {}}, "the search space has no variants; it needs at least one of each: variants, tasks, seeds"),
        ({"tasks": ()}, "the search space has no tasks; it needs at least one of each: variants, tasks, seeds"),
        ({"seeds": ()}, "the search space has no seeds; it needs at least one of each: variants, tasks, seeds"),
        ({"tasks": ("sentimen",)}, "variant 'Base': config: task: Input should be 'sentiment' or 'emotion'"),
        ({"variants": {"Base": None}}, "variant 'Base': a dict of changed fields, or a config of another method, is needed, not NoneType"),
    ],
)
def test_a_space_must_be_whole(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        make_plan(replace(space({"Base": {}}), **changes))
    assert str(raised.value) == text


@pytest.mark.parametrize("name", ["corpus.limit", "corpus.fold", "base.revision"])
def test_a_variant_cannot_change_settings_of_the_command(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        make_plan(space({"Base": {}, "Less": {name: 100}}))
    assert str(raised.value) == f"variant 'Less': {name!r} is chosen on the command line, not in a search space"


@pytest.mark.parametrize("task", ["sentiment", "emotion"])
def test_a_variant_may_keep_to_one_task(task: str) -> None:
    plan = make_plan(space({"Base": {"task": task}}, tasks=("sentiment", "emotion")))
    assert [(row.variant, row.task) for row in plan.rows] == [("Base", task)]


def test_the_outcome_is_read_from_the_record(plan: Plan, tmp_path: Path) -> None:
    run = unit_of(plan, "Base")
    stage = next(unit for unit in plan.units if isinstance(unit, StageUnit))
    units: list[tuple[RunUnit | StageUnit, str]] = [(run, "runs"), (stage, "stages")]
    for unit, folder in units:
        assert recorded_outcome(unit, tmp_path) is None
        assert record_folder(unit, tmp_path).parent == tmp_path / folder
        record_folder(unit, tmp_path).mkdir(parents=True)
        assert recorded_outcome(unit, tmp_path) is None
        write_record(record_folder(unit, tmp_path), {"outcome": "diverged"})
        assert recorded_outcome(unit, tmp_path) == "diverged"


def test_a_plan_does_not_depend_on_the_process(plan: Plan) -> None:
    code = "from making import *; from omnimer_ray.planning.plan import make_plan; print(*make_plan(ablations(tiny_config())).runs)"
    paths = {"PYTHONPATH": f"{Path(__file__).parents[1]}:{Path(__file__).parents[2]}"}
    ended = subprocess.run([sys.executable, "-c", code], env={**os.environ, **paths, "PYTHONHASHSEED": "7"}, capture_output=True, text=True)
    assert ended.stdout.split() == list(plan.runs), ended.stderr


def test_supervision_settings_share_the_ledgers_that_they_do_not_change() -> None:
    plan = make_plan(supervision_settings(tiny_config()))
    kinds = Counter(unit.part.kind for unit in plan.units if isinstance(unit, LedgerUnit))
    assert kinds == {"text_keywords": 5, "facial_expression": 4, "prosody": 4}


def test_shards_are_units_that_every_stage_with_their_answers_waits_for() -> None:
    one, three = make_plan(ablations(tiny_config())), make_plan(ablations(tiny_config()), ledger_shards=3)
    ledgers = [unit for unit in three.units if isinstance(unit, LedgerUnit)]
    assert [unit.title for unit in ledgers[:3]] == [f"supervision: text_keywords, shard {shard} of 3" for shard in (1, 2, 3)]
    assert len({unit.id for unit in ledgers}) == 9
    assert {run.signature for run in one.runs.values()} == {run.signature for run in three.runs.values()}
    text = next(unit for unit in three.units if unit.title.startswith("Base + Text Aux / sentiment"))
    assert set(text.needs) == {unit.id for unit in ledgers if unit.part.kind == "text_keywords"}


def test_a_plan_of_supervision_has_no_other_units() -> None:
    plan = replace(make_plan(ablations(tiny_config())), only="supervision")
    assert [type(unit) for unit in plan.units] == [LedgerUnit] * 3


def test_the_first_seed_is_planned_before_the_second() -> None:
    plan = make_plan(replace(ablations(tiny_config()), seeds=(4, 1)))
    trained = [unit for unit in plan.units if not isinstance(unit, LedgerUnit) and unit.config.training]
    assert [unit.config.seed for unit in trained] == [4] * 13 + [1] * 13
    known: set[str] = set()
    for unit in plan.units:
        assert set(unit.needs) <= known
        known.add(unit.id)


def test_every_trained_row_is_compared_with_the_reference_unless_the_space_says_otherwise(plan: Plan) -> None:
    assert plan.reference == "Base"
    trained = [name for name in plan.space.variants if not name.startswith("Zero-shot")]
    assert plan.contrasts == tuple((name, "Base") for name in trained if name != "Base")
    variants = {"One": {}, "Two": {"lora.rank": 4}, "Three": {"lora.rank": 2}}
    assert make_plan(space(variants)).contrasts == (("Two", "One"), ("Three", "One"))
    assert make_plan(space(variants, reference="Two")).contrasts == (("One", "Two"), ("Three", "Two"))
    chosen = make_plan(space(variants, contrasts=(("Three", "Two"),)))
    assert (chosen.reference, chosen.contrasts) == ("One", (("Three", "Two"),))


def test_a_contrast_of_a_merged_row_is_left_out() -> None:
    variants = {"One": {}, "Two": {"lora.rank": 4}, "Again": {"lora.rank": 4}}
    assert make_plan(space(variants, grid=True, contrasts=(("Two", "One"), ("Again", "One")))).contrasts == (("Two", "One"),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contrasts": (("Two", "Bass"),)}, r"^the search space has a contrast of 'Bass'; did you mean 'Base'\?$"),
        ({"reference": "Bass"}, r"^the search space has the reference 'Bass'; did you mean 'Base'\?$"),
    ],
)
def test_contrasts_and_reference_are_rows(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_plan(space({"Base": {}, "Two": {"lora.rank": 4}}, **changes))
