"""A fusion run has one form and one signature; what cannot be is refused with the value and the way out."""

from __future__ import annotations

from typing import Any

import pytest
from making import BASE, tiny_config

from omnimer_ray.config import OptimizerConfig, changed, parse
from omnimer_ray.errors import ConfigError
from omnimer_ray.feature_config import CharNgrams, Feature, Prosody, Tower, tower_features
from omnimer_ray.fusion_config import FusionConfig, Linear, Misa, Mult, Tfn, on_features, resolve_fusion
from omnimer_ray.planning.plan import make_run

RECIPE = tiny_config()
TOWERS = tower_features(RECIPE.base, RECIPE.media)


def config(**changes: Any) -> FusionConfig:
    return changed(on_features(RECIPE, Tfn()), {name.replace("__", "."): value for name, value in changes.items()})


def parsed(**fields: Any) -> FusionConfig:
    return parse(FusionConfig, {**config().model_dump(), **fields}, "config")


OTHER_VALUE: dict[str, Any] = {
    "corpus.fingerprint": "decaf",
    "task": "emotion",
    "train_fraction": 0.5,
    "class_balance": "inverse_frequency",
    "seed": 1,
    "features": {**TOWERS, "text": Feature(encoder=CharNgrams(), view="text")},
    "network": Mult(),
    "network.dropout": 0.1,
    "epochs": 3.0,
    "global_batch": 8,
    "optimizer.learning_rate": 0.1,
    "max_steps": 5,
    "hide_rate": 0.2,
    "standardise": False,
    "refine_labels": True,
    "choose": "held_out",
}


@pytest.mark.parametrize("name", OTHER_VALUE)
def test_a_changed_setting_changes_the_stage_and_the_run(name: str) -> None:
    value = OTHER_VALUE[name]
    data = {name: value.model_dump() if hasattr(value, "model_dump") else value}
    if name in ("network", "features"):
        other = make_run(FusionConfig.model_validate({**config().model_dump(), name: value}))
    else:
        other = make_run(changed(config(), data))
    mine = make_run(config())
    assert other.stages[0].key != mine.stages[0].key
    assert other.signature != mine.signature


@pytest.mark.parametrize("name", ["observed.modalities", "observed.missing_rate"])
def test_what_is_observed_changes_the_run_and_not_its_stage(name: str) -> None:
    other = make_run(changed(config(), {name: ("text",) if name.endswith("modalities") else 0.3}))
    assert other.stages == (other.stages[0]._replace(config=other.config),)
    assert other.stages[0].key == make_run(config()).stages[0].key
    assert other.signature != make_run(config()).signature


def test_settings_without_an_effect_do_not_tell_runs_apart() -> None:
    linear = on_features(RECIPE, Linear())
    same = {"epochs": 7.0, "global_batch": 4, "max_steps": 9, "hide_rate": 0.5, "class_balance": "sampling", "optimizer.learning_rate": 0.5}
    assert make_run(changed(linear, same)).signature == make_run(linear).signature
    assert resolve_fusion(changed(linear, {"class_balance": "inverse_frequency"})).class_balance == "inverse_frequency"
    drawn = config(observed__draw=2, optimizer__carry_over=True, observed__modalities=("audio", "text", "video"))
    assert make_run(drawn).signature == make_run(config()).signature
    text = on_features(RECIPE, Linear(), {"text": TOWERS["text"]})
    assert make_run(changed(text, {"observed.modalities": ("audio", "text")})).signature == make_run(text).signature


def test_a_config_survives_json() -> None:
    for network in (Linear(), Tfn(), Misa()):
        made = on_features(RECIPE, network, hide_rate=0.1)
        assert parse(FusionConfig, made.model_dump(mode="json"), "config") == made


def test_the_batch_and_the_rate_are_those_of_the_network_unless_given() -> None:
    assert (on_features(RECIPE, Mult()).global_batch, on_features(RECIPE, Misa()).global_batch) == (16, 64)
    assert on_features(RECIPE, Mult()).optimizer.learning_rate == 2e-3
    given = on_features(RECIPE, Mult(), global_batch=4, optimizer=OptimizerConfig(learning_rate=0.5))
    assert (given.global_batch, given.optimizer.learning_rate) == (4, 0.5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: parsed(features={}), "features name no modality; give at least one"),
        (lambda: parsed(features={"text": TOWERS["text"].model_dump()}), "network 'tfn' needs features of every modality, and there are none of audio, video; use 'linear'"),
        (lambda: parsed(features={**config().model_dump()["features"], "text": TOWERS["audio"].model_dump()}), "features.text sees 'audio'; it must see 'text'"),
        (lambda: parse(Feature, {"encoder": Prosody().model_dump(), "view": "text"}, "feature"), "view 'text' does not go with 'prosody', which sees 'audio'"),
        (lambda: parse(Feature, {"encoder": Prosody().model_dump(), "view": "audio"}, "feature"), "view 'audio' needs media settings"),
        (
            lambda: parse(Feature, {"encoder": CharNgrams().model_dump(), "view": "text", "media": RECIPE.media.model_dump()}, "feature"),
            "view 'text' takes no media settings",
        ),
        (lambda: parse(Mult, {"width": 51}, "mult"), "width 51 is not a multiple of heads 10"),
        (
            lambda: changed(on_features(RECIPE, Linear(), {"text": TOWERS["text"]}), {"observed.modalities": ("audio",)}),
            "modalities ('text',) and observed.modalities ('audio',) leave nothing to see",
        ),
        (lambda: config(patience=3), "patience 3 needs a choice of the epoch; set choose to 'development' or 'held_out'"),
        (lambda: config(network__width=3), "unknown field 'network.width'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make: Any, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert text in str(caught.value)


def test_the_towers_of_two_bases_are_two_features() -> None:
    other = tower_features(BASE.model_copy(update={"revision": "f00d"}), RECIPE.media)
    keys = {feature.key for features in (TOWERS, other) for feature in features.values()}
    assert len(keys) == 6
    assert isinstance(TOWERS["text"].encoder, Tower)
