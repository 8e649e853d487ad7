"""The published tables against themselves, and the audit against tables that were made from counts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from analysis import load
from analysis.audit import (
    Paper,
    Table,
    averages,
    counts,
    headlines,
    impossible,
    of_results,
    read_csv,
    read_paper,
    report_lines,
    rights,
    sums,
)
from analysis.audit import _cut as cut
from analysis.audit import _rounded as rounded
from omnimer_ray.errors import ResultsError

SUPPORTS = {"neutral": 262, "positive": 40, "negative": 54}


@dataclass
class Row:
    """Scores of counted answers, as printed."""

    right: dict[str, int]
    answered: dict[str, int]

    def f1(self, label: str) -> float:
        return 2 * self.right[label] / (self.answered[label] + SUPPORTS[label])


def table_of(row: Row, decimals: int = 3) -> Paper:
    scores = {label: row.f1(label) for label in SUPPORTS}
    weighted = sum(SUPPORTS[label] * scores[label] for label in SUPPORTS) / 356
    return Paper(
        rows=("One",),
        tables=(
            Table(
                name="T",
                about="t",
                corpus="c",
                task="sentiment",
                supports=SUPPORTS,
                accuracy=(round(sum(row.right.values()) / 356, decimals),),
                macro_f1=(round(sum(scores.values()) / 3, decimals),),
                weighted_f1=(round(weighted, decimals),),
                f1={label: (round(score, decimals),) for label, score in scores.items()},
            ),
        ),
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_table_made_from_answers_has_no_finding(seed: int) -> None:
    chance = random.Random(seed)
    right = {label: chance.randint(0, clips) for label, clips in SUPPORTS.items()}
    left = 356 - sum(right.values())
    wrong = dict(zip(SUPPORTS, [left // 2, left // 4, left // 8], strict=True))  # the rest is unparsed
    paper = table_of(Row(right, {label: right[label] + wrong[label] for label in SUPPORTS}))
    assert [*averages(paper), *sums(paper), *impossible(paper)] == []


def test_answers_beyond_the_number_of_clips_are_found() -> None:
    """Every class is answered for all clips: each F1 is possible alone."""
    (finding,) = impossible(table_of(Row(dict(SUPPORTS), dict.fromkeys(SUPPORTS, 356))))
    assert (finding.cell, finding.says) == ("accuracy", "each cell is possible alone, but no counts give this accuracy with these F1")


def test_counts_are_all_that_print_as_the_score() -> None:
    assert counts(0.667, 1, 3, rounded) == {(1, 2)}
    assert counts(0.666, 1, 3, rounded) == set()
    assert counts(0.666, 1, 3, cut) == {(1, 2)}
    assert rights(0.667, 3, rounded) == {2}
    assert (rights(0.5, 3, rounded), rights(0.666, 3, cut)) == (set(), {2})


def test_the_paper_has_eight_averages_that_its_classes_do_not_give() -> None:
    found = [(finding.table, finding.row, finding.cell, finding.printed) for finding in averages(read_paper())]
    assert found == [
        ("III and V", "Base", "macro F1", 0.506),
        ("III and V", "Base", "weighted F1", 0.693),
        ("III and V", "All Aux (Hybrid)", "macro F1", 0.582),
        ("III and V", "All Aux (Hybrid)", "weighted F1", 0.739),
        ("IV and VI", "Base", "weighted F1", 0.669),
        ("IV and VI", "All Aux (Multi-stage)", "macro F1", 0.454),
        ("IV and VI", "All Aux (Multi-stage)", "weighted F1", 0.706),
        ("VII and VIII", "Base + Visual Aux", "weighted F1", 0.722),
    ]
    assert list(sums(read_paper())) == ["Table II: male and female segments: 778 + 1167 = 1945, not 1944"]


def test_the_paper_has_four_cells_that_no_answers_give() -> None:
    assert [(finding.table, finding.row, finding.cell, finding.says) for finding in impossible(read_paper())] == [
        ("III and V", "Base + Audio Aux", "accuracy", "each cell is possible alone, but no counts give this accuracy with these F1"),
        ("IV and VI", "Base + Audio Aux", "accuracy", "no number of 356 clips rounds to it, nor is cut off to it; 254/356 = 0.7135"),
        ("IV and VI", "All Aux (Multi-stage)", "F1 of fear", "no counts of 4 clips round to it; cut off, 2 * 2 / (9 + 4) does"),
        ("VII and VIII", "Base + Audio Aux", "accuracy", "no number of 457 clips rounds to it; cut off, 334/457 does"),
    ]


def test_the_papers_gains_rest_on_one_clip_and_hardly_exceed_the_majority() -> None:
    lines = list(headlines(read_paper()))
    assert lines[0] == (
        "III and V, IndoMER sentiment: always answering the majority class has an accuracy of 0.736; "
        "above it: All Aux (Multi-stage) by 2 clips, All Aux (Hybrid) by 3 clips"
    )
    assert lines[2] == (
        "IV and VI, IndoMER emotion: surprise has one clip; macro F1 of the other 6 classes: "
        "Base 0.272, Base + Text Aux 0.278, Base + Visual Aux 0.340, Base + Audio Aux 0.317, All Aux (Multi-stage) 0.320, All Aux (Hybrid) 0.368"
    )


def test_the_report_has_all_findings() -> None:
    lines = list(report_lines(read_paper()))
    assert [line for line in lines if not line.startswith(" ")] == [
        "Averages that the classes do not give: 9",
        "Cells that no counts of answers give: 4",
        "What the gains rest on: 4",
    ]
    assert "  IV and VI, All Aux (Multi-stage), macro F1 0.454: the classes give 0.4169" in lines


COLUMNS = "row,class,support,f1,accuracy,macro_f1,weighted_f1"


def test_any_table_is_audited_as_a_csv(tmp_path: Path) -> None:
    """Two right of three neutral clips, none of one other: macro F1 .333 with nothing answered wrongly; .5 is printed."""
    file = tmp_path / "theirs.csv"
    file.write_text(f"{COLUMNS}\nA,neutral,3,0.8,0.5,0.5,0.6\nA,positive,1,0,0.5,0.5,0.6\n")
    lines = list(report_lines(read_csv(file)))
    assert lines[:2] == ["Averages that the classes do not give: 1", "  theirs.csv, A, macro F1 0.500: the classes give 0.4000"]
    assert lines[2] == "Cells that no counts of answers give: 0"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("row,class\n", "has no column 'support'; a line per row and class needs row, class, support, f1, accuracy, macro_f1, weighted_f1"),
        (f"{COLUMNS}\nA,a,1,0,0,0,0\nA,a,1,0,0,0,0\n", "has 2 lines, not one for each of 1 rows and 1 classes"),
        (f"{COLUMNS}\nA,a,1,x,0,0,0\n", "has a cell that is no number \\(could not convert string to float: 'x'\\)"),
    ],
)
def test_a_csv_that_is_no_table_is_named(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "theirs.csv").write_text(text)
    with pytest.raises(ResultsError, match=error):
        read_csv(tmp_path / "theirs.csv")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"none\.csv cannot be read as a CSV"):
        read_csv(tmp_path / "none.csv")


def test_our_own_tables_have_no_finding(realistic: Callable[..., Path]) -> None:
    papers = list(of_results(load(realistic(seeds=(0, 1)))))
    assert [paper.tables[0].about for paper in papers] == ["mini sentiment", "mini emotion"]
    assert papers[0].rows[:3] == ("Zero-shot", "Base, seed 0", "Base, seed 1")
    for paper in papers:
        assert [*averages(paper), *impossible(paper)] == []
