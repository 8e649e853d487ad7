"""A search from end to end: killed in the middle, it goes on with its history, and confirms its best on seeds that no trial saw."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chaos
import psutil
import pytest

from omnimer_ray.records import read_record

SPACE = Path(__file__).parents[1] / "small_search.py"
LIMIT_SEC = 1200.0


def start(place: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "omnimer_ray.sweep", str(SPACE), "--limit", "96", "--results", "results"]
    place.mkdir(parents=True, exist_ok=True)
    with (place / "log.txt").open("a") as log:
        return subprocess.Popen(words, cwd=place, env=chaos._environment(), stdout=log, stderr=log)


def trials(folder: Path) -> list[dict[str, Any]]:
    path = folder / "trials.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["trials"] if path.exists() else []
    return rows


def wait(driver: subprocess.Popen[bytes], until: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_SEC
    while not until():
        assert time.monotonic() < end
        assert driver.poll() is None, "it ended too early"
        time.sleep(0.5)


def is_training(folder: Path) -> bool:
    """Whether a stage of a trial has steps and no end."""
    return any(not (path.parent / "record.json").exists() for path in folder.glob("trials/stages/*/history.jsonl"))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_killed_search_resumes_with_its_history_and_confirms_its_best_trial(tmp_path: Path, shared_cache: Path) -> None:
    folder = tmp_path / "results" / "small_search" / "mini-tiny-limit96"
    first = start(tmp_path)
    wait(first, lambda: any(row["outcome"] for row in trials(folder)) and is_training(folder))
    family = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.wait()
    psutil.wait_procs(family, timeout=60)  # Ray's end by themselves when their driver is gone
    before, journal = trials(folder), (folder / "trials" / "study.journal").read_bytes()
    assert len(before) < 6
    assert any(row["outcome"] is None for row in before)
    assert start(tmp_path).wait(timeout=LIMIT_SEC) == 0, (tmp_path / "log.txt").read_text()
    rows = trials(folder)
    assert [row["outcome"] in ("done", "pruned") for row in rows] == [True] * 6
    assert [now for now, was in zip(rows, before, strict=False) if was["outcome"] and now != was] == [], "history"
    assert [(now["params"], now["signature"]) for now in rows[: len(before)]] == [(was["params"], was["signature"]) for was in before]
    assert (folder / "trials" / "study.journal").read_bytes().startswith(journal)
    check_trials(folder)
    check_confirmed(folder, rows)
    log = (tmp_path / "log.txt").read_text()
    assert log.rstrip().endswith("validation was opened once for each of 6 confirmed runs, and by no trial")


def check_trials(folder: Path) -> None:
    manifest = json.loads((folder / "trials" / ".sweep" / "manifest.json").read_text())
    assert {clip["split"] for clip in manifest} == {"train"}
    records = [read_record(path) or {} for path in (folder / "trials" / "runs").iterdir()]
    assert {record["validation_opened"] for record in records} == {"none"}
    assert len(records) == 6


def check_confirmed(folder: Path, rows: list[dict[str, Any]]) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    assert [name.split(":")[0] for name in plan["variants"]] == ["Base", "best 1", "best 2"]
    assert {row["seed"] for row in plan["rows"]} == {1, 2}
    records = [read_record(folder / "runs" / row["signature"]) or {} for row in plan["rows"]]
    assert {record["validation_opened"] for record in records} == {"once, to report"}
    assert not {row["signature"] for row in plan["rows"]} & {row["signature"] for row in rows}
    table = (folder / "tables" / "search.md").read_text()
    assert "STAND-IN" in table
    assert table.count("\n| ") == 6 + 2, "a line per trial"
