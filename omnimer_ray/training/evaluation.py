"""Answers of a model: one greedy main answer per clip with the probability of every label, and auxiliary answers for supervision."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, assert_never

from omnimer_ray.config import AUXILIARIES, AUXILIARY_OF, EvaluationConfig, Kind, SupervisionConfig, Task, ThinkerConfig
from omnimer_ray.corpora.clips import LABELS, SENTIMENTS, Clip
from omnimer_ray.corpora.select import seen_modalities
from omnimer_ray.model.generation import Noise, generate, in_batches
from omnimer_ray.model.inputs import Encoded, Encoder
from omnimer_ray.model.scoring import AnswerTree, answer_tree, score
from omnimer_ray.model.thinker import Thinker
from omnimer_ray.records import prediction_row
from omnimer_ray.tasks.instructions import Parsed, Style, closed_answers, label_answer, parse, stated_sentiment
from omnimer_ray.tasks.supervision import Ask, seed_of

KEYWORD_TOKENS = SupervisionConfig().max_new_tokens  # for every run, whatever its supervision


class Answer(NamedTuple):
    """A clip's answer; probabilities (label order) and mass are None without exact scoring."""

    text: str
    probabilities: list[float] | None
    closed_set_mass: float | None
    generated: bool


def evaluate(
    thinker: Thinker, encoder: Encoder, clips: Sequence[Clip], config: ThinkerConfig, batch: int, report: Callable[[int, int], None]
) -> list[dict[str, Any]]:
    """Rows of predictions.parquet for the clips that have the task's label, in the order of `clips`."""
    style = Style.of(config)
    answer = answerer(thinker, encoder, config.task, config.evaluation, config.corpus.unfixed)
    labelled = [clip for clip in clips if clip.label(config.task) is not None]
    seen = {clip.id: seen_modalities(clip, config.modalities, config.observed) for clip in labelled}
    rows: dict[str, dict[str, Any]] = {}
    for shown in dict.fromkeys(seen.values()):  # a batch holds items with the same modalities
        for part in in_batches([clip for clip in labelled if seen[clip.id] == shown], batch):
            answers = answer([encoder.encode(clip, config.task, seen=shown) for clip in part])
            rows |= {clip.id: _row(clip, one, config, style) for clip, one in zip(part, answers, strict=True)}
            report(len(rows), len(labelled))
    return [rows[clip.id] for clip in labelled]


def evaluate_auxiliaries(
    thinker: Thinker, encoder: Encoder, clips: Sequence[Clip], config: ThinkerConfig, batch: int, report: Callable[[int, int], None]
) -> list[dict[str, Any]]:
    """Rows of predictions.parquet for the auxiliary instructions: each is answered from its own modality, greedily.

    Faces and prosody state their label first, and decoding stops there; keywords come before their label.
    """
    style, rows = Style.of(config), list[dict[str, Any]]()
    label_tokens = max(encoder.num_answer_tokens(label_answer(label, style)) for label in SENTIMENTS)
    asked = {kind: [clip for clip in clips if clip.modality_sentiment(one.modality)] for kind, one in AUXILIARY_OF.items()}
    for kind, labelled in asked.items():
        tokens = KEYWORD_TOKENS if kind == AUXILIARIES["text"].kind else label_tokens
        for part in in_batches(labelled, batch):
            texts = generate(thinker, encoder, [encoder.encode(clip, kind) for clip in part], tokens)
            rows += [_auxiliary_row(clip, kind, text, config, style) for clip, text in zip(part, texts, strict=True)]
            report(len(rows), sum(map(len, asked.values())))
    return rows


def answerer(
    thinker: Thinker, encoder: Encoder, task: Task, settings: EvaluationConfig, unfixed: Collection[str] = ()
) -> Callable[[Sequence[Encoded]], list[Answer]]:
    """Return the function that answers a batch of items of a main task as the settings ask."""

    def free(items: Sequence[Encoded]) -> list[Answer]:
        return [Answer(text, None, None, True) for text in generate(thinker, encoder, items, settings.max_new_tokens)]

    match settings.scoring:
        case "generate":
            return free
        case "exact":
            constrained = settings.decoding == "constrained"
            closed = closed_answers(task, encoder.style, constrained, unfixed)
            tree = answer_tree(encoder, list(closed))
        case unknown:
            assert_never(unknown)

    def exact(items: Sequence[Encoded]) -> list[Answer]:
        scored = score(thinker, encoder, items, tree, constrained)
        texts = [_within(one.answer, tree, None if constrained else settings.max_new_tokens) for one in scored]
        left = [item for item, text in zip(items, texts, strict=True) if text is None]
        generated = iter(generate(thinker, encoder, left, settings.max_new_tokens) if left else ())
        return [
            Answer(next(generated) if text is None else text, *label_probabilities(task, closed, one.log_probabilities), text is None)
            for text, one in zip(texts, scored, strict=True)
        ]

    return exact


def auxiliary_answerer(thinker: Thinker, encoder: Encoder, kind: Kind, settings: SupervisionConfig) -> Ask:
    """Return the function that writes answers of an auxiliary: attempt 0 is greedy, later ones are samples."""

    def answer(clips: Sequence[Clip], given: Sequence[str | None], attempt: int) -> list[str]:
        asked = list(zip(clips, given, strict=True))
        items = [encoder.encode(clip, kind, given=label) for clip, label in asked]
        noise = Noise([seed_of(clip, kind, label, attempt) for clip, label in asked], settings.temperature) if attempt else None
        return generate(thinker, encoder, items, settings.max_new_tokens, noise)

    return answer


def label_probabilities(task: Task, closed: Mapping[str, Parsed], log_probabilities: Sequence[float]) -> tuple[list[float], float]:
    """Return the probability of each label, in label order, and of the closed set: sums over polarities, normalised over the closed set."""
    largest = max(log_probabilities)
    weights = dict.fromkeys(LABELS[task], 0.0)
    for parsed, value in zip(closed.values(), log_probabilities, strict=True):
        weights[str(parsed.label(task))] += math.exp(value - largest)
    total = sum(weights.values())
    return [weight / total for weight in weights.values()], math.exp(largest) * total


def _within(text: str | None, tree: AnswerTree, limit: int | None) -> str | None:
    """Return the answer unless free generation would cut it: it ends at `limit` tokens."""
    return None if text is None or (limit is not None and tree.num_tokens(text) > limit) else text


def _auxiliary_row(clip: Clip, kind: Kind, text: str, config: ThinkerConfig, style: Style) -> dict[str, Any]:
    stated = stated_sentiment(text, style)
    return prediction_row(
        evaluation_corpus=config.corpus.name,
        clip=clip.id,
        instruction=kind,
        gold=clip.modality_sentiment(AUXILIARY_OF[kind].modality),
        prediction=stated,
        predicted_sentiment=stated,
        answer=text,
        generated=True,
    )


def _row(clip: Clip, answer: Answer, config: ThinkerConfig, style: Style) -> dict[str, Any]:
    parsed = parse(answer.text, config.task, style)
    return prediction_row(
        evaluation_corpus=config.corpus.name,
        clip=clip.id,
        instruction=config.task,
        gold=clip.label(config.task),
        prediction=parsed.label(config.task) if parsed else None,
        predicted_sentiment=parsed.sentiment if parsed else None,
        probabilities=answer.probabilities,
        answer=answer.text,
        closed_set_mass=answer.closed_set_mass,
        generated=answer.generated,
    )
