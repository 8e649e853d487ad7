"""One config, one form, one signature; whatever changes what is computed changes the signature."""

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from making import BASE, CORPUS, OTHER_VALUE, paper_config, tiny_config, whole_config
from pydantic import BaseModel, ValidationError

from omnimer_ray.config import (
    AUXILIARIES,
    AUXILIARY_OF,
    MAIN_SCHEDULES,
    SCHEDULES,
    ThinkerConfig,
    changed,
    content_hash,
    flat,
    parse,
    resolve,
)
from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.errors import ConfigError
from omnimer_ray.machine.memory import BYTES
from omnimer_ray.model.dimensions import PLACEMENTS
from omnimer_ray.planning.plan import make_run
from omnimer_ray.tasks.instructions import WORDS, Style, modalities

ELSEWHERE = {"method", "lora.dropout", "corpus.development", "evaluation.auxiliaries", "optimizer.carry_over", "optimizer.one_cosine"}
"""Fields with one value, or without an effect on a whole config: it has folds, one stage, and hides something at evaluation."""
TRAINING_ONLY = [name for name in OTHER_VALUE if name.split(".")[0] in {"optimizer", "lora", "supervision"}] + [
    "train_fraction",
    "auxiliaries",
    "schedule",
    "epochs",
    "steps",
    "loss_average",
    "class_balance",
    "global_batch",
    "block",
    "seed",
]


def signature(config: ThinkerConfig) -> str:
    return make_run(config).signature


def test_every_field_has_a_place_in_this_file() -> None:
    assert set(flat(whole_config().model_dump())) == set(OTHER_VALUE) | ELSEWHERE


@pytest.mark.parametrize("name", OTHER_VALUE)
def test_a_changed_field_changes_the_signature(name: str) -> None:
    same = signature(changed(whole_config(), {name: OTHER_VALUE[name]})) == signature(whole_config())
    assert same == (name == "base.name"), "the revision says which base it is"


def literals(annotation: Any) -> tuple[str, ...]:
    """The values of the first Literal inside an annotation."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((values for part in get_args(annotation) if (values := literals(part))), ())


def closed_sets(model: type[BaseModel] = ThinkerConfig, prefix: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every field that takes values of a fixed list, with the list."""
    for name, field in model.model_fields.items():
        if isinstance(part := field.annotation, type) and issubclass(part, BaseModel):
            yield from closed_sets(part, f"{prefix}{name}.")
        elif values := literals(field.annotation):
            yield prefix + name, values


CLOSED = dict(closed_sets())


NEEDED: dict[str, dict[str, Any]] = {  # by settings or values that go with certain values of other settings only
    "labelled": {"auxiliary_answers": "label"},
    "main_twice": {"auxiliaries": ()},
    "steps": {"schedule": "hybrid"},
}


def with_value(name: str, value: str) -> ThinkerConfig:
    given: Any = (
        (value,)
        if name in {"auxiliaries", "modalities", "observed.modalities", "steps", "corpus.unfixed"}
        else dict.fromkeys(CLOSED[name], 1.0)
        if name == "mixture"
        else value
    )
    return changed(whole_config(), {**NEEDED.get(name, {}), **NEEDED.get(value, {}), name: given})


def test_the_closed_sets_are_known() -> None:
    assert set(CLOSED) == {
        "corpus.development",
        "corpus.reported",
        "corpus.unfixed",
        "supervision.gold",
        "base.precision",
        "method",
        "task",
        "modalities",
        "observed.modalities",
        "auxiliaries",
        "schedule",
        "steps",
        "mixture",
        "loss_average",
        "class_balance",
        "media.audio_source",
        "lora.placement",
        "hierarchy",
        "answer_language",
        "auxiliary_answers",
        "auxiliary_clips",
        "evaluation.scoring",
        "evaluation.decoding",
    }


