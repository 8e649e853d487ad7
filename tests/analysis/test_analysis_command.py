"""The command `python -m analysis FOLDER`, and the imports of the package."""

import subprocess
import sys
import time
from pathlib import Path

import pytest


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "analysis", *arguments], capture_output=True, text=True, cwd=Path(__file__).parents[2])


def heavy_imports(code: str) -> str:
    heavy = "{'torch', 'ray', 'transformers', 'peft', 'deepspeed', 'av', 'PIL'}"
    code = f"import sys; {code}; print(sorted({heavy} & set(sys.modules)))"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    ).stdout.strip()


def test_command_rebuilds_and_prints_the_tables(small: Path) -> None:
    completed = run_command(str(small))
    assert completed.returncode == 0, completed.stderr
    assert "| Base | – | – | <ins>.444</ins> | <ins>.500</ins> |" in (small / "tables" / "sentiment.md").read_text(encoding="utf-8")
    assert "Sentiment: scores\n" in completed.stdout
    assert completed.stdout.splitlines()[-1] == str(small / "report.html")


def test_quiet_prints_only_the_file_names(small: Path) -> None:
    lines = run_command("--quiet", str(small)).stdout.splitlines()
    assert all(Path(line).exists() for line in lines)
    assert {Path(line).suffix for line in lines} == {".md", ".tex", ".html", ".csv", ".png", ".svg"}


def test_folder_without_results_is_reported_in_one_line(tmp_path: Path) -> None:
    completed = run_command(str(tmp_path))
    assert completed.returncode == 2
    assert (
        completed.stderr
        == f"ResultsError: {tmp_path / 'plan.json'} is not there; give a results folder, as results/<space>/<corpus>-<base>\n"
    )
    assert completed.stdout == ""


def test_missing_extra_is_reported_in_one_line(small: Path) -> None:
    code = "import sys; sys.modules['mlflow'] = None; from analysis.__main__ import main; main(sys.argv[1:])"
    completed = subprocess.run(
        [sys.executable, "-c", code, str(small), "--mlflow", "sqlite:///never.db"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert completed.returncode == 2
    assert completed.stderr.startswith("MissingExtraError: package 'mlflow' is not installed")
    assert not (small / "tables").exists()


def test_help_is_fast_and_describes_the_folder_argument() -> None:
    began = time.perf_counter()
    completed = run_command("report", "--help")
    assert time.perf_counter() - began < 2  # .12 s on a free machine
    assert "results/<space>/<corpus>-<base>" in completed.stdout


def test_importing_analysis_loads_neither_torch_nor_ray_nor_media_libraries() -> None:
    assert heavy_imports("import analysis, analysis.__main__") == "[]"
    modules = " ".join(path.stem for path in (Path(__file__).parents[2] / "analysis").glob("[a-z]*.py"))
    assert heavy_imports("; ".join(f"import analysis.{module}" for module in modules.split())) == "[]"


def test_importing_analysis_does_not_load_polars_and_matplotlib() -> None:
    code = "import sys, analysis; print({'polars', 'matplotlib', 'sklearn', 'numpy', 'jinja2', 'pydantic'} & set(sys.modules))"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert completed.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["load", "write_all", "terminal_tables"])
def test_public_functions_are_documented(name: str) -> None:
    import analysis

    assert name in analysis.__all__
    assert getattr(analysis, name).__doc__


def test_the_paper_is_audited_by_one_command() -> None:
    completed = run_command("audit-paper")
    assert (completed.returncode, completed.stderr) == (0, "")
    assert "  IV and VI, All Aux (Multi-stage), macro F1 0.454: the classes give 0.4169\n" in completed.stdout


def test_power_and_calibration_are_commands_on_a_folder(small: Path) -> None:
    found = run_command("power", str(small), "--seeds", "2")
    assert found.returncode == 0
    assert found.stdout.startswith(
        "sentiment, one split of 3 videos, 2 seeds: one contrast finds with 80% power (simulated, not corrected) accuracy "
    )
    assert found.stdout.endswith("; no class is on 10 source videos.\n")
    rates = run_command("calibrate", str(small), "--tables", "20")
    assert rates.returncode == 0
    assert rates.stdout.startswith("sentiment, one split of 3 videos, 3 seeds: 20 tables without any effect\n  accuracy ")
    refused = run_command("power", str(small / "clips.csv"))
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"ResultsError: {small / 'clips.csv'} cannot be read as a CSV (")
