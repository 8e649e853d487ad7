"""One row per labelled clip, in order, with the generated answer and its parsed label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl
import pytest

from omnimer_ray.config import RunConfig
from omnimer_ray.corpora.clips import Clip, Corpus
from omnimer_ray.model.inputs import Encoded, Encoder
from omnimer_ray.model.thinker import Thinker
from omnimer_ray.records import predictions_schema
from omnimer_ray.training import evaluation
from omnimer_ray.training.evaluation import evaluate


@pytest.fixture
def clips(corpus: Corpus) -> list[Clip]:
    """Five validation clips; the third has no label."""
    five = list(corpus.split("validation")[:5])
    return [*five[:2], replace(five[2], sentiment=None, emotion=None), *five[3:]]


def test_rows_of_the_tiny_model(clips: list[Clip], tiny: Thinker, encoder: Encoder, recipe: RunConfig) -> None:
    progress: list[tuple[int, int]] = []
    rows = evaluate(tiny, encoder, clips, recipe, 3, lambda done, total: progress.append((done, total)))
    assert progress == [(3, 4), (4, 4)]
    assert [row["clip"] for row in rows] == [clip.id for clip in clips if clip.sentiment]
    assert [row["gold"] for row in rows] == [clip.sentiment for clip in clips if clip.sentiment]
    frame = pl.DataFrame(rows, schema=predictions_schema())
    assert frame.height == 4
    assert frame["evaluation_corpus"].unique().to_list() == ["mini"]
    assert evaluate(tiny, encoder, clips, recipe, 1, lambda done, total: None) == rows


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
    recipe: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits: list[int] = []

    def fake_generate(thinker: Thinker, encoder: Encoder, items: Sequence[Encoded], max_new_tokens: int) -> list[str]:
        limits.append(max_new_tokens)
        return [answer] * len(items)

    monkeypatch.setattr(evaluation, "generate", fake_generate)
    config = recipe.model_copy(update={"task": task, "hierarchy": hierarchy})
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
    }
    assert limits == [recipe.evaluation.max_new_tokens]