@pytest.mark.parametrize("name", sorted(set(CLOSED) - {"mixture", "corpus.development"}))
def test_every_value_of_a_closed_set_is_another_run(name: str) -> None:
    signatures = [signature(with_value(name, value)) for value in CLOSED[name]]
    assert len(set(signatures)) == len(CLOSED[name])


@pytest.mark.parametrize("name", sorted(set(CLOSED) - {"mixture", "corpus.development"}))
def test_a_value_outside_a_closed_set_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^config: {name}"):
        with_value(name, "another")


def test_every_value_has_an_entry_in_its_table() -> None:
    assert (set(CLOSED["auxiliaries"]), set(CLOSED["schedule"])) == (set(AUXILIARIES), {*SCHEDULES, *MAIN_SCHEDULES})
    assert set(CLOSED["mixture"]) == {*CLOSED["task"], *AUXILIARY_OF}
    assert set(CLOSED["task"]) == set(LABELS)
    assert set(CLOSED["lora.placement"]) == set(PLACEMENTS)
    assert set(CLOSED["base.precision"]) == set(BYTES)
    assert set(CLOSED["answer_language"]) == set(WORDS)
    for kind in CLOSED["mixture"]:
        assert modalities(kind, Style("prompt", "en"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TRAINING_ONLY)
def test_training_settings_do_not_change_a_zero_shot_run(name: str) -> None:
    zero_shot = whole_config(training=False)
    assert signature(changed(zero_shot, {name: OTHER_VALUE[name]})) == signature(zero_shot)
    assert resolve(zero_shot) == resolve(changed(zero_shot, {name: OTHER_VALUE[name]}))


@pytest.mark.parametrize("name", ["base.precision", "media.max_sec", "evaluation.max_new_tokens", "hierarchy", "answer_language"])
def test_evaluation_settings_change_a_zero_shot_run(name: str) -> None:
    zero_shot = whole_config(training=False)
    assert signature(changed(zero_shot, {name: OTHER_VALUE[name]})) != signature(zero_shot)


def test_without_auxiliaries_there_is_no_schedule_mixture_or_supervision() -> None:
    base = tiny_config(schedule="multi_stage", mixture={"sentiment": 3.0}, supervision__max_new_tokens=99)
    resolved = resolve(base)
    assert (resolved.schedule, resolved.mixture, resolved.supervision.max_new_tokens) == (None, None, 128)
    assert signature(base) == signature(tiny_config()) == signature(tiny_config(schedule=None))


def test_a_run_on_a_development_part_is_another_run() -> None:
    signatures = {signature(tiny_config(**changes)) for changes in ({}, {"corpus__development": 4}, {"corpus__development": 5})}
    assert len(signatures) == 3


def test_sentiment_has_no_hierarchy() -> None:
    assert signature(tiny_config(task="sentiment", hierarchy="none")) == signature(tiny_config(task="sentiment", hierarchy="prompt"))
    assert signature(tiny_config(task="emotion", hierarchy="none")) != signature(tiny_config(task="emotion", hierarchy="prompt"))


MIXTURE = {"sentiment": 2.0, "text_keywords": 1.0, "prosody": 3.0}


def test_of_mixture_weights_only_the_ratios_matter() -> None:
    config = tiny_config(auxiliaries=("text", "audio"), mixture=MIXTURE)
    doubled = {kind: 2 * weight for kind, weight in MIXTURE.items()}
    assert signature(changed(config, {"mixture": doubled})) == signature(config)
    assert signature(changed(config, {"mixture": {**MIXTURE, "prosody": 2.0}})) != signature(config)
    assert resolve(config).mixture == {"prosody": 1.0, "sentiment": 2 / 3, "text_keywords": 1 / 3}


def test_a_stage_of_one_kind_has_no_mixture() -> None:
    config = tiny_config(auxiliaries=("text", "audio"), schedule="multi_stage", mixture=MIXTURE)
    assert signature(changed(config, {"mixture": {**MIXTURE, "sentiment": 9.0}})) == signature(config)
    assert signature(changed(config, {"mixture": {**MIXTURE, "prosody": 9.0}})) != signature(config)
    one = tiny_config(auxiliaries=("text",), schedule="multi_stage")
    assert signature(changed(one, {"mixture": {"sentiment": 1.0, "text_keywords": 2.0}})) == signature(one)


def test_resolving_twice_changes_nothing() -> None:
    for config in (
        whole_config(),
        whole_config(training=False),
        tiny_config(),
        tiny_config(auxiliaries=("text", "audio"), mixture=MIXTURE),
    ):
        assert resolve(resolve(config)) == resolve(config)


@pytest.mark.parametrize("value", [{"text", "video"}, ["video", "text"], ("text", "video", "text"), frozenset({"video", "text"})])
def test_auxiliaries_are_a_set(value: Any) -> None:
    assert tiny_config(auxiliaries=value).auxiliaries == ("text", "video")


def test_a_config_survives_json() -> None:
    config = resolve(whole_config())
    again = ThinkerConfig.model_validate(json.loads(json.dumps(config.model_dump(mode="json"))))
    assert again == config
    assert signature(again) == signature(config)


def test_equal_numbers_are_one_run() -> None:
    assert signature(tiny_config(epochs=5)) == signature(tiny_config(epochs=5.0))


@pytest.mark.parametrize(
    ("dotted", "nested"),
    [
        ({"lora.rank": 4}, {"lora": {"rank": 4}}),
        ({"lora.rank": 4, "optimizer.beta1": 0.8}, {"lora": {"rank": 4}, "optimizer": {"beta1": 0.8}}),
        ({"mixture": {"sentiment": 1.0}}, {"mixture": {"sentiment": 1.0}}),
    ],
)
def test_dotted_and_nested_changes_mean_the_same(dotted: dict[str, Any], nested: dict[str, Any]) -> None:
    assert changed(paper_config(), dotted) == changed(paper_config(), nested)


def test_a_nested_change_leaves_its_neighbours() -> None:
    assert changed(tiny_config(), {"optimizer": {"beta1": 0.8}}).optimizer.learning_rate == tiny_config().optimizer.learning_rate


def test_nothing_in_a_config_can_be_set_later() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        tiny_config().lora.rank = 4  # type: ignore[misc]


def test_an_unknown_field_names_the_near_one() -> None:
    with pytest.raises(ConfigError) as raised:
        changed(tiny_config(), {"lora.rnak": 4})
    assert str(raised.value) == "unknown field 'lora.rnak'; did you mean 'lora.rank' or 'lora.alpha'?"


def test_all_unknown_fields_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        changed(tiny_config(), {"lora": {"rnak": 4}, "epoch": 2, "seed.x": 1})
    assert str(raised.value).count("unknown field") == 3
    assert "unknown field 'epoch'; did you mean 'epochs'" in str(raised.value)
    assert "unknown field 'seed.x'; did you mean 'seed'" in str(raised.value)


def test_all_wrong_values_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        changed(tiny_config(), {"lora.rank": 0, "optimizer.learning_rate": float("nan"), "task": "emotions", "epochs": "many"})
    assert str(raised.value) == (
        "config: task: Input should be 'sentiment' or 'emotion'; epochs: Input should be a valid number, unable to parse string as a number; "
        "optimizer.learning_rate: Input should be a finite number; lora.rank: Input should be greater than or equal to 1"
    )


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        (
            {"corpus.folds": 3, "corpus.fold": 0, "corpus.development": 4},
            "development 4 does not go with folds 3; a run is evaluated on one of the two",
        ),
        ({"corpus.fold": 1}, "fold 1 does not fit folds None; it must be below the number of folds"),
        ({"corpus.folds": 3, "corpus.fold": 3}, "fold 3 does not fit folds 3; it must be below the number of folds"),
        ({"media.min_frames": 5}, "min_frames 5 and max_frames 16 must be even: the vision tower takes frames in pairs"),
        ({"media.min_frames": 18}, "min_frames and min_pixels must not exceed max_frames and max_pixels"),
        ({"media.min_pixels": 10**6}, "min_frames and min_pixels must not exceed max_frames and max_pixels"),
        ({"lora.dropout": 0.1}, "dropout 0.1 is refused: its randomness is not specified yet, so resumed runs would differ; use 0"),
        ({"global_batch": 12}, "global_batch 12 is not a multiple of block 8"),
        (
            {"mixture": {"sentiment": 1, "prosody": 1}},
            "mixture names ['prosody'], which the run does not train; its instruction types: ['sentiment']",
        ),
        ({"mixture": {"sentiment": 1}, "auxiliaries": {"text"}}, "mixture lacks ['text_keywords']; give every instruction type of the run"),
        ({"mixture": {"sentiment": 0}}, "mixture weights must be above 0; leave an auxiliary out instead"),
        ({"lora": 4}, "lora: Input should be a valid dictionary or instance of LoraConfig"),
        ({"auxiliaries": "text"}, "auxiliaries: Input should be a valid tuple"),
        ({"auxiliaries": {"text", 3}}, "auxiliaries.0: Input should be 'text', 'video' or 'audio'"),
        ({"auxiliaries": [["text"]]}, "auxiliaries.0: Input should be 'text', 'video' or 'audio'"),
        ({"corpus.limit": 4}, "corpus.limit: Input should be greater than or equal to 8"),
    ],
)
def test_the_error_names_a_wrong_value(delta: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        changed(tiny_config(), delta)
    assert text in str(raised.value)
    assert str(raised.value).startswith("config: ")


def test_auxiliaries_need_a_schedule() -> None:
    with pytest.raises(ConfigError, match=r"^auxiliaries audio, text need a schedule: 'hybrid' or 'multi_stage'$"):
        resolve(tiny_config(auxiliaries={"text", "audio"}, schedule=None))


def test_a_parsed_setting_is_reported() -> None:
    with pytest.raises(ConfigError, match=r"^plan x: as a whole: Input should be a valid dictionary or instance of ThinkerConfig$"):
        parse(ThinkerConfig, [1], "plan x")
    with pytest.raises(ConfigError, match=r"^plan x: corpus: Field required; base\.name: Input should be a valid string$"):
        parse(ThinkerConfig, {"base": {"name": 1, "revision": "x"}}, "plan x")


def test_the_error_for_an_unknown_field_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"^plan x: unknown field 'base\.revison'; did you mean 'base\.revision' or"):
        parse(ThinkerConfig, {"corpus": CORPUS, "base": {"name": "x", "revision": "x", "revison": "y"}}, "plan x")


