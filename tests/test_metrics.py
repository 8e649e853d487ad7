"""Scores against scikit-learn, against one matrix worked by hand, and what an unparsed answer does."""

import ast
import random
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from analysis.statistics import video_counts
from omnimer_ray.corpora.clips import EMOTIONS, LABELS, SENTIMENTS
from omnimer_ray.metrics import MAIN, METRICS, majority_label, scores

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("task", ["sentiment", "emotion"])
@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_those_of_scikit_learn(task: str, seed: int) -> None:
    chance = random.Random(seed)
    labels = LABELS[task]
    gold = chance.choices(labels, [9, 4, *[1] * (len(labels) - 2)], k=60)
    predicted = [None if chance.random() < 0.1 else chance.choice([answer, *labels]) for answer in gold]
    mine = scores(gold=gold, predicted=predicted, labels=labels)
    theirs = ["?" if answer is None else answer for answer in predicted]
    same = {"labels": list(labels), "zero_division": 0}
    assert mine.values["accuracy"] == accuracy_score(gold, theirs)
    assert mine.macro_f1 == pytest.approx(f1_score(gold, theirs, average="macro", **same), abs=1e-12)
    assert mine.values["weighted_f1"] == pytest.approx(f1_score(gold, theirs, average="weighted", **same), abs=1e-12)
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
    mine = scores(gold=gold, predicted=predicted, labels=SENTIMENTS)
    assert (mine.num_clips, mine.support, mine.unparsed) == (10, (5, 4, 1), 1)
    assert mine.values["accuracy"] == pytest.approx(5 / 10)
    assert mine.precision == pytest.approx((3 / 4, 2 / 4, 0))
    assert mine.recall == pytest.approx((3 / 5, 2 / 4, 0))
    assert mine.f1 == pytest.approx((2 / 3, 1 / 2, 0))
    assert mine.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert mine.values["weighted_f1"] == pytest.approx((5 * 2 / 3 + 4 * 1 / 2 + 1 * 0) / 10)
    assert mine.values["uar"] == pytest.approx((3 / 5 + 2 / 4 + 0) / 3)


def test_metric_names_are_unique_and_contain_the_main_metric() -> None:
    names = [metric.name for metric in METRICS]
    assert names == ["accuracy", "macro_f1", "weighted_f1", "uar"]
    assert len({metric.heading for metric in METRICS}) == len(METRICS)
    mine = scores(gold=["neutral", "positive"], predicted=["neutral", None], labels=SENTIMENTS)
    assert list(mine.values) == names
    assert mine.macro_f1 == mine.values[MAIN]


def test_an_unparsed_answer_is_wrong_and_no_eighth_class() -> None:
    gold = ["neutral", "neutral", "fear", "fear"]
    dropped = scores(gold=gold[:3], predicted=["neutral", "neutral", "fear"], labels=EMOTIONS)
    counted = scores(gold=gold, predicted=["neutral", "neutral", "fear", None], labels=EMOTIONS)
    assert (counted.values["accuracy"], counted.unparsed) == (0.75, 1)
    assert counted.macro_f1 == pytest.approx((1 + 2 / 3) / 7)  # seven classes, not eight
    assert counted.macro_f1 < dropped.macro_f1
    assert counted.precision[EMOTIONS.index("fear")] == 1  # it is nobody's false positive


def test_answers_that_are_all_unparsed_score_zero() -> None:
    mine = scores(gold=["neutral", "positive"], predicted=[None, None], labels=SENTIMENTS)
    assert (mine.values["accuracy"], mine.macro_f1, mine.values["weighted_f1"], mine.unparsed) == (0, 0, 0, 2)


def test_our_own_mistakes_are_asserted() -> None:
    with pytest.raises(AssertionError, match=r"gold labels outside .*'netral'"):
        scores(gold=["netral"], predicted=["neutral"], labels=SENTIMENTS)
    with pytest.raises(AssertionError, match="2 gold labels, 1 predictions"):
        scores(gold=["neutral", "neutral"], predicted=["neutral"], labels=SENTIMENTS)


def test_the_majority_label_is_the_commonest_and_the_first_of_equals() -> None:
    assert majority_label(["positive", "neutral", "positive"], labels=SENTIMENTS) == "positive"
    assert majority_label(["positive", "negative"], labels=SENTIMENTS) == "negative"


def test_importing_metrics_is_light() -> None:
    code = "import sys, omnimer_ray.metrics; print({'torch', 'ray', 'sklearn', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_gold_and_predicted_cannot_be_swapped() -> None:
    with pytest.raises(TypeError, match=r"^scores\(\) takes 0 positional arguments but 3 were given$"):
        scores(["neutral"], ["positive"], SENTIMENTS)  # type: ignore[misc]
    with pytest.raises(TypeError, match=r"^video_counts\(\) takes 0 positional arguments but 4 were given$"):
        video_counts(["neutral"], ["positive"], ["v"], SENTIMENTS)  # type: ignore[misc]
    with pytest.raises(TypeError, match=r"^majority_label\(\) takes 1 positional argument but 2 were given$"):
        majority_label(["neutral"], SENTIMENTS)  # type: ignore[misc]


SIDES = {"gold", "predicted", "baseline"}


def test_no_function_takes_two_sides_by_position() -> None:
    """Arguments that are equal for a type checker, but not for a score."""
    found = []
    for path in [path for package in ("omnimer_ray", "analysis") for path in (ROOT / package).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and SIDES & {argument.arg for argument in node.args.args}:
                found.append(f"{path.name}: {node.name}({', '.join(argument.arg for argument in node.args.args)})")
    assert found == []
