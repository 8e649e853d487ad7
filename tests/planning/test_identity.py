"""Keys hold what determines a result and nothing else: settings, versions, and only the prompts and words that are used."""

from dataclasses import replace

import pytest
from making import ALL, OTHER_VALUE, tiny_config, whole_config

from omnimer_ray.config import ThinkerConfig, changed
from omnimer_ray.planning import identity
from omnimer_ray.planning.identity import ledger_key
from omnimer_ray.planning.plan import make_run
from omnimer_ray.tasks import instructions

NAMES = sorted(set(OTHER_VALUE) - {"training", "schedule", "auxiliaries", "steps"})  # the last is for runs of one stage
LEDGER = {"corpus.fingerprint", "base.revision", "base.precision", "answer_language"} | {
    name for name in OTHER_VALUE if name.startswith("supervision.")
}
TEXT_ONLY = "supervision.keywords_must_occur"
MEDIA = {name for name in OTHER_VALUE if name.startswith("media.")}
NEVER_IN_A_STAGE = {"base.name"} | {name for name in OTHER_VALUE if name.startswith(("evaluation.", "observed."))}
MAIN_ONLY = {"task", "hierarchy", "class_balance", "modalities", "paraphrase"}  # an auxiliary stage does not depend on the main task


def keys(config: ThinkerConfig) -> dict[str, str]:
    """Every key of a run with two stages, whatever it is called."""
    run = make_run(config)
    ledgers = {part.kind: part.key for stage in run.stages for part in stage.parts}
    return {**ledgers, "first": run.stages[0].key, "last": run.stages[-1].key, "run": run.signature}


def whole(**changes: object) -> ThinkerConfig:
    return whole_config(schedule="multi_stage", **changes)


def other(name: str) -> ThinkerConfig:
    value = {"emotion": 1.0, "text_keywords": 1.0, "facial_expression": 2.0, "prosody": 1.0} if name == "mixture" else OTHER_VALUE[name]
    return changed(whole(), {name: value})


def changes(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("name", NAMES)
def test_which_keys_a_setting_changes(name: str) -> None:
    expected = set() if name == "base.name" else {"run"}
    if name in LEDGER:
        expected |= {"text_keywords"} if name == TEXT_ONLY else {"text_keywords", "facial_expression", "prosody"}
    if name in MEDIA:
        expected |= {"facial_expression", "prosody"}
    if name not in NEVER_IN_A_STAGE:
        expected |= {"last"} if name in MAIN_ONLY else {"first", "last"}
    assert changes(keys(whole()), keys(other(name))) == expected


@pytest.mark.parametrize("name", ["training", "schedule", "auxiliaries"])
def test_a_change_of_a_stage_key_changes_the_signature(name: str) -> None:
    assert make_run(changed(whole_config(), {name: OTHER_VALUE[name]})).signature != make_run(whole_config()).signature


def test_a_stage_of_text_alone_does_not_depend_on_media() -> None:
    text = make_run(tiny_config(auxiliaries={"text"}, schedule="multi_stage"))
    short = make_run(tiny_config(auxiliaries={"text"}, schedule="multi_stage", media__max_sec=9))
    assert text.stages[0].key == short.stages[0].key
    assert text.stages[1].key != short.stages[1].key


EVERY = {"text_keywords", "facial_expression", "prosody", "first", "last", "run"}


@pytest.mark.parametrize(("version", "expected"), [("RECIPE_VERSION", EVERY), ("MEDIA_VERSION", EVERY - {"text_keywords"})])
def test_a_version_is_in_every_key_that_depends_on_it(monkeypatch: pytest.MonkeyPatch, version: str, expected: set[str]) -> None:
    before = keys(whole())
    monkeypatch.setattr(identity, version, 99)
    assert changes(before, keys(whole())) == expected


def test_a_new_prompt_and_a_new_language_change_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(whole())
    monkeypatch.setitem(instructions._PROMPTS, "gesture", instructions._PROMPTS["prosody"])
    monkeypatch.setitem(instructions.WORDS, "xx", dict.fromkeys(instructions.WORDS["en"], "word"))
    assert keys(whole()) == before


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("emotion", {"last", "run"}),
        ("emotion, no hierarchy", set()),
        ("sentiment", set()),
        ("prosody", {"prosody", "first", "last", "run"}),
        ("prosody, given", {"prosody", "first", "last", "run"}),  # through the answers that it makes
    ],
)
def test_a_changed_prompt_changes_the_keys_that_use_it(monkeypatch: pytest.MonkeyPatch, prompt: str, expected: set[str]) -> None:
    before = keys(whole())
    monkeypatch.setitem(instructions._PROMPTS, prompt, replace(instructions._PROMPTS[prompt], task="{sentiments} {emotions} {given}"))
    assert changes(before, keys(whole())) == expected


