"""A whole sweep with two workers per run: equal to one with a single worker, except for the order of floating-point additions."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import chaos
import pytest

MAX_DISTANCE = 1e-4  # relative L2 distance of adapters


def predictions(folder: Path) -> dict[str, list[str | None]]:
    import polars as pl

    return {path.parent.name: pl.read_parquet(path)["prediction"].to_list() for path in sorted(folder.glob("runs/*/predictions.parquet"))}


def adapter_distances(left: Path, right: Path) -> dict[str, float]:
    """Stage -> L2 distance of the adapters of two sweeps, relative to the norm of the left one."""
    import torch
    from safetensors.torch import load_file

    distances = {}
    for path in sorted(left.glob("stages/*/adapter_model.safetensors")):
        one, other = load_file(path), load_file(right / path.relative_to(left))
        assert one.keys() == other.keys()
        distance = torch.stack([(one[name] - other[name]).norm() for name in one]).norm()
        distances[path.parent.name] = float(distance / torch.stack([tensor.norm() for tensor in one.values()]).norm())
    return distances


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_runs_with_two_workers_equal_runs_with_one(tmp_path: Path, shared_cache: Path) -> None:
    one, two = (chaos.undisturbed(tmp_path / machine, machine, 48) for machine in ("laptop", "laptop_two_workers"))
    costs = [json.loads(path.read_text()) for path in sorted(two.glob("runs/*/cost.json"))]
    assert Counter((cost["method"], cost["workers"]) for cost in costs) == {("thinker", 2): 4, ("fusion", 1): 4, ("late_fusion", 1): 2}
    distances = adapter_distances(one, two)
    print(distances)
    assert len(distances) == 5
    assert max(distances.values()) < MAX_DISTANCE
    assert predictions(one) == predictions(two)
