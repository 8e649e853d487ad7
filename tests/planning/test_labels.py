"""A task without labels is left out, an auxiliary without gold labels is refused; the labels of a clip may stand in for them."""

from dataclasses import replace

import pytest
from making import ALL, ablations, clip, tiny_config

from omnimer_ray.config import changed
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.corpora.select import splits_of
from omnimer_ray.errors import ConfigError
from omnimer_ray.planning.labels import check_golds, with_labels
from omnimer_ray.planning.plan import make_plan, make_run
from omnimer_ray.planning.search_space import Search
from omnimer_ray.planning.space import SearchSpace

CLIPS = (
    clip("a_1", sentiment="negative"),
    clip("b_1", split="validation"),
)
WHOLE = Corpus("spoken", CLIPS, "c0ffee")


def without(*fields: str) -> Corpus:
    return replace(WHOLE, clips=tuple(replace(one, **dict.fromkeys(fields)) for one in CLIPS))


def test_a_task_without_labels_is_left_out_with_a_line() -> None:
    space = ablations(tiny_config())
    assert with_labels(space, WHOLE) == (space, ())
    kept, lines = with_labels(space, without("emotion"))
    assert isinstance(kept, SearchSpace)
    assert (kept.tasks, lines) == (("sentiment",), ("emotion is left out: spoken has no emotion labels",))


def test_a_space_of_which_no_task_is_left_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^spoken has no sentiment and no emotion labels, and the search space has no other task; choose"
    ):
        with_labels(ablations(tiny_config()), without("sentiment", "emotion"))
    with pytest.raises(ConfigError, match=r"^spoken has no emotion labels"):
        with_labels(Search(tiny_config(), task="emotion"), without("emotion"))


def test_an_auxiliary_without_gold_labels_is_refused_unless_the_clips_own_label_is_used() -> None:
    bare = without("audio_sentiment")
    plan = make_plan(ablations(tiny_config()))
    check_golds(plan, WHOLE)
    with pytest.raises(
        ConfigError, match=r"^'Base \+ Audio Aux' is trained on prosody, and spoken has no audio_sentiment labels in train; --gold fused"
    ):
        check_golds(plan, bare)
    check_golds(make_plan(ablations(changed(tiny_config(), {"supervision.gold": "fused"}))), bare)


def test_the_clips_own_label_stands_in_for_training_clips_alone() -> None:
    config = tiny_config(auxiliaries=ALL, schedule="hybrid", supervision__gold="fused")
    train, scored = splits_of(config, without("text_sentiment", "audio_sentiment", "video_sentiment").clips)
    assert [train.modality_sentiment(name) for name in ALL] == ["negative"] * 3
    assert [scored.modality_sentiment(name) for name in ALL] == [None] * 3


def test_without_auxiliaries_the_labels_of_modalities_do_not_matter() -> None:
    signatures = [make_run(tiny_config(supervision__gold=gold)).signature for gold in ("modality", "fused")]
    assert signatures[0] == signatures[1]
    aided = [make_run(tiny_config(supervision__gold=gold, auxiliaries=ALL, schedule="hybrid")) for gold in ("modality", "fused")]
    assert not {part.key for part in aided[0].stages[0].parts} & {part.key for part in aided[1].stages[0].parts}
