"""Scores against scikit-learn, against one matrix worked by hand, and what an unparsed answer does."""

import random
import subprocess
import sys

import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from omnimer_ray.corpora.clips import EMOTIONS, LABELS, SENTIMENTS
from omnimer_ray.metrics import majority_label, scores


@pytest.mark.parametrize("task", ["sentiment", "emotion"])
@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_those_of_scikit_learn(task: str, seed: int) -> None:
    chance = random.Random(seed)
    labels = LABELS[task]
    gold = chance.choices(labels, [9, 4, *[1] * (len(labels) - 2)], k=60)
    predicted = [None if chance.random() < 0.1 else chance.choice([answer, *labels]) for answer in gold]
    mine = scores(gold, predicted, labels)
    theirs = ["?" if answer is None else answer for answer in predicted]
    same = {"labels": list(labels), "zero_division": 0}
    assert mine.accuracy == accuracy_score(gold, theirs)
    assert mine.macro_f1 == pytest.approx(f1_score(gold, theirs, average="macro", **same), abs=1e-12)
    assert mine.weighted_f1 == pytest.approx(f1_score(gold, theirs, average="weighted", **same), abs=1e-12)
    precision, recall, f1, support = precision_recall_fscore_support(gold, theirs, **same)
    assert (mine.precision, mine.recall, mine.f1, mine.support) == tuple(
        tuple(column.tolist()) for column in (precision, recall, f1, support)
    )
    assert mine.unparsed == predicted.count(None)


def test_scores_of_a_matrix_worked_by_hand() -> None:
    """negative  neutral  positive  unparsed      precision  recall       F1
    negative            3        1         0         1          3/4     3/5        2/3
    neutral             1        2         1         0          2/4     2/4        1/2
    positive            0        1         0         0          0/1     0/1          0
    """
    cells = {("negative", "negative"): 3, ("negative", "neutral"): 1, ("negative", None): 1, ("neutral", "negative"): 1}
    cells |= {("neutral", "neutral"): 2, ("neutral", "positive"): 1, ("positive", "neutral"): 1}
    gold, predicted = zip(*(pair for pair, count in cells.items() for _ in range(count)), strict=True)
    mine = scores(gold, predicted, SENTIMENTS)
    assert (mine.num_clips, mine.support, mine.unparsed) == (10, (5, 4, 1), 1)
    assert mine.accuracy == pytest.approx(5 / 10)
    assert mine.precision == pytest.approx((3 / 4, 2 / 4, 0))
    assert mine.recall == pytest.approx((3 / 5, 2 / 4, 0))
    assert mine.f1 == pytest.approx((2 / 3, 1 / 2, 0))
    assert mine.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert mine.weighted_f1 == pytest.approx((5 * 2 / 3 + 4 * 1 / 2 + 1 * 0) / 10)


def test_an_unparsed_answer_is_wrong_and_no_eighth_class() -> None:
    gold = ["neutral", "neutral", "fear", "fear"]
    dropped = scores(gold[:3], ["neutral", "neutral", "fear"], EMOTIONS)
    counted = scores(gold, ["neutral", "neutral", "fear", None], EMOTIONS)
    assert (counted.accuracy, counted.unparsed) == (0.75, 1)
    assert counted.macro_f1 == pytest.approx((1 + 2 / 3) / 7)  # seven classes, not eight
    assert counted.macro_f1 < dropped.macro_f1
    assert counted.precision[EMOTIONS.index("fear")] == 1  # it is nobody's false positive


def test_answers_that_are_all_unparsed_score_zero() -> None:
    mine = scores(["neutral", "positive"], [None, None], SENTIMENTS)
    assert (mine.accuracy, mine.macro_f1, mine.weighted_f1, mine.unparsed) == (0, 0, 0, 2)


def test_our_own_mistakes_are_asserted() -> None:
    with pytest.raises(AssertionError, match=r"gold labels outside .*'netral'"):
        scores(["netral"], ["neutral"], SENTIMENTS)
    with pytest.raises(AssertionError, match="2 gold labels, 1 predictions"):
        scores(["neutral", "neutral"], ["neutral"], SENTIMENTS)


def test_the_majority_label_is_the_commonest_and_the_first_of_equals() -> None:
    assert majority_label(["positive", "neutral", "positive"], SENTIMENTS) == "positive"
    assert majority_label(["positive", "negative"], SENTIMENTS) == "negative"


def test_importing_metrics_is_light() -> None:
    code = "import sys, omnimer_ray.metrics; print({'torch', 'ray', 'sklearn', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
