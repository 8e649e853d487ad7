"""Kills a sweep at random moments and runs the same command again, until it is done; then compares with an undisturbed one.

Run:  make chaos                          # 20 kills; the tests do three
      python tests/chaos.py --kills 20 --machine laptop
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import psutil
import typer

SPACE = Path(__file__).parent / "recovery_space.py"
ROOT = Path(__file__).parent.parent
VICTIMS = {  # what is killed -> how its process is known among the driver's descendants
    "driver": None,
    "raylet": "raylet",
    "trial": "ray::ImplicitFunc",
    "controller": "ray::TrainController",
    "worker": "ray::RayTrainWorker",
}
LIMIT_SEC = 900.0


class Ending(NamedTuple):
    """How a disturbed sweep went."""

    kills: Counter[str]
    starts: int
    sec: float


def command(machine: str, limit: int) -> list[str]:
    """The same words every time."""
    words = [sys.executable, "-m", "omnimer_ray.sweep", str(SPACE), "--limit", str(limit), "--machine", machine, "--results", "results"]
    return words


def undisturbed(place: Path, machine: str, limit: int) -> Path:
    """Runs to the end; the results folder."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "log.txt").open("a") as log:
        subprocess.run(command(machine, limit), cwd=place, env=_environment(), stdout=log, stderr=log, check=True, timeout=LIMIT_SEC)
    return folder(place)


def disturbed(place: Path, machine: str, limit: int, kills: int, seed: int) -> Ending:
    """Kills `kills` times, each after a random while, whatever process comes up; starts the same command again whenever the driver is gone."""
    place.mkdir(parents=True, exist_ok=True)
    chance, done, starts, began = random.Random(seed), Counter[str](), 0, time.monotonic()
    while True:
        starts += 1
        with (place / "log.txt").open("a") as log:
            driver = psutil.Popen(command(machine, limit), cwd=place, env=_environment(), stdout=log, stderr=log)
            while driver.is_running() and driver.status() != psutil.STATUS_ZOMBIE and sum(done.values()) < kills:
                if _wait(driver, chance.uniform(4, 40)):
                    break
                if victim := _kill(driver, chance):
                    done[victim] += 1
            code = driver.wait(timeout=LIMIT_SEC)
        _reap()
        if code == 0 and (sum(done.values()) >= kills or _all_recorded(place)):
            return Ending(done, starts, time.monotonic() - began)
        assert time.monotonic() - began < LIMIT_SEC * 4, f"not done after {starts} starts; see {place / 'log.txt'}"


def folder(place: Path) -> Path:
    """The one results folder below `place`."""
    (found,) = (path.parent for path in (place / "results" / SPACE.stem).glob("*/plan.json"))
    return found


def contents(results: Path) -> dict[str, bytes]:
    """What must be equal: adapters, the predictions' files, the score tables; and the names of all records."""
    kept = {}
    for pattern in ("stages/*/adapter_model.safetensors", "runs/*/predictions.parquet", "tables/*"):
        kept.update({str(path.relative_to(results)): path.read_bytes() for path in sorted(results.glob(pattern))})
    kept.update({str(path.relative_to(results)): b"" for path in sorted(results.glob("*/*/record.json"))})
    return kept


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def _wait(driver: psutil.Popen, sec: float) -> bool:
    """Whether the driver ended by itself meanwhile."""
    try:
        driver.wait(timeout=sec)
    except psutil.TimeoutExpired:
        return False
    return True


def _kill(driver: psutil.Popen, chance: random.Random) -> str | None:
    """SIGKILL of one process that is there, of a kind drawn evenly; None where nothing could be killed."""
    family: dict[str, list[psutil.Process]] = {"driver": [driver]}
    for process in driver.children(recursive=True):
        try:
            title = " ".join(process.cmdline()) or process.name()
        except psutil.Error:
            continue
        for victim, mark in VICTIMS.items():
            if mark and (process.name() == mark or title.startswith(mark)):
                family.setdefault(victim, []).append(process)
    victim = chance.choice(sorted(family))
    try:
        chance.choice(family[victim]).kill()
    except psutil.Error:
        return None
    return victim


def _reap() -> None:
    """Waits until Ray's processes of a dead driver are gone; they end by themselves when their parent has."""
    until = time.monotonic() + 30
    while time.monotonic() < until and any(process.name() in ("raylet", "gcs_server") for process in psutil.process_iter()):
        time.sleep(0.5)


def _all_recorded(place: Path) -> bool:
    return len(list(folder(place).glob("runs/*/record.json"))) == 4


def main(kills: int = 20, machine: str = "laptop", limit: int = 48, seed: int = 0, place: Path = Path("chaos")) -> None:
    """Prints how many kills of each kind there were, and whether everything came out equal."""
    left = contents(undisturbed(place / "undisturbed", machine, limit))
    ending = disturbed(place / "disturbed", machine, limit, kills, seed)
    right = contents(folder(place / "disturbed"))
    different = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
    print(f"kills: {dict(ending.kills)}; starts: {ending.starts}; {ending.sec:.0f} s")
    print(f"{len(left)} files compared; different: {different or 'none'}")
    raise typer.Exit(1 if different else 0)


if __name__ == "__main__":
    typer.run(main)
