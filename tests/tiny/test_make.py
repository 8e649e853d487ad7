"""The script that makes the tiny base: from a seed, on auxiliary instructions alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from omnimer_ray.config import AUXILIARY_OF, Kind, ThinkerConfig
from omnimer_ray.corpora.clips import EMOTIONS, SENTIMENT_OF
from omnimer_ray.corpora.generated import mini
from omnimer_ray.corpora.generated.plan import LANGUAGES
from omnimer_ray.model.bases import locate
from omnimer_ray.model.inputs import Encoder
from omnimer_ray.model.thinker import Thinker, load_thinker
from omnimer_ray.tasks.instructions import Style, modalities, parse
from omnimer_ray.tiny import make
from omnimer_ray.tiny.words import EXPLANATIONS

NUM_CLIPS = 16


@pytest.fixture(scope="module", params=["id", "zh"])
def small(request: pytest.FixtureRequest) -> mini.MiniRecipe:
    return mini.MiniRecipe.pretraining(make.SEED, NUM_CLIPS, request.param)


@pytest.mark.parametrize("kind", AUXILIARY_OF)
def test_items_are_auxiliary_answers_that_match_the_clip(kind: Kind, small: mini.MiniRecipe, shared_cache: Path) -> None:
    clips = {clip.id: clip for clip in mini.load(small, cache=shared_cache, workers=1).split("train")}
    cues = mini.cues_of(small)
    items = list(make._items(kind, clips, cues))
    assert [item.given is None for item in items] == [True, True, False] * (NUM_CLIPS // 2)  # every other clip is asked again
    assert {item.kind for item in items} == {kind}
    assert modalities(kind, Style("prompt", "en")) == (AUXILIARY_OF[kind].modality,)
    for item in items:
        cue = cues[item.clip][AUXILIARY_OF[kind].modality]
        parsed = parse(item.answer, kind, make.STYLE, given=item.given is not None)
        assert parsed is not None
        assert (parsed.sentiment or item.given) == SENTIMENT_OF[cue]
        assert parsed.explanation == EXPLANATIONS[kind][cue]
        assert all(word in clips[item.clip].text and word in LANGUAGES[small.language].cues[cue] for word in parsed.keywords)
        assert bool(parsed.keywords) == (kind == "text_keywords"), "every sentence has its cue phrase"


def test_the_words_of_each_emotion_are_unique() -> None:
    for words in EXPLANATIONS.values():
        assert set(words) == set(EMOTIONS)
        assert len(set(words.values())) == len(EMOTIONS)


def test_it_shares_no_speaker_with_mini(small: mini.MiniRecipe) -> None:
    theirs = mini.MiniRecipe()
    assert (small.seed, small.identities) != (theirs.seed, theirs.identities)
    assert not set(mini.VOICES[small.identities]) & set(mini.VOICES[theirs.identities])


def test_the_script_makes_the_same_base_again(
    shared_cache: Path,
    corpus: object,
    recipe: ThinkerConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(make, "NUM_CLIPS", {"id": NUM_CLIPS, "zh": NUM_CLIPS})
    monkeypatch.setattr(make, "PHASES", tuple((0.5, mixture) for _, mixture in make.PHASES))
    for name in ("one", "two"):
        make.main(tmp_path / name)
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert files[0].keys() == files[1].keys()
    assert [name for name in files[0] if files[0][name] != files[1][name]] == []
    assert f"parameters saved in {tmp_path / 'two'}" in capsys.readouterr().out
    shipped = locate("tiny").folder
    assert shipped is not None
    assert files[0].keys() == {path.name for path in shipped.iterdir()}
    made = load_thinker(locate(str(tmp_path / "one")), "fp32")
    sizes = [
        {name: value for name, value in json.loads((place / "config.json").read_text())["text_config"].items() if name != "vocab_size"}
        for place in (tmp_path / "one", shipped)
    ]
    assert sizes[0] == sizes[1]
    assert not torch.equal(
        made.model.lm_head.weight, make.build.thinker(made.processor.tokenizer, make.SEED).lm_head.weight
    )  # it was trained
    assert Encoder(made.processor, recipe, shared_cache).num_answer_tokens('{"sentiment": "neutral"}') < 15


def test_both_languages_have_merges_of_their_own(tiny: Thinker) -> None:
    """Without any a token is a byte, and a Chinese character three of them."""
    tokenizer = tiny.processor.tokenizer
    for recipe in (mini.MiniRecipe(), mini.MiniRecipe.chinese()):
        texts = [clip.text for clip in mini.plan(recipe)]
        tokens, num_bytes = sum(len(tokenizer.encode(text)) for text in texts), sum(len(text.encode()) for text in texts)
        assert tokens < num_bytes / 2, f"{recipe.language}: {tokens} tokens of {num_bytes} bytes"