@pytest.mark.parametrize(("label", "expected"), [("fear", {"last", "run"}), ("neutral", EVERY)])
def test_a_label_word_changes_the_keys_that_use_it(monkeypatch: pytest.MonkeyPatch, label: str, expected: set[str]) -> None:
    before = keys(whole())
    monkeypatch.setitem(instructions.WORDS["en"], label, "another word")
    assert changes(before, keys(whole())) == expected


def test_label_words_of_an_unused_language_change_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(whole())
    monkeypatch.setitem(instructions.WORDS["id"], "neutral", "another word")
    assert keys(whole()) == before


def test_each_instruction_has_a_ledger_of_its_own() -> None:
    assert len({ledger_key(whole_config(), kind) for kind in ("text_keywords", "facial_expression", "prosody")}) == len(ALL)


def test_checks_without_an_effect_change_no_key() -> None:
    audio = tiny_config(auxiliaries={"audio"})
    for name, value in (("supervision.keywords_must_occur", True), ("supervision.temperature", 0.7)):
        assert make_run(changed(audio, {name: value})) == make_run(audio)


def test_steps_are_in_the_key_of_the_one_stage() -> None:
    base, matched = make_run(tiny_config()), make_run(tiny_config(steps=("text",)))
    keys = {make_run(tiny_config(steps=steps)).stages[0].key for steps in (40, 41, ("text",), ("text", "audio"))}
    assert len(keys | {base.stages[0].key}) == 5
    other = make_run(tiny_config(steps=("text",), supervision__max_new_tokens=65))
    assert other.stages[0].key != matched.stages[0].key, "other answers may be accepted in other numbers"


@pytest.mark.parametrize(("epochs", "expected"), [((5.0, 3.0), {"last", "run"}), ((3.0, 5.0), {"first", "last", "run"})])
def test_a_stage_depends_on_its_own_epochs_alone(epochs: tuple[float, ...], expected: set[str]) -> None:
    assert changes(keys(whole()), keys(changed(whole(), {"epochs": epochs}))) == expected


@pytest.mark.parametrize("name", ["optimizer.carry_over", "optimizer.one_cosine"])
def test_what_goes_on_between_stages_is_in_the_keys_of_both(name: str) -> None:
    assert changes(keys(whole()), keys(changed(whole(), {name: True}))) == {"first", "last", "run"}


def test_on_one_cosine_a_stage_depends_on_the_epochs_of_the_other() -> None:
    one = whole(optimizer__one_cosine=True)
    assert "first" in changes(keys(one), keys(changed(one, {"epochs": (5.0, 3.0)})))
    emotion, sentiment = (make_run(changed(one, {"task": task})).stages[0].key for task in ("emotion", "sentiment"))
    assert emotion != sentiment, "the main stage has other items"


def test_the_first_of_two_main_stages_is_that_of_a_run_with_its_epochs() -> None:
    twice = make_run(tiny_config(schedule="main_twice", epochs=(15.0, 5.0)))
    assert [stage.kinds for stage in twice.stages] == [("sentiment",)] * 2
    assert twice.stages[0].key == make_run(tiny_config(epochs=15.0)).stages[0].key
    assert twice.stages[1].key != make_run(tiny_config()).stages[0].key
