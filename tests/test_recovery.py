"""A killed sweep, started again, ends where an undisturbed one ends: to the bit."""

from pathlib import Path

import chaos
import pytest


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_change_nothing(tmp_path: Path, shared_cache: Path) -> None:
    left = chaos.contents(chaos.undisturbed(tmp_path / "undisturbed", "laptop", 48))
    ending = chaos.disturbed(tmp_path / "disturbed", "laptop", 48, kills=3, seed=1)
    right = chaos.contents(chaos.folder(tmp_path / "disturbed"))
    assert sum(ending.kills.values()) >= 1
    assert left.keys() == right.keys()
    assert [name for name in left if left[name] != right[name]] == []
    assert sum(name.startswith("stages/") and name.endswith("record.json") for name in left) == 5  # stage I once, for both tasks
    assert sum(name.startswith("runs/") and name.endswith("record.json") for name in left) == 4
