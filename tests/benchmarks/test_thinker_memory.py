"""The whole measurement on the tiny shape, and a random base of another shape that loads like any checkpoint."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.random_base import make
from benchmarks.thinker_memory import GRIDS, PAIRS, _sweep, app
from omnimer_ray.model.bases import locate
from omnimer_ray.model.dimensions import Shape, parameters, read_shape

SMALL = Shape(256, 2, 2, 1, 640, 2048, 160, 1, 320, 128, 256, 256, 1, 320, 256)


def test_the_grids_have_the_tokens_that_they_stand_for() -> None:
    assert {tokens: PAIRS * height * width // 4 for tokens, (height, width) in GRIDS.items()} == {tokens: tokens for tokens in GRIDS}


def test_the_command_writes_what_it_measured_and_what_it_did_not(tmp_path: Path) -> None:
    words = [
        "--shape",
        "tiny",
        "--video-tokens",
        "300",
        "--items",
        "1",
        "--no-sweep",
        "--folder",
        str(tmp_path / "bases"),
        "--out",
        str(tmp_path / "out"),
    ]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    found = json.loads((tmp_path / "out" / "thinker_memory.json").read_text())
    assert (found["device"], found["sweep"]) == ("CPU", "not run: --no-sweep")
    rows = {row["work"]: row for row in found["rows"]}
    assert list(rows) == [
        "training, micro-batch 1, recompute",
        "training, micro-batch 1",
        "training, micro-batch 2, recompute",
        "training, micro-batch 1, recompute, kept outputs",
        "training, micro-batch 1, kept outputs",
        "evaluation",
        "supervision",
    ]
    assert {row["note"] for row in rows.values()} == {"not measured: no card"}
    assert {row["peak"] for row in rows.values()} == {row["share_of_peak"] for row in rows.values()} == {None}
    whole, again = rows["training, micro-batch 1"], rows["training, micro-batch 1, recompute"]
    assert whole["kept"] == pytest.approx(whole["kept_estimated"], rel=0.05)
    assert again["kept"] < again["kept_estimated"] < whole["kept"], "the estimate has the layer that is computed again as well"
    page = (tmp_path / "out" / "thinker_memory.md").read_text()
    assert page.count("| tiny | 300 |") == len(rows)
    assert "- sweep: not run: --no-sweep\n" in page


def test_a_shape_that_is_not_known_is_named() -> None:
    ended = CliRunner().invoke(app, ["--shape", "70B", "--video-tokens", "7"])
    assert ended.exit_code == 2
    assert "7, 70B: known shapes are 7B, 3B and tiny, known video tokens 300, 640, 1260" in " ".join(ended.output.replace("│", " ").split())


def test_a_random_base_has_its_shape_and_loads_like_any_checkpoint(tmp_path: Path) -> None:
    from omnimer_ray.model.thinker import load_thinker

    folder = make(tmp_path / "random", SMALL, "fp32", "cpu")
    assert read_shape(folder) == SMALL
    thinker = load_thinker(locate(str(folder)), "fp32")
    assert sum(parameter.numel() for parameter in thinker.model.parameters()) == sum(parameters(SMALL))
    before = (folder / "config.json").stat().st_mtime_ns
    assert make(folder, SMALL, "fp32", "cpu") == folder
    assert (folder / "config.json").stat().st_mtime_ns == before


def test_without_ray_the_sweep_is_reported_as_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None if package in ("ray", "deepspeed") else object())
    assert _sweep("tiny", tmp_path, tmp_path) == "not run: ray and deepspeed not installed"
