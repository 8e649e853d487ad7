"""The command as a person stops it, and as it finds a worker that stands still: exit codes, what it prints, and that it goes on."""

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

import psutil
import pytest

HERE = Path(__file__).parents[1]
WORDS = [str(HERE / "short_space.py"), "--limit", "48", "--machine", str(HERE / "quick_machine.yaml"), "--results", "results"]
GO_ON = f"Resume with:  python -m omnimer_ray.sweep {' '.join(WORDS)}\n"
LIMIT_SEC = 300


class Sweep:
    """One start of the command, in a process group of its own as a shell would make it."""

    def __init__(self, place: Path) -> None:
        self.log, self.results = place / "log.txt", place / "results" / "short_space" / "mini-tiny-limit48"
        self.before = len(self.log.read_text()) if self.log.exists() else 0
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # as in an activated environment
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "COLUMNS": "300", "PATH": path}
        with self.log.open("a") as log:
            command = [sys.executable, "-m", "omnimer_ray.sweep", *WORDS]
            self.process = psutil.Popen(command, cwd=place, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def said(self) -> str:
        """What this start has printed."""
        return self.log.read_text()[self.before :]

    def steps(self) -> int:
        """Lines of the stage's history."""
        return sum(len(path.read_text().splitlines()) for path in self.results.glob("stages/*/history.jsonl"))

    def until_it_trains(self) -> None:
        """Waits for two steps of this start."""
        before, until = self.steps(), time.monotonic() + LIMIT_SEC
        while self.steps() < before + 2:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < until, self.said
            time.sleep(0.1)

    def stop(self, number: int, times: int = 1) -> int:
        """A signal to the whole group, as a terminal sends it; the exit code."""
        for _ in range(times):
            os.killpg(self.process.pid, number)
            time.sleep(0.3)
        return int(self.process.wait(timeout=LIMIT_SEC))

    def records(self) -> list[str]:
        return sorted(path.parent.parent.name for path in self.results.glob("*/*/record.json"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Iterator[Path]:
    """The tests of this file go on in one folder; nothing that they start outlives them."""
    yield tmp_path_factory.mktemp("signals")
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "omnimer_ray.sweep" in child.cmdline():
                child.kill()  # Ray goes with it


def test_ctrl_c_once_ends_with_a_checkpoint(place: Path) -> None:
    sweep = Sweep(place)
    sweep.until_it_trains()
    assert sweep.stop(signal.SIGINT) == 130
    assert "stopping: running units write a checkpoint after their step; Ctrl-C again stops at once" in sweep.said
    assert sweep.said.endswith(f"what was finished is kept. {GO_ON}")
    (kept,) = sweep.results.glob("stages/*/checkpoints")
    assert max(int(place.name) for place in kept.iterdir()) == sweep.steps(), "of the last step, whatever checkpoint_every says"
    assert sweep.records() == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_twice_or_sigterm_stops_at_once(place: Path, number: int, times: int) -> None:
    sweep = Sweep(place)
    sweep.until_it_trains()
    family = sweep.process.children(recursive=True)
    began = time.monotonic()
    assert sweep.stop(number, times) == 130
    assert time.monotonic() - began < 15
    assert sweep.said.endswith(f"stopped at once; what was finished is kept. {GO_ON}")
    assert psutil.wait_procs(family, timeout=20)[1] == [], "Ray and its workers are gone"
    assert sweep.records() == []


def test_a_worker_that_stands_still_is_found_and_the_sweep_goes_on_to_its_end(place: Path) -> None:
    sweep = Sweep(place)
    sweep.until_it_trains()
    (worker,) = (process for process in sweep.process.children(recursive=True) if process.name().startswith("ray::ImplicitFunc"))
    worker.suspend()
    began = time.monotonic()
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE and time.monotonic() - began < LIMIT_SEC:
        time.sleep(0.1)
    assert time.monotonic() - began < 2 * 10, "twice step_timeout_sec"
    assert sweep.process.wait(timeout=LIMIT_SEC) == 0, sweep.said
    assert re.search(
        r"\] hung   Base / sentiment, seed 0: it finished no micro-batch and no answer for \d+ s \(step_timeout_sec\)", sweep.said
    )
    assert sweep.records() == ["runs", "stages"]
    (cost,) = (json.loads(path.read_text()) for path in sweep.results.glob("runs/*/cost.json"))
    assert [(attempt["outcome"], attempt["micro_batch"]) for attempt in cost["attempts"]] == [("hung", 8)]
    assert [json.loads(line)["step"] for line in next(sweep.results.glob("stages/*/history.jsonl")).read_text().splitlines()] == [
        *range(1, 38)
    ]
