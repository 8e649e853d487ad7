"""Which clips have an auxiliary item, and with which answer: exact items for every value of both settings."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from making import clip, tiny_config

from omnimer_ray.config import ThinkerConfig, resolve
from omnimer_ray.errors import ConfigError
from omnimer_ray.planning.auxiliary_items import auxiliary_items
from omnimer_ray.planning.plan import make_plan, make_run
from omnimer_ray.planning.units import LedgerUnit
from omnimer_ray.tasks.instructions import Style, prompts_hash
from search_spaces.supervision_kinds import space as supervision_kinds

LABELS = {"a": "neutral", "b": "neutral", "c": "positive", "d": "neutral", "e": "positive", "f": "negative", "g": "neutral", "h": "neutral"}
MADE = {"a": "agreed", "b": "constrained", "c": "agreed", "d": "agreed", "e": "constrained", "f": "rejected", "g": "agreed", "h": "agreed"}
CLIPS = [clip(name, audio_sentiment=label) for name, label in LABELS.items()]
ENTRIES = {name: {"made": made, "answer": None if made == "rejected" else f"answer of {name}"} for name, made in MADE.items()}
ACCEPTED = [name for name, made in MADE.items() if made != "rejected"]


def config(**changes: Any) -> ThinkerConfig:
    return tiny_config(auxiliaries={"audio"}, **changes)


def items(entries: Any = ENTRIES, **changes: Any) -> dict[str, str]:
    return {item.clip: item.answer for item in auxiliary_items("prosody", CLIPS, entries, config(**changes))}


def test_full_answers_of_accepted_clips_are_the_default() -> None:
    assert items() == {name: f"answer of {name}" for name in ACCEPTED}
    assert list(items()) == ACCEPTED


@pytest.mark.parametrize(("language", "word"), [("en", "neutral"), ("id", "netral")])
def test_label_answers_hold_the_gold_label_alone(language: str, word: str) -> None:
    found = items(auxiliary_answers="label", answer_language=language)
    assert list(found) == ACCEPTED
    assert found["a"] == f'{{"sentiment": "{word}"}}'


def test_labelled_clips_need_no_ledger_and_are_all_of_them() -> None:
    found = items({}, auxiliary_answers="label", auxiliary_clips="labelled")
    assert list(found) == list(LABELS)
    assert found["f"] == '{"sentiment": "negative"}'


def test_shuffled_answers_move_within_their_label() -> None:
    found = items(auxiliary_answers="shuffled")
    assert list(found) == ACCEPTED
    assert Counter(found.values()) == Counter(items().values())
    assert all(LABELS[answer[-1]] == LABELS[name] for name, answer in found.items())
    assert all(answer[-1] != name for name, answer in found.items())


def test_placebo_answers_move_over_all_clips() -> None:
    found = items(auxiliary_answers="placebo")
    assert list(found) == ACCEPTED
    assert Counter(found.values()) == Counter(items().values())
    assert all(answer[-1] != name for name, answer in found.items())
    assert any(LABELS[answer[-1]] != LABELS[name] for name, answer in found.items())


def test_a_single_answer_of_its_label_stays_where_it_is() -> None:
    alone = {**ENTRIES, "c": {"made": "rejected", "answer": None}}
    assert items(alone, auxiliary_answers="shuffled")["e"] == "answer of e"


@pytest.mark.parametrize("pool", ["agreed", "constrained", "mixed"])
def test_subsets_have_the_size_of_the_smaller_pool(pool: str) -> None:
    found = items(auxiliary_clips=pool)
    assert len(found) == 2
    assert {MADE[name] for name in found} <= {"agreed", "constrained"} if pool == "mixed" else {MADE[name] for name in found} == {pool}
    assert found == {name: f"answer of {name}" for name in found}


def test_subsets_and_permutations_follow_the_seed_and_not_the_order_of_clips() -> None:
    for changes in ({"auxiliary_clips": "mixed"}, {"auxiliary_answers": "placebo"}):
        assert len({tuple(sorted(items(seed=seed, **changes).items())) for seed in range(8)}) > 1
        backwards = auxiliary_items("prosody", CLIPS[::-1], ENTRIES, config(**changes))
        assert {item.clip: item.answer for item in backwards} == items(**changes)


def test_the_error_names_the_counts_of_an_empty_subset() -> None:
    none = {name: {**entry, "made": "agreed"} for name, entry in ENTRIES.items()}
    with pytest.raises(ConfigError, match=r"auxiliary_clips 'mixed': prosody has 8 agreed and 0 constrained answers.*use 'accepted'"):
        items(none, auxiliary_clips="mixed")


def test_labelled_clips_are_refused_with_answers_that_a_rejected_clip_lacks() -> None:
    with pytest.raises(ConfigError, match=r"'labelled' does not go with auxiliary_answers 'full'.*use auxiliary_answers 'label'"):
        config(auxiliary_clips="labelled")


def test_labelled_clips_have_no_ledger_in_the_plan_and_every_other_kind_has_the_same_one() -> None:
    def parts(**changes: Any) -> list[str]:
        return [part.key for stage in make_run(config(**changes)).stages for part in stage.parts]

    assert parts(auxiliary_answers="label", auxiliary_clips="labelled") == []
    assert all(parts(auxiliary_answers=answers) == parts() for answers in ("label", "shuffled", "placebo"))
    assert all(parts(auxiliary_clips=clips) == parts() for clips in ("agreed", "constrained", "mixed"))


def test_the_ledger_of_label_answers_is_built_from_the_full_prompt() -> None:
    part = make_run(config(auxiliary_answers="label")).stages[0].parts[0]
    assert Style.of(part.config) == Style.of(resolve(config()))
    assert prompts_hash(["prosody"], Style.of(config(auxiliary_answers="label"))) != prompts_hash(["prosody"], Style.of(config()))


def test_only_the_auxiliary_stage_depends_on_its_answers() -> None:
    def keys(**changes: Any) -> list[str]:
        run = make_run(config(schedule="multi_stage", **changes))
        return [*(stage.key for stage in run.stages), run.signature]

    assert not set(keys()) & set(keys(auxiliary_answers="placebo"))  # the last stage through its predecessor
    base = [make_run(tiny_config(auxiliary_answers=answers)).signature for answers in ("full", "placebo")]
    assert base[0] == base[1]  # without auxiliaries it has no effect


def test_a_plan_with_two_values_has_one_ledger() -> None:
    plan = make_plan(supervision_kinds(tiny_config()))
    assert sum(isinstance(unit, LedgerUnit) for unit in plan.units) == 3
    assert len(plan.runs) == 18


def test_a_note_on_an_unknown_row_names_the_near_one() -> None:
    space = replace(supervision_kinds(tiny_config()), notes={"Plasebo": "rules out nothing"})
    with pytest.raises(ConfigError, match=r"the search space has a note on 'Plasebo'; .*Placebo"):
        make_plan(space)
