"""Predictions -> accuracy, macro F1, weighted F1, and the same per class.

Labels are a fixed list, in a fixed order, whatever the predictions hold. An unparsed answer (None) is wrong, and is counted
on its own. Macro F1 is the mean of the per-class F1 over *all* labels; a class that is neither there nor predicted has an F1 of 0.
Legend: L labels.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

UNPARSED = "unparsed"  # stands for None where scikit-learn wants a string; never one of the labels


class Scores(NamedTuple):
    """What one task's predictions are worth; per-class values follow `labels`."""

    accuracy: float
    macro_f1: float
    weighted_f1: float
    unparsed: int  # clips whose answer was no label
    num_clips: int
    labels: tuple[str, ...]  # (L,)
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    support: tuple[int, ...]  # clips of each gold label


def scores(*, gold: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str]) -> Scores:
    """Scores of `predicted` (None: unparsed) against `gold`, clip by clip; every value but None is one of `labels`."""
    from sklearn.metrics import precision_recall_fscore_support

    assert len(gold) == len(predicted) > 0, f"{len(gold)} gold labels, {len(predicted)} predictions"
    assert set(gold) <= set(labels), f"gold labels outside {tuple(labels)}: {sorted(set(gold) - set(labels))}"
    assert set(predicted) - {None} <= set(labels), f"predictions outside {tuple(labels)}"
    answers = [UNPARSED if answer is None else answer for answer in predicted]
    precision, recall, f1, support = precision_recall_fscore_support(list(gold), answers, labels=list(labels), zero_division=0)
    return Scores(
        accuracy=sum(g == p for g, p in zip(gold, answers, strict=True)) / len(gold),
        macro_f1=float(f1.mean()),
        weighted_f1=float((f1 * support).sum() / support.sum()),
        unparsed=answers.count(UNPARSED),
        num_clips=len(gold),
        labels=tuple(labels),
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
        f1=tuple(f1.tolist()),
        support=tuple(support.tolist()),
    )


def majority_label(train_gold: Sequence[str], *, labels: Sequence[str]) -> str:
    """The commonest training label; of equals, the first in `labels`."""
    assert train_gold, "no training labels"
    counts = Counter(train_gold)
    return max(labels, key=lambda label: counts[label])