def test_the_hash_does_not_depend_on_order_and_takes_no_nan() -> None:
    assert content_hash({"a": 1, "b": "é"}) == content_hash({"b": "é", "a": 1}) != content_hash({"a": 1, "b": "e"})
    assert len(content_hash(None)) == 16
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_hash(float("inf"))


def test_the_papers_recipe_is_the_default() -> None:
    assert paper_config() == ThinkerConfig(corpus=CORPUS, base=BASE)


def test_what_hides_nothing_has_one_form() -> None:
    whole = tiny_config()
    for changes in ({"observed__draw": 3}, {"observed__modalities": {"video", "text", "audio"}}):
        assert signature(tiny_config(**changes)) == signature(whole)
    text = tiny_config(modalities={"text"})
    assert signature(tiny_config(modalities={"text"}, observed__modalities={"text", "audio"})) == signature(text)
    two = tiny_config(modalities={"text", "audio"}, observed__modalities={"text", "video"})
    assert resolve(two).observed.modalities == ("text",)


def test_a_run_needs_something_to_see() -> None:
    text = r"modalities \('text',\) and observed.modalities \('audio', 'video'\) leave nothing to see; they need one in common"
    with pytest.raises(ConfigError, match=text):
        tiny_config(modalities={"text"}, observed__modalities={"audio", "video"})
    with pytest.raises(ConfigError, match=r"modalities \(\) and"):
        tiny_config(modalities=set())


