"""`build`, `show`, `export`, `rate` and `ratings` as a person types them, on the generated corpus and the tiny base."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from omnimer_ray.errors import ConfigError, OmniMERError
from omnimer_ray.supervision.__main__ import app
from omnimer_ray.tasks.supervision import read_entries

ROOT = Path(__file__).parents[2]
OPTIONS = ["--limit", "24"]


def command(*words: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "omnimer_ray.supervision", *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})


def printed(*words: str) -> str:
    """The output of a command in this process; its error is raised."""
    ended = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert ended.exit_code == 0
    return ended.output


@pytest.fixture(scope="module")
def results(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with the supervision of `ablations`, built by the command."""
    folder = tmp_path_factory.mktemp("supervision") / "results"
    ended = command("build", *OPTIONS, "--results", str(folder))
    assert ended.returncode == 0, ended.stderr
    assert "plan     3 parts of the supervision ledger, in 3 units; nothing is trained" in ended.stdout
    assert len(re.findall(r"done   supervision: \w+", ended.stdout)) == 3
    assert re.search(r"(?m)^  all +15 ", ended.stdout)
    return folder


def test_it_builds_ledgers_and_nothing_else(results: Path) -> None:
    assert sorted(path.name for path in results.glob("ledgers/*/*.json")) == [
        "facial_expression.json",
        "prosody.json",
        "text_keywords.json",
    ]
    folder = next(results.glob("ablations/*"))
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == ["clips.parquet", "ledger.parquet"]


def test_what_is_built_is_not_built_again(results: Path) -> None:
    ended = command("build", *OPTIONS, "--results", str(results))
    assert ended.returncode == 0
    assert "nothing is left to start\n" in ended.stdout
    assert "starting Ray" not in ended.stdout
    assert "3 units recorded" in command("build", *OPTIONS, "--dry-run", "--results", str(results)).stdout


def test_a_sweep_uses_the_same_ledgers(results: Path) -> None:
    line = [sys.executable, "-m", "omnimer_ray.sweep", "ablations", *OPTIONS, "--dry-run", "--results", str(results)]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert "3 units recorded, 0 to resume, 17 new" in ended.stdout


def test_the_dry_run_of_a_search_names_the_ledgers_that_trials_may_need(tmp_path: Path) -> None:
    assert "plan     3 parts of the supervision ledger" in command("build", "search", "--dry-run", "--results", str(tmp_path)).stdout


def test_show_prints_yields_and_samples(results: Path) -> None:
    shown = printed("show", *OPTIONS, "--results", str(results), "--samples", "1")
    assert shown.startswith("STAND-IN: generated faces and synthesised speech (mini corpus)\n")
    for kind in ("text_keywords", "facial_expression", "prosody"):
        key = next(results.glob(f"ledgers/*/{kind}.json")).parent
        entries = read_entries(key, kind).values()  # type: ignore[arg-type]
        assert f"\n{kind} (" in shown
        assert f", ledger {key.name}\n" in shown
        assert f"{sum(entry['attempts'] for entry in entries)} answers written for {len(entries)} clips" in shown
        agreed = [entry for entry in entries if entry["made"] == "agreed"]
        assert f"{agreed[0]['clip']}, {kind}, agreed, gold {agreed[0]['gold']}\n  free         {agreed[0]['free_answer']}\n" in shown


def test_exported_items_are_read_back(results: Path, tmp_path: Path) -> None:
    """As a trainer reads them: roles in turn, and as many placeholders as files, which exist."""
    path = tmp_path / "items.json"
    text = printed("export", *OPTIONS, "--results", str(results), "--out", str(path))
    items = json.loads(path.read_text())
    assert text.startswith(f"{len(items)} items in {path}\nSTAND-IN: ")
    ledgers = {kind: read_entries(next(results.glob(f"ledgers/*/{kind}.json")).parent, kind) for kind in ("text_keywords", "prosody")}  # type: ignore[arg-type]
    for item in items:
        human, gpt = item["conversations"]
        assert (human["from"], gpt["from"]) == ("human", "gpt")
        for placeholder, files in (("<video>", item["videos"]), ("<audio>", item["audios"])):
            assert human["value"].count(placeholder) == len(files)
            assert placeholder not in gpt["value"]
            assert all(Path(file).is_file() for file in files)
        about = item["provenance"]
        assert json.loads(gpt["value"])["sentiment"] == about["gold"]
        if about["instruction"] in ledgers:
            assert gpt["value"] == ledgers[about["instruction"]][about["clip"]]["answer"]
    wanted = {"text_keywords": (0, 0), "facial_expression": (1, 0), "prosody": (0, 1)}
    assert {(item["provenance"]["instruction"], (len(item["videos"]), len(item["audios"]))) for item in items} == set(wanted.items())


