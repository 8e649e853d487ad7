"""What a paper says of its tables, as comparisons of rows, with two verdicts: by the numbers alone, and by a test.

A claim holds by the numbers if each of its comparisons does. By a test it is supported if each comparison is significant in its direction, after
Holm's correction over all comparisons of all claims; contradicted if one is significant in the other; else this data cannot decide it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict

from analysis.audit import Paper, Table, read_paper
from analysis.folder import Results
from analysis.intervals import PRIMARY, TaskIntervals, paired, task_intervals
from analysis.render import Grid
from analysis.statistics import LEVEL
from analysis.swap_test import draw_masks, holm, p_value
from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.metrics import MAIN

CLAIMS = Path(__file__).with_name("claims.yaml")
Verdict = Literal["supported", "contradicted", "undecidable", "no result"]
HEADINGS = ("claim", "section", "paper: numbers", "paper: test", "here: numbers", "here: test")
CLAIMS_NOTE = (
    f"numbers: whether every comparison of the claim has the sign that it says. test: whether each is significant at {1 - LEVEL:.2f} after Holm's correction over all comparisons of all claims: "
    "of macro F1 over the supported classes, or of the F1 of one supported class; t test of the recipe with two seeds or more, else swap test of these models. "
    "A class on too few source videos decides nothing. paper, test: whether the printed difference is one that a single seed finds with 80 % power at IndoMER's labels; "
    "of CH-SIMS no source videos are known here."
)


class Comparison(BaseModel):
    """Each of `rows` above each of `above`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    task: Literal["sentiment", "emotion"]
    rows: tuple[str, ...]
    above: tuple[str, ...]
    score: str = MAIN

    @property
    def pairs(self) -> Iterator[Pair]:
        """One row above another."""
        return (Pair(self.task, self.score, row, other) for row, other in product(self.rows, self.above))


class Claim(BaseModel):
    """A sentence of the paper."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    section: str
    says: str
    comparisons: tuple[Comparison, ...]

    @property
    def pairs(self) -> list[Pair]:
        """All that must hold."""
        return [pair for comparison in self.comparisons for pair in comparison.pairs]


class Claims(BaseModel):
    """Claims about a corpus, which are asked of some others too."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    corpora: tuple[str, ...]  # the paper's first
    claims: tuple[Claim, ...]


class Pair(NamedTuple):
    """`row` above `other`."""

    task: str
    score: str
    row: str
    other: str


class Judged(NamedTuple):
    """A claim, and what the paper's own numbers say of it."""

    claim: Claim
    numbers: Verdict
    test: Verdict


def read_claims() -> tuple[Claims, ...]:
    """The claims of OmniMER."""
    return tuple(Claims.model_validate(part) for part in yaml.safe_load(CLAIMS.read_text(encoding="utf-8")))


def judge_paper() -> dict[str, list[Judged]]:
    """The paper's claims about each corpus by its own tables."""
    paper = read_paper()
    return {
        part.corpora[0]: [
            Judged(
                claim,
                _by_numbers([_printed_difference(paper, part.corpora[0], pair, pair.score) for pair in claim.pairs]),
                _by_test([_printed_sign(paper, part.corpora[0], pair) for pair in claim.pairs]),
            )
            for claim in part.claims
        ]
        for part in read_claims()
    }


def paper_lines() -> Iterator[str]:
    """The verdicts on the paper as text."""
    for corpus, judged in judge_paper().items():
        yield f"Claims of section V about {corpus}: {len(judged)}; by printed numbers, and by what one seed can find"
        yield from (f"  {found.numbers:12}  {found.test:12}  {found.claim.says} ({found.claim.section})" for found in judged)


