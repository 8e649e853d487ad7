"""Results of an earlier version keep their keys, and a sweep finds them: nothing of them is lost."""

import json
import re
from pathlib import Path

import pytest
from making import ROOT, tiny_config

from analysis import load
from analysis.statistics import LEVEL_TEXT
from analysis.sweep_tables import tables
from omnimer_ray.config import ThinkerConfig, changed
from omnimer_ray.planning import identity
from omnimer_ray.planning.identity import hashed
from omnimer_ray.planning.plan import make_run

FOLDER = ROOT / "tests" / "earlier_results" / "earlier_space" / "mini-tiny-limit40"
RUNS = sorted(path.parent for path in FOLDER.glob("runs/*/record.json"))


def earlier(run: Path) -> ThinkerConfig:
    """The config of an earlier run; settings that it lacks have the value that means what was computed then."""
    config = ThinkerConfig.model_validate_json((run / "config.json").read_text(encoding="utf-8"))
    return changed(config, identity.ADDED)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_an_earlier_run_has_the_same_signature_stages_and_ledgers(run: Path) -> None:
    made = make_run(earlier(run))
    assert made.signature == run.name
    assert [stage.key for stage in made.stages] == json.loads((run / "record.json").read_text())["stages"]
    assert all((ROOT / "tests/earlier_results/ledgers" / part.key).exists() for stage in made.stages for part in stage.parts)


def test_the_earlier_results_have_a_run_of_each_number_of_stages() -> None:
    assert sorted(len(make_run(earlier(run)).stages) for run in RUNS) == [0, 1, 2]


def test_an_added_setting_enters_hashes_once_it_differs_from_its_earlier_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(identity.ADDED, "media.max_sec", tiny_config().media.max_sec)
    assert "max_sec" not in hashed(tiny_config().model_dump())["media"]
    assert hashed(tiny_config(media__max_sec=9).model_dump())["media"]["max_sec"] == 9


def test_a_part_whose_settings_all_have_their_earlier_values_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "ADDED", {**identity.ADDED, "supervision.max_new_tokens": 64})
    assert "supervision" not in hashed(tiny_config().model_dump())


def test_the_base_name_is_in_no_hash_and_a_mixture_is_one_value() -> None:
    weights = {"emotion": 1.0, "prosody": 1.0}
    assert hashed({"base": {"name": "tiny", "revision": "beef"}, "mixture": weights}) == {"base": {"revision": "beef"}, "mixture": weights}


def cells_and_notes(page: str) -> tuple[dict[tuple[str, str, int], str], set[str]]:
    """Cells by row, heading and the heading's occurrence, without emphasis; and the lines below the table."""
    lines = [
        [re.sub(r"\*\*|</?ins>", "", cell).strip() for cell in line.split("|")[1:-1]]
        for line in page.splitlines()
        if line.startswith("| ") or line.startswith("|  |")
    ]
    names = [(heading, lines[0][:column].count(heading)) for column, heading in enumerate(lines[0])]
    cells = {(line[0], *name): cell for line in lines[2:] for name, cell in zip(names, line, strict=True)}
    return cells, {line for line in page.splitlines() if not line.startswith("|")}


def test_earlier_results_are_read_and_give_the_same_tables() -> None:
    """Later versions add columns, as `recoverable`, and notes on them; every score and note of the earlier table is the same but those of intervals, which were too narrow."""
    found = load(FOLDER)
    assert found.predictions.height == 3 * 15
    assert found.predictions["closed_set_mass"].null_count() == found.predictions.height
    scores = (FOLDER / "tables" / "emotion.md").read_text(encoding="utf-8")
    earlier_cells, earlier_notes = cells_and_notes(scores)
    cells, notes = cells_and_notes(tables(found)["emotion.md"])
    assert len(earlier_cells) == 4 * 8
    scores_alone = {key: cell for key, cell in earlier_cells.items() if key[1] != LEVEL_TEXT}
    assert len(scores_alone) == 4 * 6
    assert {key: cells.get(key) for key in scores_alone} == scores_alone
    changed = {line for line in earlier_notes if line.startswith((f"- {LEVEL_TEXT}: ", "- Few videos of a class: ", "- Command: "))}
    assert len(changed) == 3
    assert earlier_notes - changed <= notes
    assert (
        "- No contrast is registered: this folder's runs began before registrations existed, so every comparison is exploratory." in notes
    )