def test_a_form_is_blind_and_its_ratings_are_read(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "form.csv"
    text = printed("rate", *OPTIONS, "--results", str(results), "--out", str(path), "--items", "6")
    key = json.loads((tmp_path / "form.key.json").read_text())
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    assert {row["item"] for row in rows} == set(key)
    assert not {"agreed", "constrained"} & {cell for row in rows for cell in row.values()}
    for modality in ("text", "video", "audio"):
        made = [entry["made"] for entry in key.values() if entry["modality"] == modality]
        assert f"{modality}: {made.count('agreed')} agreed, {made.count('constrained')} constrained\n" in text
        assert len(made) == 6
    for row in rows:
        row["rating"] = "5" if key[row["item"]]["made"] == "agreed" else "2"
    rows[0]["rating"] = ""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    lines = printed("ratings", str(path)).splitlines()
    assert lines[0] == f"{len(rows) - 1} rated, 1 left blank"
    assert any(
        "agreed 5.00 (n = 3), constrained 2.00 (n = 3); agreed - constrained +3.00, 95 % interval +3.00 to +3.00" in x for x in lines
    )


@pytest.mark.parametrize("name", ["export", "rate"])
def test_nothing_is_handed_on_before_it_is_built(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no supervision of ablations is built yet; run  python -m omnimer_ray.supervision build ablations"
    ):
        printed(name, "--results", str(tmp_path), "--out", str(tmp_path / "out.csv"))
    assert "nothing is built yet" in printed("show", "--results", str(tmp_path))


def test_a_space_without_auxiliaries_has_no_supervision(tmp_path: Path) -> None:
    path = tmp_path / "base.py"
    path.write_text("from omnimer_ray.planning.space import SearchSpace\ndef space(recipe): return SearchSpace(recipe, {'Base': {}})")
    with pytest.raises(ConfigError, match="no run of the search space base needs supervision; name one with auxiliary tasks"):
        printed("show", str(path), "--results", str(tmp_path))


def test_a_form_has_one_ledger_of_an_instruction(tmp_path: Path, results: Path) -> None:
    with pytest.raises(ConfigError, match=r"supervision_settings has several ledgers of text_keywords; name one with a single setting"):
        printed("rate", "supervision_settings", *OPTIONS, "--results", str(results), "--out", str(tmp_path / "form.csv"))


KEY = {"a": {"modality": "text", "made": "agreed"}, "b": {"modality": "text", "made": "constrained"}}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (
            b"item,rating\nz,1\na,6\na,x\nb,1\nb,2\n",
            "row 2: item 'z' is not in the key; row 3: rating '6' is no whole number from 1 to 5; row 4: ",
        ),
        (b"item,rating\nb,1\nb,2\n", "row 3: item 'b' occurs twice"),
        (b"item;rating\na;1\n", "needs the columns item and rating, separated by commas"),
        (b"", "needs the columns item and rating"),
        (b"item,rating\n\xff,1", "is no CSV file in UTF-8"),
    ],
)
def test_the_error_names_every_fault_of_a_form(tmp_path: Path, form: bytes, text: str) -> None:
    path = tmp_path / "form.csv"
    path.write_bytes(form)
    with pytest.raises(ConfigError, match="a form and its key are needed"):
        printed("ratings", str(path))
    path.with_suffix(".key.json").write_text(json.dumps(KEY))
    with pytest.raises(OmniMERError, match=re.escape(text)):
        printed("ratings", str(path))


def test_a_cell_is_no_formula(tmp_path: Path) -> None:
    from omnimer_ray.supervision.rating import _cell

    assert [_cell(text) for text in ("=1+1", "@x", "calm")] == [" =1+1", " @x", "calm"]


def test_help_names_the_commands() -> None:
    ended = command("--help")
    assert ended.returncode == 0
    assert all(name in ended.stdout for name in ("build", "show", "export", "rate", "ratings"))


def test_an_error_is_one_line() -> None:
    ended = command("show", "ablation")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "ConfigError: search space 'ablation' is unknown, and is no path of a file of your own (.py); did you mean 'ablations'?\n"
    )
