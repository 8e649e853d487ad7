"""Plans with fusion networks: their units, what these need, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from making import clip, tiny_config

from omnimer_ray.config import RunConfig
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import ConfigError
from omnimer_ray.feature_config import CharNgrams, Feature, Prosody, tower_features
from omnimer_ray.fusion_config import FusionConfig, LateFusionConfig, Linear, Tfn, late_fusion, on_features
from omnimer_ray.planning.description import summary, variant_lines
from omnimer_ray.planning.extents import extents_of
from omnimer_ray.planning.fusion_items import fusion_schedule, labelled
from omnimer_ray.planning.plan import Plan, make_plan
from omnimer_ray.planning.space import SearchSpace
from omnimer_ray.planning.units import FeatureUnit, RunUnit
from search_spaces.methods import space
from search_spaces.mmef_ladder import ladder

RECIPE = tiny_config()


def planned(folds: int | None = None, **variants: RunConfig) -> Plan:
    return make_plan(SearchSpace(RECIPE, {"Base": {}, **variants}, tasks=("emotion",), seeds=(0, 1)), folds)


def test_a_run_of_another_method_gets_its_task_seed_and_fold_from_the_space() -> None:
    plan = planned(2, TFN=on_features(RECIPE, Tfn()))
    rows = [row for row in plan.rows if row.variant == "TFN"]
    assert [(row.task, row.seed, row.fold) for row in rows] == [("emotion", seed, fold) for seed in (0, 1) for fold in (0, 1)]
    configs = [plan.runs[row.signature].config for row in rows]
    assert all(isinstance(config, FusionConfig) for config in configs)
    assert {(config.seed, config.corpus.fold) for config in configs} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_features_are_units_that_all_runs_share() -> None:
    plan = planned(
        2, TFN=on_features(RECIPE, Tfn()), Linear=on_features(RECIPE, Linear(), {"text": tower_features(RECIPE.base, RECIPE.media)["text"]})
    )
    features = [unit for unit in plan.units if isinstance(unit, FeatureUnit)]
    assert [unit.title.split(",")[0] for unit in features] == [
        "features: audio tower on audio",
        "features: language tower on text",
        "features: vision tower on frames",
    ]
    assert features == list(plan.units[: len(features)])
    needs = {unit.title: set(unit.needs) for unit in plan.units if isinstance(unit, RunUnit)}
    assert needs["TFN / emotion, seed 0, fold 0"] == {unit.id for unit in features}
    assert needs["Linear / emotion, seed 0, fold 0"] == {features[1].id}
    assert needs["Base / emotion, seed 0, fold 0"] == set()


def test_evaluations_of_one_network_share_its_training() -> None:
    tfn = on_features(RECIPE, Tfn())
    plan = planned(TFN=tfn, hidden=tfn.model_copy(update={"observed": tfn.observed.model_copy(update={"missing_rate": 0.5})}))
    units = {unit.title: unit for unit in plan.units if isinstance(unit, RunUnit)}
    assert units["hidden / emotion, seed 0"].trained_by == units["TFN / emotion, seed 0"].id


def test_late_fusion_waits_for_its_members_which_their_own_rows_share() -> None:
    towers = tower_features(RECIPE.base, RECIPE.media)
    members = {name: on_features(RECIPE, Linear(), {name: towers[name]}) for name in ("audio", "text")}  # type: ignore[index]
    plan = planned(text=members["text"], audio=members["audio"], both=late_fusion(**members))
    rows = [row for row in plan.rows if row.seed == 0 and row.variant != "Base"]
    assert len(rows) == 3
    assert len({stage.key for row in rows for stage in plan.runs[row.signature].stages}) == 2
    units = {unit.title: unit for unit in plan.units}
    member, both = units["network: linear on audio / emotion, seed 0"], units["both / emotion, seed 0"]
    assert isinstance(both, RunUnit)
    assert set(both.needs) == {member.id, units["text / emotion, seed 0"].id}
    assert both.trained_by == units["text / emotion, seed 0"].id
    assert units["audio / emotion, seed 0"].needs == (member.id,)
    config = plan.runs[both.run.signature].config
    assert isinstance(config, LateFusionConfig)
    assert {one.task for one in config.members.values()} == {"emotion"}
    assert any(
        "mean of text (linear on text: language tower) and audio (linear on audio: audio tower)" in line
        for line in variant_lines(make_plan(space(RECIPE)), Corpus("mini", (clip("a_0"),), "c0ffee"))
    )


def test_late_fusion_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="late fusion needs two members or more, and has 1"):
        late_fusion(one=on_features(RECIPE, Linear()))


def test_the_space_of_methods_is_planned_and_described() -> None:
    plan = make_plan(space(RECIPE))
    clips = [clip(f"v_{number}", "train" if number < 64 else "validation") for number in range(96)]
    lines = variant_lines(plan, Corpus("mini", tuple(clips), "c0ffee"))
    assert any(
        line.startswith("  TFN")
        and "6 x 40 steps, 1280 items  tfn on audio: audio tower, text: language tower, video: vision tower" in line
        for line in lines
    )
    assert any(line.startswith("  Linear, text") and "6 x fit  linear on text: language tower" in line for line in lines)
    assert summary(plan).endswith("3 parts of the supervision ledger, 3 features")
    extents = extents_of(plan, 64, 32)
    by_title = {unit.title: extents[unit.id] for unit in plan.units}
    assert (
        by_title["features: audio tower on audio, " + next(unit.title for unit in plan.units if "audio tower" in unit.title)[-6:]].answers
        == 96
    )
    assert (by_title["TFN / emotion, seed 0"].steps, by_title["Linear, all / emotion, seed 0"].steps) == (40, 0)
    assert ("TFN", "Base") in plan.contrasts
    assert ("Linear, all", "Base") in plan.contrasts


def test_items_are_labels_of_the_training_clips() -> None:
    config = on_features(RECIPE, Tfn(), global_batch=2, epochs=2.0)
    clips = [clip("a_0", sentiment="negative"), clip("a_1", sentiment=None), clip("b_0"), clip("c_0", "validation"), clip("d_0")]
    assert [one.id for one in labelled(config, clips)] == ["a_0", "b_0", "d_0"]
    schedule = fusion_schedule(config, clips)
    assert [(item.clip, item.answer, item.weight) for item in schedule.items["sentiment"]] == [
        ("a_0", "negative", 1.0),
        ("b_0", "neutral", 1.0),
        ("d_0", "neutral", 1.0),
    ]
    assert schedule.num_steps == 3
    balanced = fusion_schedule(config.model_copy(update={"class_balance": "inverse_frequency"}), clips)
    assert [item.weight for item in balanced.items["sentiment"]] == [1.5, 0.75, 0.75]
    drawn = fusion_schedule(config.model_copy(update={"class_balance": "sampling"}), clips)
    assert {item.clip for item in drawn.step(0)[0]} >= {"a_0"}


def test_a_method_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="variant 'odd': method 'odd' is not known; known: 'thinker', 'fusion', 'late_fusion'"):
        planned(odd=RunConfig(corpus=RECIPE.corpus, method="odd"))


def test_a_variant_that_is_neither_changes_nor_a_config_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="variant 'odd': a dict of changed fields, or a config of another method, is needed, not PosixPath"
    ):
        planned(odd=Path("odd"))  # type: ignore[arg-type]


def test_the_ladder_takes_other_features_than_the_towers() -> None:
    video = tower_features(RECIPE.base, RECIPE.media)["video"]
    words, pitch = Feature(encoder=CharNgrams(size=64), view="text"), Feature(encoder=Prosody(), view="audio", media=RECIPE.media)
    plan = make_plan(ladder(RECIPE, {"text": words, "audio": pitch, "video": video}))
    read = {row.variant: plan.runs[row.signature].config for row in plan.rows}
    assert all(isinstance(config, FusionConfig) and config.features["audio"] == pitch for config in read.values())
    last = read["+ descriptions"]
    assert isinstance(last, FusionConfig)
    assert last.features["text"].encoder.model_dump()["encoder"] == words.encoder.model_dump()
    assert len(plan.features) == 7