def test_epochs_are_one_number_or_one_of_each_stage() -> None:
    assert signature(tiny_config(epochs=(5,))) == signature(tiny_config())
    two = whole_config(schedule="multi_stage", epochs=(5.0, 3.0))
    assert resolve(two).epochs == (5.0, 3.0)
    assert resolve(whole_config(schedule="multi_stage", epochs=(5.0, 5.0))) == resolve(whole_config(schedule="multi_stage"))
    with pytest.raises(
        ConfigError, match=r"epochs \(5\.0, 3\.0\) has 2 values, and the run has 1 stages; give one number, or one of each stage"
    ):
        resolve(tiny_config(epochs=(5, 3)))
    with pytest.raises(ConfigError, match=r"^config: epochs\.1: Input should be greater than 0$"):
        tiny_config(epochs=(5, 0))


def test_steps_are_for_runs_of_one_stage() -> None:
    assert resolve(tiny_config(steps=40)) == resolve(tiny_config(steps=40, epochs=9))
    assert resolve(tiny_config(steps=("text",), epochs=9)) != resolve(tiny_config(steps=("text",)))
    assert resolve(tiny_config(auxiliaries={"text", "audio"}, steps=["text", "audio"])).steps is None
    with pytest.raises(ConfigError, match="steps 40 is for a run of one stage, and this run has 2; give epochs instead"):
        resolve(whole_config(schedule="multi_stage", steps=40))
    with pytest.raises(ConfigError, match=r"^config: steps: Input should be greater than or equal to 1$"):
        tiny_config(steps=0)


