"""`python -m analysis FOLDER`, and what importing the package costs."""

import subprocess
import sys
import time
from pathlib import Path

import pytest


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "analysis", *arguments], capture_output=True, text=True, cwd=Path(__file__).parents[2])


def loaded(code: str) -> str:
    heavy = "{'torch', 'ray', 'transformers', 'peft', 'deepspeed', 'av', 'PIL'}"
    code = f"import sys; {code}; print(sorted({heavy} & set(sys.modules)))"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    ).stdout.strip()


def test_the_command_rebuilds_and_prints_the_tables(small: Path) -> None:
    ended = command(str(small))
    assert ended.returncode == 0, ended.stderr
    assert "| Base | .500 |" in (small / "tables" / "sentiment.md").read_text(encoding="utf-8")
    assert "Sentiment: scores\n" in ended.stdout
    assert ended.stdout.splitlines()[-1] == str(small / "report.html")


def test_quiet_prints_the_files_alone(small: Path) -> None:
    lines = command("--quiet", str(small)).stdout.splitlines()
    assert all(Path(line).exists() for line in lines)
    assert len(lines) == 6 + 4 + 1


def test_a_folder_that_holds_no_results_is_said_in_one_line(tmp_path: Path) -> None:
    ended = command(str(tmp_path))
    assert ended.returncode == 2
    assert (
        ended.stderr == f"ResultsError: {tmp_path / 'plan.json'} is not there; give a results folder, as results/<space>/<corpus>-<base>\n"
    )
    assert ended.stdout == ""


def test_a_missing_extra_is_said_in_one_line(small: Path) -> None:
    code = "import sys; sys.modules['mlflow'] = None; from analysis.__main__ import app; app()"
    ended = subprocess.run(
        [sys.executable, "-c", code, str(small), "--mlflow", "sqlite:///never.db"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("MissingExtraError: package 'mlflow' is not installed")
    assert not (small / "tables").exists()


def test_help_is_instant_and_says_what_a_folder_is() -> None:
    began = time.perf_counter()
    ended = command("--help")
    assert time.perf_counter() - began < 2  # .12 s on a free machine
    assert "results/<space>/<corpus>-<base>" in ended.stdout


def test_importing_the_analysis_loads_neither_torch_nor_ray_nor_media() -> None:
    assert loaded("import analysis, analysis.__main__") == "[]"
    rooms = "ablation figures folder mlflow_store per_class planned rebuild render report search_table statistics sweep_tables units"
    assert loaded("; ".join(f"import analysis.{room}" for room in rooms.split())) == "[]"


def test_importing_the_analysis_leaves_polars_and_matplotlib_for_later() -> None:
    code = "import sys, analysis; print({'polars', 'matplotlib', 'sklearn', 'numpy', 'jinja2', 'pydantic'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert ended.stdout.strip() == "set()"


@pytest.mark.parametrize("need", ["load", "write_all", "terminal_tables"])
def test_what_the_package_offers_is_documented(need: str) -> None:
    import analysis

    assert need in analysis.__all__
    assert getattr(analysis, need).__doc__
