"""One row per labelled clip, in order, with the generated answer and its parsed label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import polars as pl
import pytest

from omnimer_ray.config import AUXILIARY_OF, Kind, ThinkerConfig, changed
from omnimer_ray.corpora.clips import SENTIMENT_OF, Clip, Corpus
from omnimer_ray.corpora.select import seen_modalities
from omnimer_ray.model.generation import generate
from omnimer_ray.model.inputs import Encoded, Encoder
from omnimer_ray.model.scoring import answer_tree
from omnimer_ray.model.thinker import Thinker
from omnimer_ray.records import predictions_schema
from omnimer_ray.tasks.instructions import Style, closed_answers, stated_sentiment
from omnimer_ray.tasks.supervision import build, freeze, missing, read_entries, shard_of
from omnimer_ray.training import evaluation
from omnimer_ray.training.evaluation import auxiliary_answerer, evaluate, evaluate_auxiliaries, label_probabilities


@pytest.fixture
def clips(corpus: Corpus) -> list[Clip]:
    """Five validation clips; the third has no label."""
    five = list(corpus.split("validation")[:5])
    return [*five[:2], replace(five[2], sentiment=None, emotion=None), *five[3:]]


def test_rows_of_the_tiny_model(clips: list[Clip], tiny: Thinker, encoder: Encoder, recipe: ThinkerConfig) -> None:
    progress: list[tuple[int, int]] = []
    rows = evaluate(tiny, encoder, clips, recipe, 3, lambda done, total: progress.append((done, total)))
    assert progress == [(3, 4), (4, 4)]
    assert [row["clip"] for row in rows] == [clip.id for clip in clips if clip.sentiment]
    assert [row["gold"] for row in rows] == [clip.sentiment for clip in clips if clip.sentiment]
    frame = pl.DataFrame(rows, schema=predictions_schema())
    assert frame.height == 4
    assert frame["evaluation_corpus"].unique().to_list() == ["mini"]
    alone = evaluate(tiny, encoder, clips, recipe, 1, lambda done, total: None)
    for one, row in zip(alone, rows, strict=True):
        assert one.pop("probabilities") == pytest.approx(row.pop("probabilities"), abs=1e-5)
        assert one.pop("closed_set_mass") == pytest.approx(row.pop("closed_set_mass"), rel=1e-4)
    assert alone == rows


@pytest.mark.parametrize(
    ("task", "hierarchy", "answer", "prediction", "sentiment"),
    [
        ("sentiment", "none", '{"sentiment": "positive"}', "positive", "positive"),
        ("emotion", "prompt", '{"sentiment": "positive", "emotion": "surprise"}', "surprise", "positive"),
        ("emotion", "prompt", '{"sentiment": "negative", "emotion": "surprise"}', "surprise", "negative"),
        ("emotion", "none", '{"emotion": "fear"}', "fear", None),
        ("emotion", "prompt", '{"emotion": "fear"}', None, None),
        ("sentiment", "none", "I would say positive", None, None),
        ("sentiment", "none", '{"sentiment": "positif"}', None, None),
        ("sentiment", "none", "", None, None),
    ],
)
def test_an_answer_is_parsed_into_a_row(
    task: str,
    hierarchy: str,
    answer: str,
    prediction: str | None,
    sentiment: str | None,
    clips: list[Clip],
    tiny: Thinker,
    encoder: Encoder,
    recipe: ThinkerConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits: list[int] = []

    def fake_generate(thinker: Thinker, encoder: Encoder, items: Sequence[Encoded], max_new_tokens: int) -> list[str]:
        limits.append(max_new_tokens)
        return [answer] * len(items)

    monkeypatch.setattr(evaluation, "generate", fake_generate)
    config = changed(recipe, {"task": task, "hierarchy": hierarchy, "evaluation.scoring": "generate"})
    row = evaluate(tiny, encoder, clips[:1], config, 8, lambda done, total: None)[0]
    assert row == {
        "evaluation_corpus": "mini",
        "clip": clips[0].id,
        "instruction": task,
        "gold": clips[0].label(task),
        "gold_distribution": None,
        "prediction": prediction,
        "predicted_sentiment": sentiment,
        "probabilities": None,
        "answer": answer,
        "closed_set_mass": None,
        "generated": True,
    }
    assert limits == [recipe.evaluation.max_new_tokens]


def test_exact_scoring_predicts_what_generation_does(clips: list[Clip], tiny: Thinker, encoder: Encoder, recipe: ThinkerConfig) -> None:
    settings = ("prediction", "predicted_sentiment", "answer", "gold", "clip")
    exact = evaluate(tiny, encoder, clips, recipe, 3, lambda done, total: None)
    generated = evaluate(tiny, encoder, clips, changed(recipe, {"evaluation.scoring": "generate"}), 3, lambda done, total: None)
    assert [[row[name] for name in settings] for row in exact] == [[row[name] for name in settings] for row in generated]
    for row in exact:
        assert sum(row["probabilities"]) == pytest.approx(1)
        assert 0 < row["closed_set_mass"] < 1
        assert row["generated"] == (row["answer"] not in closed_answers("sentiment", encoder.style))


def test_constrained_decoding_gives_every_clip_a_label_that_fits(
    clips: list[Clip], tiny: Thinker, encoder: Encoder, recipe: ThinkerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = changed(recipe, {"task": "emotion", "evaluation.decoding": "constrained"})
    monkeypatch.setattr(encoder, "style", Style.of(config))
    rows = evaluate(tiny, encoder, clips, config, 3, lambda done, total: None)
    assert [SENTIMENT_OF[row["prediction"]] for row in rows] == [row["predicted_sentiment"] for row in rows]
    assert [len(row["probabilities"]) for row in rows] == [7] * 4
    assert not any(row["generated"] for row in rows)


def test_an_answer_longer_than_the_limit_is_generated_and_cut(
    clips: list[Clip], tiny: Thinker, encoder: Encoder, recipe: ThinkerConfig
) -> None:
    tree = answer_tree(encoder, ['{"sentiment": "neutral"}'])
    length = tree.num_tokens('{"sentiment": "neutral"}')
    assert evaluation._within('{"sentiment": "neutral"}', tree, length) == '{"sentiment": "neutral"}'
    assert evaluation._within('{"sentiment": "neutral"}', tree, length - 1) is None
    assert evaluation._within(None, tree, 48) is None


def test_probabilities_of_labels_are_summed_over_polarities_and_normalised() -> None:
    closed = closed_answers("emotion", Style("prompt", "en"))
    values = [-math.inf if parsed.emotion not in ("fear", "anger") else math.log(0.1) for parsed in closed.values()]
    probabilities, mass = label_probabilities("emotion", closed, values)
    assert probabilities == pytest.approx([0, 0, 0, 0, 0.5, 0, 0.5])
    assert mass == pytest.approx(0.6)


def test_probabilities_of_a_set_with_almost_no_mass_are_still_normalised() -> None:
    closed = closed_answers("sentiment", Style("none", "en"))
    probabilities, mass = label_probabilities("sentiment", closed, [-1000.0, -1000.0, -1001.0])
    assert sum(probabilities) == pytest.approx(1)
    assert probabilities[0] == pytest.approx(1 / (2 + math.exp(-1)))
    assert mass == 0.0


@pytest.mark.parametrize("kind", ["text_keywords", "prosody"])
def test_a_ledger_does_not_depend_on_batches_shards_and_kills(
    kind: Kind, corpus: Corpus, tiny: Thinker, encoder: Encoder, recipe: ThinkerConfig, tmp_path: Path
) -> None:
    """With retries forced: an answer of ten tokens is no JSON, and samples at a high temperature differ."""
    changes = {"supervision.max_new_tokens": 10, "supervision.retries": 2, "supervision.temperature": 2.0}
    config = changed(recipe, {"auxiliaries": {"text", "audio"}, **changes})
    ask = auxiliary_answerer(tiny, encoder, kind, config.supervision)

    def built(name: str, batch: int, shards: int = 1, kills: Sequence[int] = ()) -> bytes:
        folder, calls = tmp_path / name, count(1)

        def dies_now_and_then(clips: Sequence[Clip], given: Sequence[str | None], attempt: int) -> list[str]:
            if next(calls) in kills:
                raise KeyboardInterrupt
            return ask(clips, given, attempt)

        while left := missing(folder, kind, corpus.clips):
            shard = shard_of(left[0].id, shards)
            todo = [clip for clip in left if shard_of(clip.id, shards) == shard]
            with suppress(KeyboardInterrupt):
                build(dies_now_and_then, todo, kind, config, batch, folder / f"{kind}.{shard}.0.jsonl", lambda done, total: None)
        freeze(folder, kind)
        return (folder / f"{kind}.json").read_bytes()

    expected = built("alone", 1)
    entries = read_entries(tmp_path / "alone", kind).values()
    assert min(entry["attempts"] for entry in entries) > 2
    assert len({entry["free_answer"] for entry in entries}) > 8
    assert built("seven", 7) == built("sixteen, three shards", 16, shards=3) == built("kills", 3, shards=3, kills=(4, 12, 21)) == expected


def test_clips_are_answered_from_the_modalities_that_are_there(
    corpus: Corpus, tiny: Thinker, encoder: Encoder, recipe: ThinkerConfig
) -> None:
    """A batch holds items with the same modalities, and the rows keep the order of the clips."""
    clips, config = corpus.split("validation"), changed(recipe, {"observed.missing_rate": 0.5})
    seen = {clip.id: seen_modalities(clip, config.modalities, config.observed) for clip in clips}
    assert len(set(seen.values())) > 2
    rows = evaluate(tiny, encoder, clips, config, 4, lambda done, total: None)
    assert [row["clip"] for row in rows] == [clip.id for clip in clips]
    for clip, row in zip(clips, rows, strict=True):
        alone = evaluate(tiny, encoder, [clip], changed(recipe, {"observed.modalities": seen[clip.id]}), 1, lambda done, total: None)[0]
        assert alone["answer"] == row["answer"]
        assert alone["probabilities"] == pytest.approx(row["probabilities"], abs=1e-5)
        item = encoder.encode(clip, "sentiment", seen=seen[clip.id])
        assert (item.pixels is not None, item.mel is not None) == ("video" in seen[clip.id], "audio" in seen[clip.id])


def test_auxiliary_instructions_are_answered_from_their_own_modality(
    corpus: Corpus, tiny: Thinker, encoder: Encoder, recipe: ThinkerConfig
) -> None:
    """Faces and prosody stop after the label, which is that of the whole answer."""
    clips = [replace(corpus.clips[0], audio_sentiment=None), *corpus.clips[1:4]]
    rows = evaluate_auxiliaries(tiny, encoder, clips, recipe, 3, lambda done, total: None)
    assert dict(pl.DataFrame(rows, schema=predictions_schema()).schema) == predictions_schema()
    asked = [(row["instruction"], row["clip"]) for row in rows]
    assert asked == [(kind, clip.id) for kind, one in AUXILIARY_OF.items() for clip in clips if clip.modality_sentiment(one.modality)]
    assert len(rows) == 11
    by_clip = {clip.id: clip for clip in clips}
    for row in rows:
        clip, kind = by_clip[row["clip"]], row["instruction"]
        whole = generate(tiny, encoder, [encoder.encode(clip, kind)], 128)[0]
        assert whole.startswith(row["answer"].removesuffix("\ufffd"))
        assert row["prediction"] == stated_sentiment(whole, Style.of(recipe))
        assert row["gold"] == clip.modality_sentiment(AUXILIARY_OF[kind].modality)
        assert kind == "text_keywords" or len(row["answer"]) < len(whole)
    assert sum(row["prediction"] is not None for row in rows) > 6
