"""The sweep command after SIGINT and SIGTERM, and with a hung worker: exit codes, printed lines, and resumption."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import psutil
import pytest

from analysis import load

HERE = Path(__file__).parents[1]
WORDS = [
    str(HERE / "short_space.py"),
    "--limit",
    "48",
    "--machine",
    str(HERE / "quick_machine.yaml"),
    "--evaluate-on",
    "mini_zh",
    "--results",
    "results",
]
RESUME = f"Resume with:  python -m omnimer_ray.sweep {' '.join(WORDS)}\n"
LIMIT_SEC = 300


class Sweep:
    """One start of the command, in its own process group, as a shell would start it."""

    def __init__(self, folder: Path) -> None:
        self.log, self.results = folder / "log.txt", folder / "results" / "short_space" / "mini-tiny-limit48"
        self.before = len(self.log.read_text()) if self.log.exists() else 0
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # as in an activated environment
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "COLUMNS": "300", "PATH": path}
        with self.log.open("a") as log:
            command = [sys.executable, "-m", "omnimer_ray.sweep", *WORDS]
            self.process = psutil.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def printed(self) -> str:
        """Output of this start."""
        return self.log.read_text()[self.before :]

    def steps(self) -> int:
        """Number of lines in the stage's history."""
        return sum(len(path.read_text().splitlines()) for path in self.results.glob("stages/*/history.jsonl"))

    def wait_for_steps(self) -> None:
        """Wait for two steps of this start."""
        before, deadline = self.steps(), time.monotonic() + LIMIT_SEC
        while self.steps() < before + 2:
            assert self.process.poll() is None, self.printed
            assert time.monotonic() < deadline, self.printed
            time.sleep(0.1)

    def stop(self, number: int, times: int = 1) -> int:
        """Send a signal to the whole process group, as a terminal does; return the exit code."""
        for _ in range(times):
            os.killpg(self.process.pid, number)
            time.sleep(0.3)
        return int(self.process.wait(timeout=LIMIT_SEC))

    def records(self) -> list[str]:
        """`runs` or `stages` for each record."""
        return sorted(path.parent.parent.name for path in self.results.glob("*/*/record.json"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Iterator[Path]:
    """One folder in which each test of this file resumes the sweep of the one before; processes that are left are killed at the end."""
    yield tmp_path_factory.mktemp("signals")
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "omnimer_ray.sweep" in child.cmdline():
                child.kill()  # Ray's processes end with it


def test_one_ctrl_c_ends_the_sweep_with_a_checkpoint(folder: Path) -> None:
    sweep = Sweep(folder)
    sweep.wait_for_steps()
    assert sweep.stop(signal.SIGINT) == 130
    assert "stopping: running units write a checkpoint after their step; Ctrl-C again stops at once" in sweep.printed
    assert sweep.printed.endswith(f"what was finished is kept. {RESUME}")
    (checkpoints,) = sweep.results.glob("stages/*/checkpoints")
    assert max(int(path.name) for path in checkpoints.iterdir()) == sweep.steps(), "of the last step, for any checkpoint_every"
    assert sweep.records() == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_a_second_ctrl_c_or_sigterm_stops_at_once(folder: Path, number: int, times: int) -> None:
    sweep = Sweep(folder)
    sweep.wait_for_steps()
    descendants = sweep.process.children(recursive=True)
    began = time.monotonic()
    assert sweep.stop(number, times) == 130, sweep.printed
    assert time.monotonic() - began < 15
    assert sweep.printed.endswith(f"what was finished is kept. {RESUME}")
    if times == 1:  # the unit may end before the second Ctrl-C, which then meets Ray's shutdown
        assert "stopped at once; " in sweep.printed
    assert psutil.wait_procs(descendants, timeout=20)[1] == [], "Ray and its workers have ended"
    assert sweep.records() == []


def test_a_hung_worker_is_killed_and_the_sweep_continues_to_its_end(folder: Path) -> None:
    sweep = Sweep(folder)
    sweep.wait_for_steps()
    (worker,) = (process for process in sweep.process.children(recursive=True) if process.name().startswith("ray::ImplicitFunc"))
    worker.suspend()
    began = time.monotonic()
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE and time.monotonic() - began < LIMIT_SEC:
        time.sleep(0.1)
    assert time.monotonic() - began < 2 * 10, "twice step_timeout_sec"
    assert sweep.process.wait(timeout=LIMIT_SEC) == 0, sweep.printed
    assert re.search(
        r"\] hung   Base / sentiment, seed 0: it finished no micro-batch and no answer for \d+ s \(step_timeout_sec\)", sweep.printed
    )
    assert sweep.records() == ["runs", "stages"]
    (cost,) = (json.loads(path.read_text()) for path in sweep.results.glob("runs/*/cost.json"))
    assert [(attempt["outcome"], attempt["micro_batch"]) for attempt in cost["attempts"]] == [("hung", 8)]
    _check_both_corpora_are_answered(sweep)
    assert [json.loads(line)["step"] for line in next(sweep.results.glob("stages/*/history.jsonl")).read_text().splitlines()] == [
        *range(1, 38)
    ]


def _check_both_corpora_are_answered(sweep: Sweep) -> None:
    results = load(sweep.results)
    assert "runs also answer mini_zh: 14 test clips, fingerprint " in sweep.printed
    assert results.predictions["evaluation_corpus"].unique().to_list() == ["mini"]
    assert results.elsewhere["evaluation_corpus"].unique().to_list() == ["mini_zh"]
    answered = results.other_clips.filter(pl.col("split") == "test")
    assert sorted(results.elsewhere["clip"]) == sorted(answered["clip"])
    assert "| Base | mini_zh | " in (sweep.results / "tables" / "sentiment_transfer.md").read_text()
