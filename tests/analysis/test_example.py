"""The example comes with the package and is enough for tables, report and notebooks; without torch and ray."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

from analysis import load
from analysis.example import RECORDS, pack, unpack
from analysis.sweep_tables import tables
from omnimer_ray.errors import ResultsError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "analysis" / "notebooks").glob("*.py"))


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("work") / "results" / "example")


def test_the_example_is_a_finished_sweep_with_three_seeds_and_says_that_it_is_a_stand_in(example: Path) -> None:
    results = load(example)
    assert set(results.runs["outcome"]) == {"done"}
    assert sorted(set(results.runs["seed"].drop_nulls())) == [0, 1, 2]
    assert len(results.stand_ins) == 2
    assert results.is_registered("All Aux (Hybrid)", "Base")
    assert not [name for name, page in tables(results).items() if name.endswith(".md") and "stand-in numbers" not in page]


def test_it_names_no_machine_and_holds_no_weights() -> None:
    with zipfile.ZipFile(RECORDS) as archive:
        names = archive.namelist()
        assert not [name for name in names if name.endswith((".safetensors", ".pt"))]
        texts = {name: archive.read(name).decode() for name in names if name.endswith((".json", ".jsonl"))}
    for name, text in texts.items():
        assert not [word for word in ('"host"', '"node"', "/tmp", "/home", "/root", "/work") if word in text], name
    assert RECORDS.stat().st_size < 2 * 2**20


def test_packing_what_was_unpacked_gives_the_same_bytes(example: Path, tmp_path: Path) -> None:
    pack(example, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == RECORDS.read_bytes()


def test_a_folder_in_use_is_left_alone(example: Path) -> None:
    with pytest.raises(ResultsError, match=r"is not empty; name a new folder with --into, or look at it with:  python -m analysis "):
        unpack(example)


def test_the_command_writes_the_report_without_torch_and_ray(tmp_path: Path) -> None:
    code = """
import sys
from analysis.__main__ import main
try:
    main(["example"])
finally:
    assert not {"torch", "ray", "transformers", "deepspeed", "peft", "av"} & set(sys.modules)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("results/example/report.html\n")
    assert (tmp_path / "results" / "example" / "report.html").stat().st_size > 10**6


@pytest.mark.parametrize("script", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_from_top_to_bottom(script: Path, example: Path) -> None:
    notebook = nbformat.from_dict(jupytext.read(script))
    where = {"metadata": {"path": str(example.parents[1])}}
    os.environ["PYTHONPATH"] = str(ROOT)
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where).execute()
    assert [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]


@pytest.mark.slow
def test_the_light_core_alone_writes_the_example(tmp_path: Path) -> None:
    """`pip install .` in an environment of its own; then one command."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(ROOT)], check=True)
    done = subprocess.run([python, "-m", "analysis", "example"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "example" / "tables" / "sentiment.tex").exists()
    absent = subprocess.run([python, "-c", "import torch"], capture_output=True)
    assert absent.returncode == 1
