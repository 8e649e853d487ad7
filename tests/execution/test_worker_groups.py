"""Worker groups of two, a whole sweep long: the same runs as with one worker each, but for the order in which numbers are added."""

from __future__ import annotations

import json
from pathlib import Path

import chaos
import pytest

DRIFT = 1e-4  # relative L2 of an adapter


def predictions(folder: Path) -> dict[str, list[str | None]]:
    import polars as pl

    return {path.parent.name: pl.read_parquet(path)["prediction"].to_list() for path in sorted(folder.glob("runs/*/predictions.parquet"))}


def drifts(left: Path, right: Path) -> dict[str, float]:
    """By stage: how far the adapters are apart, in parts of their length."""
    import torch
    from safetensors.torch import load_file

    found = {}
    for path in sorted(left.glob("stages/*/adapter_model.safetensors")):
        one, other = load_file(path), load_file(right / path.relative_to(left))
        assert one.keys() == other.keys()
        apart = torch.stack([(one[name] - other[name]).norm() for name in one]).norm()
        found[path.parent.name] = float(apart / torch.stack([tensor.norm() for tensor in one.values()]).norm())
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_workers_a_run_make_what_one_makes(tmp_path: Path, shared_cache: Path) -> None:
    one, two = (chaos.undisturbed(tmp_path / machine, machine, 48) for machine in ("laptop", "laptop_two_workers"))
    costs = [json.loads(path.read_text()) for path in sorted(two.glob("runs/*/cost.json"))]
    assert [cost["workers"] for cost in costs] == [2] * 4
    apart = drifts(one, two)
    print(apart)
    assert len(apart) == 5
    assert max(apart.values()) < DRIFT
    assert predictions(one) == predictions(two)