def claims_grid(results: Results) -> Grid | None:
    """The claims that this folder has the rows for, with the verdicts of the paper and of the folder; None without one."""
    named = next((part for part in read_claims() if results.plan.corpus.name in part.corpora), read_claims()[0])
    known = {(row.task, row.variant) for row in results.plan.rows}
    asked = [claim for claim in named.claims if all({(pair.task, pair.row), (pair.task, pair.other)} <= known for pair in claim.pairs)]
    if not asked:
        return None
    differences = {pair: _difference(results, pair) for claim in asked for pair in claim.pairs}
    tested = {pair: p for pair in differences if (p := _p(results, pair)) is not None}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    signs = {pair: _sign(difference or 0, corrected.get(pair, 1.0)) for pair, difference in differences.items()}
    published = {found.claim: found for found in judge_paper()[named.corpora[0]]}
    rows = [
        (
            claim.says,
            claim.section,
            published[claim].numbers,
            published[claim].test,
            _by_numbers([differences[pair] for pair in claim.pairs]),
            "no result" if None in [differences[pair] for pair in claim.pairs] else _by_test([signs[pair] for pair in claim.pairs]),
        )
        for claim in asked
    ]
    return Grid("The paper's claims", HEADINGS, tuple(rows), (CLAIMS_NOTE,))


def _by_numbers(differences: list[float | None]) -> Verdict:
    if None in differences:
        return "no result"
    return "supported" if all(difference > 1e-9 for difference in differences if difference is not None) else "contradicted"


def _by_test(signs: list[int]) -> Verdict:
    """1: significantly above, -1: significantly below, 0: neither."""
    return "contradicted" if -1 in signs else "supported" if all(signs) else "undecidable"


def _sign(difference: float, p: float) -> int:
    return 0 if p > 1 - LEVEL else 1 if difference > 0 else -1


def _difference(results: Results, pair: Pair) -> float | None:
    """As the paper would print it: macro F1 is that over all classes."""
    rows = task_intervals(results, pair.task).rows
    units = [rows[name].units for name in (pair.row, pair.other)]
    if not all(units):
        return None
    place = LABELS[pair.task].index(pair.score) if pair.score in LABELS[pair.task] else None
    scored = [[unit.scores.f1[place] if place is not None else unit.scores.values[pair.score] for unit in found] for found in units]
    one, other = (sum(values) / len(values) for values in scored)
    return one - other


def _p(results: Results, pair: Pair) -> float | None:
    """Of the recipe where there is a test of it, else of these models; None where the score has no test."""
    intervals = task_intervals(results, pair.task)
    measure = _measure(intervals, pair)
    rows = [intervals.rows[name] for name in (pair.row, pair.other)]
    if measure is None or not paired(*rows)[0]:
        return None
    recipe = intervals.difference(pair.row, measure, minus=pair.other).recipe.p
    masks = draw_masks(len(set(rows[0].units[0].videos)))
    return p_value(intervals.swapped(pair.row, measure, masks, minus=pair.other)) if recipe is None else recipe


def _measure(intervals: TaskIntervals, pair: Pair) -> str | int | None:
    if pair.score == MAIN:
        return PRIMARY if intervals.supported else None
    place = LABELS[pair.task].index(pair.score)
    return place if place in intervals.supported else None


def _printed_difference(paper: Paper, corpus: str, pair: Pair, score: str) -> float:
    return _cell(paper, corpus, pair, score, pair.row) - _cell(paper, corpus, pair, score, pair.other)


def _cell(paper: Paper, corpus: str, pair: Pair, score: str, row: str) -> float:
    table, place = _table(paper, corpus, pair), paper.rows.index(row)
    if score == PRIMARY:
        return sum(table.f1[label][place] for label in table.supported) / len(table.supported)
    return table.macro_f1[place] if score == MAIN else table.f1[score][place]


def _printed_sign(paper: Paper, corpus: str, pair: Pair) -> int:
    """Whether the printed difference is one that one seed finds; of macro F1, over the supported classes."""
    score = PRIMARY if pair.score == MAIN else pair.score
    smallest = _table(paper, corpus, pair).smallest.get(score)
    if smallest is None:
        return 0
    difference = _printed_difference(paper, corpus, pair, score)
    return 0 if abs(difference) < smallest else 1 if difference > 0 else -1


def _table(paper: Paper, corpus: str, pair: Pair) -> Table:
    return next(table for table in paper.tables if (table.corpus, table.task) == (corpus, pair.task))
