"""Kills a sweep at random moments and runs the same command again, until it is done; then compares with an undisturbed one.

Run:  make chaos                          # 20 kills in as many sweeps as they take; the tests do three
      python tests/chaos.py --kills 20 --seed 1
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, NamedTuple

import psutil
import typer

SPACE = Path(__file__).parent / "recovery_space.py"
ROOT = Path(__file__).parent.parent
MACHINES = ("laptop", str(Path(__file__).parent / "laptop_one_worker.yaml"))  # in the trial's own process, and in a worker group
VICTIMS = {  # what is killed -> how its process is known among the driver's descendants
    "driver": None,
    "raylet": "raylet",
    "trial": "ray::ImplicitFunc",
    "controller": "ray::TrainController",
    "worker": "ray::RayTrainWorker",
}
LIMIT_SEC = 1800.0  # of one start
BETWEEN_SEC = (5.0, 45.0)
FAILED = 4  # the sweep's exit code


class Ending(NamedTuple):
    """The course of a disturbed sweep."""

    kills: Counter[str]
    starts: int
    retried: int  # starts with `--retry failed`, as a sweep says that saw one unit die three times
    lost: tuple[str, ...]  # records that stood once and were gone later
    again: tuple[str, ...]  # records that were written a second time
    sec: float


def command(machine: str, limit: int, *more: str) -> list[str]:
    """The same words every time, but for `more`."""
    words = ["--limit", str(limit), "--machine", machine, "--results", "results", *more]
    return [sys.executable, "-m", "omnimer_ray.sweep", str(SPACE), *words]


def undisturbed(place: Path, machine: str, limit: int) -> Path:
    """Runs to the end; the results folder."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "log.txt").open("a") as log:
        subprocess.run(command(machine, limit), cwd=place, env=_environment(), stdout=log, stderr=log, check=True, timeout=LIMIT_SEC)
    return folder(place)


def disturbed(
    place: Path, machine: str, limit: int, kills: int, chance: random.Random, between: tuple[float, float] = BETWEEN_SEC
) -> Ending:
    """Kills until the sweep is done, or `kills` times; starts the same command again whenever the driver is gone."""
    place.mkdir(parents=True, exist_ok=True)
    done, starts, retried, code, began = Counter[str](), 0, 0, 0, time.monotonic()
    stood: dict[str, int] = {}
    lost: list[str] = []
    again: list[str] = []
    while True:
        starts, retried = starts + 1, retried + (code == FAILED)
        with (place / "log.txt").open("a") as log:
            words = command(machine, limit, *(["--retry", "failed"] if code == FAILED else []))
            driver = psutil.Popen(words, cwd=place, env=_environment(), stdout=log, stderr=log)
            family: set[psutil.Process] = set()
            _until_it_works(driver, place)
            while sum(done.values()) < kills and not _ended(driver, chance.uniform(*between)):
                family |= set(driver.children(recursive=True))
                if victim := _kill(driver, chance):
                    done[victim] += 1
            code = driver.wait(timeout=LIMIT_SEC)
        psutil.wait_procs(list(family), timeout=60)  # Ray's processes of a dead driver end by themselves
        standing = _records(place)
        lost += sorted(stood.keys() - standing.keys())
        again += sorted(name for name in stood.keys() & standing.keys() if stood[name] != standing[name])
        stood = standing
        if code == 0:
            return Ending(done, starts, retried, tuple(lost), tuple(again), time.monotonic() - began)


def folder(place: Path) -> Path:
    """The one results folder below `place`."""
    (found,) = (path.parent for path in (place / "results" / SPACE.stem).glob("*/plan.json"))
    return found


def contents(results: Path) -> dict[str, bytes]:
    """The contents that must be equal: adapters, the predictions' files, the score tables; and the names of all records."""
    kept = {}
    for pattern in ("stages/*/adapter_model.safetensors", "stages/*/network.safetensors", "runs/*/predictions.parquet", "tables/*"):
        kept.update({str(path.relative_to(results)): path.read_bytes() for path in sorted(results.glob(pattern))})
    kept.update({str(path.relative_to(results)): b"" for path in sorted(results.glob("*/*/record.json"))})
    return kept


def different(left: dict[str, bytes], right: dict[str, bytes]) -> list[str]:
    """The files that are not the same on both sides; tables name the command, machine profile and all."""
    return sorted(name for name in left.keys() | right.keys() if _plain(left.get(name)) != _plain(right.get(name)))


def _plain(content: bytes | None) -> bytes | None:
    for machine in MACHINES:
        content = content.replace(f"--machine {machine} ".encode(), b"") if content is not None else None
    return content


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def _records(place: Path) -> dict[str, int]:
    """The record of every unit that is done, and when it was written."""
    paths = (place / "results").glob("**/record.json")
    return {str(path): path.stat().st_mtime_ns for path in paths if json.loads(path.read_text())["outcome"] == "done"}


def _until_it_works(driver: psutil.Popen, place: Path) -> None:
    """Returns once a worker of this start has taken a step or given an answer, or the driver ended: a kill before that would stop nothing."""
    began = time.time()
    while not _ended(driver, 0.5):
        signs = (*place.glob("results/*/*/stages/*/history.jsonl"), *place.glob("results/*/*/.sweep/progress/*.json"))
        if any(sign.stat().st_mtime > began for sign in signs if sign.exists()):
            return


def _ended(driver: psutil.Popen, sec: float) -> bool:
    """Whether the driver ended by itself within `sec`."""
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


def main(
    kills: int = 20,
    limit: int = 48,
    seed: int = 0,
    place: Annotated[Path | None, typer.Option(help="An empty folder to run in; a temporary one by default.")] = None,
) -> None:
    """Prints how many kills of each kind there were, and whether everything came out equal."""
    place = place or Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"in {place}", flush=True)
    chance, total, bad = random.Random(seed), Counter[str](), 0
    left = contents(undisturbed(place / "undisturbed", MACHINES[0], limit))
    sweep = 0
    while sum(total.values()) < kills:
        machine = MACHINES[sweep % len(MACHINES)]
        ending = disturbed(place / f"sweep{sweep}", machine, limit, kills - sum(total.values()), chance)
        unequal = different(left, contents(folder(place / f"sweep{sweep}")))
        total += ending.kills
        bad += len(unequal) + len(ending.lost) + len(ending.again)
        print(
            f"sweep {sweep} ({Path(machine).stem}): kills {dict(ending.kills)}, {ending.starts} starts ({ending.retried} by --retry failed), {ending.sec:.0f} s; records lost: "
            f"{len(ending.lost)}, written again: {len(ending.again)}; {len(left)} files compared, different: {unequal or 'none'}",
            flush=True,
        )
        sweep += 1
    print(f"{sum(total.values())} kills: {dict(total)}")
    raise typer.Exit(1 if bad else 0)


if __name__ == "__main__":
    typer.run(main)
