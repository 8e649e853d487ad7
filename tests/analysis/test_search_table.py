"""The trials of a search as a table: all of them, whatever became of them, and none in another table."""

import csv
from pathlib import Path
from typing import Any

import pytest

from analysis import write_all, write_search
from analysis.search_table import search_pages
from omnimer_ray.errors import ResultsError
from omnimer_ray.records import read_json, write_json

NONE = {"auxiliaries": "none", "rank": 4, "alpha": 16, "learning_rate": 0.00123456}
HYBRID = {**NONE, "auxiliaries": "text+video", "schedule": "hybrid", "auxiliary_weight": 1.25}
EMPTY = {"outcome": None, "reason": None, "development_f1": None, "num_steps": None, "signature": None, "repeats": None}
WHY = "macro F1 0.100 at 50% of the stage, not among the best 1 of 3"
ROWS = [
    {"params": NONE, "outcome": "done", "development_f1": 0.25, "num_steps": 40, "signature": "aa"},
    {"params": HYBRID, "outcome": "pruned", "reason": WHY, "num_steps": 20, "signature": "bb"},
    {"params": HYBRID, "outcome": "out_of_memory", "reason": "no more", "signature": "cc"},
    {"params": NONE, "outcome": "done", "development_f1": 0.25, "num_steps": 40, "signature": "aa", "repeats": 0},
    {"params": HYBRID, "signature": "dd"},
]
TABLE = r"""# Search: trials (stand-in numbers)

| trial | outcome | auxiliaries | schedule | rank | alpha | rate | weight | macro F1 | steps |
| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: |
| 0 | done | none | – | 4 | 16 | 0.0012 | – | .250 | 40 |
| 1 | pruned | text+video | hybrid | 4 | 16 | 0.0012 | 1.2 | – | 20 |
| 2 | out of memory | text+video | hybrid | 4 | 16 | 0.0012 | 1.2 | – | – |
| 3 | done | none | – | 4 | 16 | 0.0012 | – | .250 | 40 |
| 4 | not finished | text+video | hybrid | 4 | 16 | 0.0012 | 1.2 | – | – |

- STAND-IN: drawn faces
- Macro F1 on a development part, one seed: for choosing only. No trial saw a clip of the reported part.
- weight: of each auxiliary against the main task. pruned: ended at a fraction of its stage. A trial that ended otherwise has no score.
- Trial 1: pruned (macro F1 0.100 at 50% of the stage, not among the best 1 of 3).
- Trial 2: out of memory (no more).
- Trial 3 is the same run as trial 0.
- Signatures: 0: aa; 1: bb; 2: cc; 3: aa; 4: dd.
- Runs: `python -m omnimer_ray.sweep ablations`; this table: `python -m analysis tables FOLDER`
"""


@pytest.fixture
def searched(small: Path) -> Path:
    """The small folder, of a search with five trials."""
    plan: dict[str, Any] = read_json(small / "plan.json")
    plan["corpus"]["stand_in"] = plan["base"]["stand_in"] = "drawn faces"
    write_json(small / "plan.json", plan)
    rows = [{**EMPTY, "number": number, **row} for number, row in enumerate(ROWS)]
    write_json(small / "trials.json", {"search": {}, "trials": rows})
    return small


def test_the_table_as_printed(searched: Path) -> None:
    paths = write_search(searched)
    assert [path.name for path in paths] == ["search.md", "search.tex", "search.html", "search.csv"]
    assert paths[0].read_text() == TABLE


def test_the_csv_has_every_trial_with_its_provenance(searched: Path) -> None:
    rows = list(csv.DictReader(search_pages(searched)["search.csv"].splitlines()))
    assert [row["outcome"] for row in rows] == ["done", "pruned", "out_of_memory", "done", "not finished"]
    assert (rows[0]["learning_rate"], rows[0]["auxiliary_weight"], rows[0]["development_f1"]) == ("0.00123456", "", "0.25")
    assert {(row["stand_in"], row["base"], row["corpus"]) for row in rows} == {("drawn faces", "tiny beef", "mini c0ffee")}
    assert rows[1]["reason"] == WHY


def test_it_is_rebuilt_with_the_others_and_changes_none_of_them(searched: Path) -> None:
    paths = {path.name: path.read_bytes() for path in write_all(searched)}
    assert paths["search.md"].decode() == TABLE
    (searched / "trials.json").unlink()
    without = {path.name: path.read_bytes() for path in write_all(searched)}
    assert paths.keys() - without.keys() == {"search.md", "search.tex", "search.html", "search.csv", "search.png", "search.svg"}
    assert [name for name in without if without[name] != paths[name]] == ["report.html"]
    assert b'<h2 id="search">Search: trials (stand-in numbers)</h2>' in paths["report.html"]
    assert b"Search: trials" not in without["report.html"]


def test_only_a_search_has_the_table(small: Path) -> None:
    assert search_pages(small) == {}


def test_the_error_names_a_field_of_a_wrong_type(searched: Path) -> None:
    trials: dict[str, Any] = read_json(searched / "trials.json")
    trials["trials"][1]["development_f1"] = 7
    write_json(searched / "trials.json", trials)
    with pytest.raises(ResultsError, match=r"trials\.json: trials\.1\.development_f1: Input should be less than or equal to 1$"):
        write_search(searched)
