"""A process that hangs is killed and the reason is written; a process that works is not killed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from omnimer_ray.execution import watchdog

HANG = """if True:
    import sys, time
    from pathlib import Path
    from omnimer_ray.execution.watchdog import Watchdog
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    with Watchdog([folder / "progress.json", folder / "history.jsonl"], 4.0, 1.0, folder / "hung" / "unit.txt") as watchdog:
        for step in range(steps):
            time.sleep(0.5)
            with (folder / "history.jsonl").open("a") as file:
                file.write(f"{step}\\n")
        for micro_batch in range(6 if sys.argv[3] == "beat" else 0):
            time.sleep(0.5)
            watchdog.beat()
        if sys.argv[3] == "sleep":
            time.sleep(60)
        if sys.argv[3] == "stop":
            import os, signal
            os.kill(os.getpid(), signal.SIGSTOP)
        if sys.argv[3] == "hold":
            import ctypes
            while True:
                ctypes.PyDLL(None).sleep(60)  # with the GIL held: no thread of Python runs
    print("ended")
"""


def run(folder: Path, steps: int, then: str) -> "tuple[subprocess.CompletedProcess[str], float]":
    began = time.monotonic()
    words = [sys.executable, "-c", HANG, str(folder), str(steps), then]
    return subprocess.run(words, capture_output=True, text=True, timeout=50), time.monotonic() - began


@pytest.mark.parametrize("then", ["sleep", "stop", "hold"])
def test_a_hung_process_is_killed_within_twice_its_timeout(tmp_path: Path, then: str) -> None:
    (tmp_path / "hung").mkdir()
    (tmp_path / "hung" / "unit.txt").write_text("reason of an earlier attempt")
    ended, sec = run(tmp_path, 3, then)
    assert (ended.returncode, ended.stdout) == (-9, "")
    assert 2.5 < sec < 1.5 + 2 * 1.0 + 2 + 2 * (then == "stop")  # three steps, the time, starting Python twice, waiting for stacks
    written = (tmp_path / "hung" / "unit.txt").read_text()
    reason = "it finished no micro-batch and no answer for 1 s (step_timeout_sec); raise that in the machine profile if it was only slow"
    stacks = [path for path in (tmp_path / "hung").iterdir() if path.name != "unit.txt"]
    if then == "stop":
        assert (written, stacks) == (reason, [])  # a stopped process cannot write its stacks
    else:
        line = next(
            number for number, text in enumerate(HANG.splitlines(), 1) if "sleep(60)" in text and ("PyDLL" in text) == (then == "hold")
        )
        assert written == f"{reason}; it hung at <string>:{line} in <module>, all stacks are in {stacks[0]}"
        assert f'File "<string>", line {line} in <module>' in stacks[0].read_text()


def test_the_frame_of_the_thread_that_runs_the_package_is_reported() -> None:
    trace = (
        'Thread 0x01 (most recent call first):\n  File "/x/torch/c10d.py", line 7 in all_reduce\n  File "/x/omnimer_ray/loop.py", line 9 in train\n\n'
        'Current thread 0x02 (most recent call first):\n  File "/x/ray/main.py", line 1 in main_loop\n'
    )
    assert watchdog._innermost(trace) == "/x/torch/c10d.py:7 in all_reduce"
    assert watchdog._innermost(trace.split("\n\n")[1]) == "/x/ray/main.py:1 in main_loop"
    assert watchdog._innermost("Fatal") == "an unknown place"


def test_the_first_step_has_a_longer_timeout(tmp_path: Path) -> None:
    ended, sec = run(tmp_path, 0, "sleep")
    assert ended.returncode == -9
    assert sec > 4
    assert "for 5 s (startup_timeout_sec, before its first micro-batch or answer)" in (tmp_path / "hung" / "unit.txt").read_text()


def test_a_process_that_works_is_not_killed(tmp_path: Path) -> None:
    ended, _ = run(tmp_path, 5, "end")
    assert (ended.returncode, ended.stdout) == (0, "ended\n")
    assert list(tmp_path.iterdir()) == [tmp_path / "history.jsonl"]


def test_a_step_longer_than_the_timeout_is_no_hang_while_micro_batches_end(tmp_path: Path) -> None:
    ended, sec = run(tmp_path, 1, "beat")
    assert (ended.returncode, ended.stdout) == (0, "ended\n")
    assert sec > 3, "three times the limit without a step"


def test_the_watchdog_ends_with_its_parent() -> None:
    assert watchdog.find_hang(pid=0, files=[], startup_sec=1, step_sec=1) is None
