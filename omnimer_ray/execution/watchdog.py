"""Ends a process whose unit stands still. A process of its own, since a thread would stand still with the rest.

It runs by its path, so it needs nothing but Python: `python -I watchdog.py '{"pid": ..., ...}'`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

LOOK_EVERY_SEC = 1.0


class Watchdog:
    """While it is entered, this process is killed once none of `files` changes for as long as it may; `told` then says why."""

    def __init__(self, files: Sequence[Path], startup_sec: float, step_sec: float, told: Path) -> None:
        told.unlink(missing_ok=True)
        about = {"pid": os.getpid(), "files": [str(file) for file in files], "startup_sec": startup_sec, "step_sec": step_sec}
        self.command = [sys.executable, "-I", __file__, json.dumps({**about, "told": str(told)})]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()


def stands_still(pid: int, files: Sequence[str], startup_sec: float, step_sec: float) -> str | None:
    """Returns why the parent is taken to stand still; None once it is gone.

    Time is counted in looks, so that a machine that slept does not count as a worker that did.
    """
    seen, still, limit = _signs(files), 0.0, startup_sec
    while os.getppid() == pid:
        tick = min(LOOK_EVERY_SEC, limit / 4)
        time.sleep(tick)
        if (now := _signs(files)) != seen:
            seen, still, limit = now, 0.0, step_sec
            continue
        still += tick
        if still > limit:
            name = "startup_timeout_sec, before its first step or answer" if limit == startup_sec else "step_timeout_sec"
            return f"it took no step and gave no answer for {still:.0f} s ({name}); raise that in the machine profile if it was only slow"
    return None


def _signs(files: Sequence[str]) -> list[tuple[int, int, int] | None]:
    """What changes when a worker writes its progress."""
    signs: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            found = Path(file).stat()
            signs.append((found.st_ino, found.st_size, found.st_mtime_ns))
        except OSError:
            signs.append(None)
    return signs


def main(about: str) -> None:
    """Watches until the parent is gone; one that stands still is told of, and killed."""
    given = json.loads(about)
    told = Path(given.pop("told"))
    reason = stands_still(**given)
    if reason is not None:
        told.parent.mkdir(parents=True, exist_ok=True)
        temporary = told.with_name(f".{told.name}.{os.getpid()}.tmp")  # the other workers' watchdogs say the same
        temporary.write_text(reason, encoding="utf-8")
        temporary.replace(told)
        os.kill(given["pid"], signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
