"""Claims of the paper as comparisons: verdicts by numbers and by a test, on the paper and on results."""

from collections.abc import Callable
from pathlib import Path

import pytest
from results_folders import VARIANTS, row, write_clips, write_plan, write_run

from analysis import load
from analysis.audit import read_paper
from analysis.claims import claims_grid, judge_paper, paper_lines, read_claims
from omnimer_ray.corpora.clips import LABELS

NEUTRAL = "on neutral sentiment the hybrid strategy attains the highest F1"


def test_every_claim_names_rows_and_scores_of_the_paper() -> None:
    paper = read_paper()
    for part in read_claims():
        tasks = {table.task for table in paper.tables if table.corpus == part.corpora[0]}
        for claim in part.claims:
            for pair in claim.pairs:
                assert {pair.row, pair.other} <= set(paper.rows)
                assert pair.row != pair.other
                assert pair.task in tasks
                assert pair.score in ("macro_f1", *LABELS[pair.task])


def test_the_paper_contradicts_itself_in_three_claims_and_none_is_beyond_one_seed() -> None:
    judged = judge_paper()
    contradicted = {found.claim.says for found in judged["indomer"] if found.numbers == "contradicted"}
    assert contradicted == {
        "negative sentiment shows consistent improvement",
        "both strategies recover several emotions that Base fails to recognise (disgust, surprise)",
        "multi-stage is the better strategy for rare emotions, hybrid for the majority",
    }
    assert {found.numbers for found in judged["ch_sims"]} == {"supported"}
    assert {found.test for found in (*judged["indomer"], *judged["ch_sims"])} == {"undecidable"}
    lines = list(paper_lines())
    assert len(lines) == 2 + 16 + 6
    assert "  contradicted  undecidable   negative sentiment shows consistent improvement (V-C)" in lines


def planted(folder: Path, neutral_right: dict[str, int], num_videos: int = 30) -> Path:
    """Two neutral clips a video, and one of each other class; a row has the neutral ones of so many videos right, and all the others."""
    clips = {
        f"c{video:02d}_{place}": (f"v{video:02d}", label)
        for video in range(num_videos)
        for place, label in enumerate(("neutral", "neutral", "positive", "negative"))
    }
    write_clips(
        folder, [{"clip": clip, "split": "validation", "source_video": video, "sentiment": gold} for clip, (video, gold) in clips.items()]
    )
    rows = [row(variant, "sentiment") for variant in neutral_right]
    write_plan(folder, neutral_right, ["sentiment"], rows)
    for planned in rows:
        chosen = {
            clip: gold if gold != "neutral" or int(video[1:]) < neutral_right[planned["variant"]] else "positive"
            for clip, (video, gold) in clips.items()
        }
        write_run(folder, planned, {clip: (gold, chosen[clip]) for clip, (_, gold) in clips.items()})
    return folder


@pytest.mark.parametrize(
    ("hybrid", "others", "numbers", "test"),
    [
        (30, 2, "supported", "supported"),
        (2, 30, "contradicted", "contradicted"),
        (16, 15, "supported", "undecidable"),
        (15, 15, "contradicted", "undecidable"),
    ],
)
def test_verdicts_on_results(tmp_path: Path, hybrid: int, others: int, numbers: str, test: str) -> None:
    rows = {**dict.fromkeys(VARIANTS[1:], others), "All Aux (Hybrid)": hybrid}
    grid = claims_grid(load(planted(tmp_path, rows)))
    assert grid is not None
    (line,) = [line for line in grid.rows if line[0] == NEUTRAL]
    assert line == (NEUTRAL, "V-C", "supported", "undecidable", numbers, test)


def test_only_claims_about_rows_of_the_plan_are_asked(small: Path, realistic: Callable[..., Path]) -> None:
    grid = claims_grid(load(small))
    assert grid is not None
    assert {line[0] for line in grid.rows} == {"positive sentiment benefits from auxiliary supervision under the hybrid strategy"}
    assert [line[4:] for line in grid.rows] == [("no result", "no result")]
    whole = claims_grid(load(realistic()))
    assert whole is not None
    assert len(whole.rows) == 16


def test_a_folder_without_such_rows_has_no_claims(tmp_path: Path) -> None:
    assert claims_grid(load(planted(tmp_path, {"Base": 3}))) is None