def test_the_main_task_twice_is_a_run_without_auxiliaries() -> None:
    assert resolve(tiny_config(schedule="main_twice")).schedule == "main_twice"
    with pytest.raises(ConfigError, match=r"need a schedule: 'hybrid' or 'multi_stage', not 'main_twice'$"):
        resolve(whole_config(schedule="main_twice"))
    assert signature(tiny_config(training=False, schedule="main_twice")) == signature(tiny_config(training=False))


@pytest.mark.parametrize("name", ["optimizer.carry_over", "optimizer.one_cosine"])
def test_what_happens_between_stages_has_no_effect_on_one(name: str) -> None:
    assert signature(changed(whole_config(), {name: True})) == signature(whole_config())
    assert signature(changed(whole_config(schedule="multi_stage"), {name: True})) != signature(whole_config(schedule="multi_stage"))


def test_matched_steps_keep_the_settings_of_the_supervision_that_they_count() -> None:
    matched = resolve(tiny_config(steps=("text",), supervision__keywords_must_occur=True))
    assert (matched.supervision.max_new_tokens, matched.supervision.keywords_must_occur) == (64, True)
    assert [part.kind for part in make_run(matched).stages[0].parts] == ["text_keywords"]
    ledgers = {part.key for part in make_run(tiny_config(auxiliaries={"text"}, supervision__keywords_must_occur=True)).stages[0].parts}
    assert {part.key for part in make_run(matched).stages[0].parts} == ledgers


def test_auxiliary_instructions_are_answered_by_the_run_that_hides_nothing() -> None:
    assert signature(tiny_config(evaluation__auxiliaries=False)) != signature(tiny_config())
    assert make_run(tiny_config(evaluation__auxiliaries=False)).stages[0].key == make_run(tiny_config()).stages[0].key
    for changes in ({"observed__missing_rate": 0.5}, {"observed__modalities": {"text"}}, {"evaluation__decoding": "constrained"}):
        assert resolve(tiny_config(**changes)).evaluation.auxiliaries is False
