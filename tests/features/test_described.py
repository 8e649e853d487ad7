"""Enriched text is the transcript with what the base wrote freely: no label enters it, and what cannot be read adds nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from making import clip, tiny_config

from omnimer_ray.config import Kind, ThinkerConfig
from omnimer_ray.corpora.clips import Clip, Corpus
from omnimer_ray.execution.feature_worker import FeatureWorker
from omnimer_ray.execution.handout import Job, write_manifest
from omnimer_ray.feature_config import CharNgrams, Described, Feature, Tower, encoder_name
from omnimer_ray.features.described import described, kept_answer
from omnimer_ray.features.kept import check_lines, kept_lines
from omnimer_ray.features.locating import resolved
from omnimer_ray.features.store import FeatureStore
from omnimer_ray.fusion_config import FusionConfig, Linear, on_features
from omnimer_ray.machine.profile import MachineProfile
from omnimer_ray.model.bases import locate
from omnimer_ray.planning.plan import make_run
from omnimer_ray.planning.units import FeatureUnit
from omnimer_ray.training.loop import init_single_process_group

RECIPE = tiny_config()
ANSWERS = {
    "text_keywords": '{"sentiment": "positive", "keywords": ["senang", "sekali"], "explanation": "the words are happy"}',
    "facial_expression": '{"sentiment": "negative", "explanation": "the brows are low"}',
    "prosody": "no object",
}


def enriched(recipe: ThinkerConfig, **settings: object) -> FusionConfig:
    about = Described(revision=recipe.base.revision, precision="fp32", encoder=CharNgrams(size=32), **settings)  # type: ignore[arg-type]
    made = resolved(on_features(recipe, Linear(), {"text": Feature(encoder=about, view="described_text", media=recipe.media)}), {})
    assert isinstance(made, FusionConfig)
    return made


def test_what_the_base_wrote_stands_under_the_transcript() -> None:
    asked: list[str] = []

    def ask(one: Clip, kind: Kind) -> str:
        asked.append(kind)
        return ANSWERS[kind]

    settings = enriched(RECIPE).features["text"].encoder
    assert isinstance(settings, Described)
    found = described(clip("a", text="ini kalimat"), settings, ask)
    assert found.text.splitlines() == ["ini kalimat", "label: positive", "keywords: senang, sekali", "face: the brows are low"]
    assert asked == ["text_keywords", "facial_expression", "prosody"]
    part = described(clip("a", text="ini kalimat"), settings.model_copy(update={"adds": ("keywords",)}), ask)
    assert part.text == "ini kalimat\nkeywords: senang, sekali"


def test_each_addition_has_a_key_of_its_own_and_names_itself() -> None:
    whole, part = enriched(RECIPE), enriched(RECIPE, adds=("keywords",))
    assert make_run(whole).signature != make_run(part).signature
    assert whole.features["text"].key != part.features["text"].key
    assert encoder_name(part.features["text"]) == "char_ngrams with keywords"
    assert isinstance(whole.features["text"].encoder, Described)
    assert whole.features["text"].encoder.prompts is not None
    pictures = Described(revision="beef", precision="fp32", encoder=Tower(tower="vision", revision="beef", precision="fp32"))
    with pytest.raises(ValueError, match="the vision tower reads no text, and so no described text; use 'language'"):
        Feature(encoder=pictures, view="described_text", media=RECIPE.media)


def test_shuffled_gold_labels_change_no_description(recipe: ThinkerConfig, corpus: Corpus, tmp_path: Path, shared_cache: Path) -> None:
    config = enriched(recipe)
    feature = config.features["text"]
    clips = corpus.clips[:2]
    other = [
        replace(one, **dict.fromkeys(("sentiment", "text_sentiment", "video_sentiment", "audio_sentiment"), "negative")) for one in clips
    ]
    found = []
    init_single_process_group()
    for place, some in enumerate((clips, other)):
        job = Job(
            tmp_path / str(place) / "r",
            tmp_path / str(place) / "ledgers",
            shared_cache,
            locate("tiny"),
            MachineProfile(docs="a test", micro_batch=8),
            "1",
        )
        write_manifest(job.work / "manifest.json", some)
        assert FeatureWorker(job, FeatureUnit(feature, config, ""), 0, 1, (), time.time()).execute() == {"outcome": "done"}
        store = FeatureStore(job.feature_store, feature, shared_cache)
        found.append([store.read(one) for one in some])
    assert all(np.array_equal(one, two) for one, two in zip(*found, strict=True))
    assert found[0][0].shape == (1, 32)
    lines = list(kept_lines(tmp_path / "0"))
    assert sum("in the base's words: 2 entries" in line for line in lines) == 3
    assert sum("char_ngrams with label, keywords, face, voice on described_text: 2 entries" in line for line in lines) == 1
    assert check_lines(tmp_path / "0")[1] == 0


def test_an_answer_is_asked_once(tmp_path: Path) -> None:
    settings, asked = enriched(RECIPE).features["text"].encoder, list[str]()
    assert isinstance(settings, Described)

    def ask(one: Clip, kind: Kind) -> str:
        asked.append(kind)
        return ANSWERS[kind]

    for _ in range(2):
        for kind in ("prosody", "text_keywords"):
            assert kept_answer(clip("a"), kind, settings, RECIPE.media, tmp_path / "c0ffee", ask) == ANSWERS[kind]  # type: ignore[arg-type]
    assert asked == ["prosody", "text_keywords"]
