"""A killed sweep, started again, ends where an undisturbed one ends: to the bit. `make chaos` is the long form."""

import random
from pathlib import Path

import chaos
import pytest


@pytest.mark.timeout(1800)
def test_kills_change_nothing(tmp_path: Path, shared_cache: Path) -> None:
    left = chaos.contents(chaos.undisturbed(tmp_path / "undisturbed", "laptop", 48))
    assert sum(name.startswith("stages/") and name.endswith("record.json") for name in left) == 5  # stage I once, for both tasks
    assert sum(name.startswith("runs/") and name.endswith("record.json") for name in left) == 4
    ending = chaos.disturbed(tmp_path / "disturbed", "laptop", 48, kills=3, chance=random.Random(1), between=(2, 10))
    assert sum(ending.kills.values()) == 3
    assert (ending.lost, ending.again) == ((), ())
    assert chaos.different(left, chaos.contents(chaos.folder(tmp_path / "disturbed"))) == []


def test_what_differs_is_named() -> None:
    left = {"runs/a/predictions.parquet": b"1", "tables/emotion.md": b"sweep --machine laptop --results results"}
    assert chaos.different(left, dict(left)) == []
    assert chaos.different(left, {**left, "runs/a/predictions.parquet": b"2"}) == ["runs/a/predictions.parquet"]
    assert chaos.different(left, {}) == sorted(left)
    other = f"sweep --machine {chaos.MACHINES[1]} --results results".encode()
    assert chaos.different(left, {**left, "tables/emotion.md": other}) == []
