"""Predictions -> scores, and the same per class. METRICS is the one list of scores: tables, figures, TensorBoard, model card and MLflow follow it.

Labels are a fixed list, in a fixed order, whatever the predictions hold. An unparsed answer (None) is wrong, and is counted
on its own. Macro F1 is the mean of the per-class F1 over *all* labels; a class that is neither there nor predicted has an F1 of 0.
Legend: L labels; ... any leading axes, such as resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST = 1e-9  # of a count, so that 0 / 0 is 0
UNPARSED = "unparsed"  # scikit-learn's label for None; never one of the labels


class Classes(NamedTuple):
    """Counts of every class, (..., L); 0 / 0 is 0."""

    right: NDArray[Any]
    predicted: NDArray[Any]
    support: NDArray[Any]  # clips of each gold label

    @property
    def precision(self) -> Any:
        """Per class, (..., L)."""
        return self.right / self.predicted.clip(LEAST)

    @property
    def recall(self) -> Any:
        """Per class, (..., L)."""
        return self.right / self.support.clip(LEAST)

    @property
    def f1(self) -> Any:
        """Per class, (..., L); 2 right / (predicted + support) equals 2PR / (P + R)."""
        return 2 * self.right / (self.predicted + self.support).clip(LEAST)


class Metric(NamedTuple):
    """One score of a task's predictions."""

    name: str  # of columns, tags and files
    heading: str  # to print
    formula: Callable[[Classes], Any]  # (..., L) counts -> (...) scores


METRICS = (
    Metric("accuracy", "accuracy", lambda classes: classes.right.sum(-1) / classes.support.sum(-1)),
    Metric("macro_f1", "macro F1", lambda classes: classes.f1.mean(-1)),
    Metric("weighted_f1", "weighted F1", lambda classes: (classes.f1 * classes.support).sum(-1) / classes.support.sum(-1)),
    Metric("uar", "UAR", lambda classes: classes.recall.sum(-1) / (classes.support > 0).sum(-1)),  # mean recall of the classes that occur
)
MAIN = "macro_f1"  # chooses among trials, and leads every figure


class Scores(NamedTuple):
    """Scores of one task's predictions; per-class values follow `labels`."""

    values: dict[str, float]  # by the names of METRICS
    unparsed: int  # clips whose answer was no label
    num_clips: int
    labels: tuple[str, ...]  # (L,)
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    support: tuple[int, ...]  # clips of each gold label

    @property
    def macro_f1(self) -> float:
        """The score that trials are chosen by."""
        return self.values[MAIN]


def scores(*, gold: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str]) -> Scores:
    """Scores of `predicted` (None: unparsed) against `gold`, clip by clip; every value but None is one of `labels`."""
    from sklearn.metrics import confusion_matrix

    assert len(gold) == len(predicted) > 0, f"{len(gold)} gold labels, {len(predicted)} predictions"
    assert set(gold) <= set(labels), f"gold labels outside {tuple(labels)}: {sorted(set(gold) - set(labels))}"
    assert set(predicted) - {None} <= set(labels), f"predictions outside {tuple(labels)}"
    answers = [UNPARSED if answer is None else answer for answer in predicted]
    matrix = confusion_matrix(list(gold), answers, labels=[*labels, UNPARSED])  # (L + 1, L + 1), gold x predicted
    classes = Classes(right=matrix.diagonal()[:-1], predicted=matrix.sum(0)[:-1], support=matrix.sum(1)[:-1])
    return scores_of(classes, labels, answers.count(UNPARSED))


def scores_of(classes: Classes, labels: Sequence[str], unparsed: int = 0) -> Scores:
    """Scores of (L,) counts, which need not be whole numbers."""
    return Scores(
        values={metric.name: float(metric.formula(classes)) for metric in METRICS},
        unparsed=unparsed,
        num_clips=round(float(classes.support.sum())),
        labels=tuple(labels),
        precision=tuple(classes.precision.tolist()),
        recall=tuple(classes.recall.tolist()),
        f1=tuple(classes.f1.tolist()),
        support=tuple(classes.support.tolist()),
    )


def majority_label(train_gold: Sequence[str], *, labels: Sequence[str]) -> str:
    """The most frequent training label; of equally frequent ones, the first in `labels`."""
    assert train_gold, "no training labels"
    counts = Counter(train_gold)
    return max(labels, key=lambda label: counts[label])
