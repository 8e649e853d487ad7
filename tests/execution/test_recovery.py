"""A sweep that is killed and started again has the same results, bit for bit, as an undisturbed one. `make chaos` is the long form."""

import random
from pathlib import Path

import chaos
import pytest


@pytest.mark.timeout(1800)
def test_the_results_are_bitwise_equal_after_kills_and_restarts(tmp_path: Path, shared_cache: Path) -> None:
    left = chaos.contents(chaos.undisturbed(tmp_path / "undisturbed", "laptop", 48))
    assert sum(name.startswith("stages/") and name.endswith("record.json") for name in left) == 9  # both tasks share stage I
    assert sum(name.startswith("runs/") and name.endswith("record.json") for name in left) == 10
    ending = chaos.disturbed(tmp_path / "disturbed", "laptop", 48, kills=3, chance=random.Random(1), between=(2, 10))
    assert sum(ending.kills.values()) == 3
    assert (ending.lost, ending.again) == ((), ())
    assert chaos.different(left, chaos.contents(chaos.folder(tmp_path / "disturbed"))) == []


def test_differences_are_listed_except_the_machine_profile_in_tables() -> None:
    left = {"runs/a/predictions.parquet": b"1", "tables/emotion.md": b"sweep --machine laptop --results results"}
    assert chaos.different(left, dict(left)) == []
    assert chaos.different(left, {**left, "runs/a/predictions.parquet": b"2"}) == ["runs/a/predictions.parquet"]
    assert chaos.different(left, {}) == sorted(left)
    other = f"sweep --machine {chaos.MACHINES[1]} --results results".encode()
    assert chaos.different(left, {**left, "tables/emotion.md": other}) == []
