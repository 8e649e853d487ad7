"""Two sweeps at once on the same results, one killed while the vision tower's outputs are written: both right, each entry made once."""

import sys
import time
from pathlib import Path

import chaos
import psutil
import pytest

SPACES = (chaos.SPACE, chaos.SPACE.with_name("short_space.py"))
LIMIT = 48


def start(space: Path, place: Path) -> psutil.Popen:
    place.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "omnimer_ray.sweep", str(space), "--limit", str(LIMIT), "--results", "results"]
    with (place / f"{space.stem}.txt").open("a") as log:
        return psutil.Popen(words, cwd=place, env=chaos._environment(), stdout=log, stderr=log)


def entries(place: Path) -> dict[str, tuple[int, int]]:
    """Each entry's file, and when it was written."""
    found = {}
    for path in place.glob("results/features/*/*.safetensors"):
        about = path.stat()
        found[path.name] = about.st_ino, about.st_mtime_ns
    return found


def results_of(space: Path, place: Path) -> dict[str, bytes]:
    (folder,) = (path.parent for path in (place / "results" / space.stem).glob("*/plan.json"))
    return chaos.contents(folder)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_both_sweeps_are_right_and_each_entry_is_made_once(tmp_path: Path, shared_cache: Path) -> None:
    alone, both = tmp_path / "alone", tmp_path / "both"
    for space in SPACES:
        assert start(space, alone).wait(600) == 0
    started = [start(space, both) for space in SPACES]
    seen: dict[str, tuple[int, int]] = {}
    while len(seen) < 5:  # it is being filled
        assert all(driver.poll() is None for driver in started), (both / "recovery_space.txt").read_text()
        seen = entries(both)
        time.sleep(0.02)
    victims = [started[0], *started[0].children(recursive=True)]
    for process in victims:
        process.kill()
    psutil.wait_procs(victims, timeout=60)
    cut = entries(both)
    assert len(cut) < LIMIT
    assert cut.items() >= seen.items()
    resumed = start(SPACES[0], both)
    assert started[1].wait(900) == 0
    assert resumed.wait(900) == 0
    full = entries(both)
    assert len(full) == LIMIT
    assert full.items() >= cut.items()  # what was made is not made again
    assert not list(both.glob("results/features/*/.*"))  # no half-written file is left that could be taken for an entry
    for space in SPACES:
        assert chaos.different(results_of(space, alone), results_of(space, both)) == []
