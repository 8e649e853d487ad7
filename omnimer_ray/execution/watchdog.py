"""Ends a process whose unit stands still. A process of its own, since a thread would stand still with the rest.

It runs by its path, so it needs nothing but Python: `python -I watchdog.py '{"pid": ..., ...}'`. Kept instead of
`faulthandler.dump_traceback_later`, because that thread stops with a stopped process, and each rank would have to restart it by itself.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

LOOK_EVERY_SEC = 1.0


class Watchdog:
    """While it is entered, kill this process once it calls no `beat` and none of `files` changes for too long; `told` then holds the reason."""

    def __init__(self, files: Sequence[Path], startup_sec: float, step_sec: float, told: Path) -> None:
        told.unlink(missing_ok=True)
        about = {"pid": os.getpid(), "files": [str(file) for file in files], "startup_sec": startup_sec, "step_sec": step_sec}
        self.about = {**about, "told": str(told)}

    def __enter__(self) -> Self:
        self.trace = tempfile.TemporaryFile()  # its time is the heartbeat, its contents are the stacks of a hung process
        faulthandler.register(signal.SIGUSR1, self.trace, all_threads=True)
        descriptor = self.trace.fileno()
        command = [sys.executable, "-I", __file__, json.dumps({**self.about, "trace": descriptor})]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[descriptor])
        return self

    def beat(self) -> None:
        """Report progress that no file shows, such as a micro-batch."""
        os.utime(self.trace.fileno())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        faulthandler.unregister(signal.SIGUSR1)
        self.trace.close()


def stands_still(pid: int, files: Sequence[str | int], startup_sec: float, step_sec: float) -> str | None:
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
            name = "startup_timeout_sec, before its first micro-batch or answer" if limit == startup_sec else "step_timeout_sec"
            return f"it finished no micro-batch and no answer for {still:.0f} s ({name}); raise that in the machine profile if it was only slow"
    return None


def _signs(files: Sequence[str | int]) -> list[tuple[int, int, int] | None]:
    """Return what changes when a worker writes its progress; `files` are paths and descriptors."""
    signs: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            found = os.stat(file)  # noqa: PTH116  a descriptor has no path
            signs.append((found.st_ino, found.st_size, found.st_mtime_ns))
        except OSError:
            signs.append(None)
    return signs


def _dump(pid: int, descriptor: int) -> str:
    """Return the stacks of all threads of a hung process; empty if it is stopped. faulthandler needs no GIL for them."""
    os.kill(pid, signal.SIGUSR1)
    size = 0
    for _ in range(20):
        time.sleep(0.1)
        before, size = size, os.fstat(descriptor).st_size
        if size and size == before:
            break
    return os.pread(descriptor, size, 0).decode(errors="replace")


def _innermost(trace: str) -> str:
    """Return the innermost frame of the thread that runs this package, else of the oldest thread."""
    threads = trace.strip().split("\n\n")
    ours = next((thread for thread in threads if "omnimer_ray" in thread), threads[-1])
    frame = re.search(r'File "(.*)", line (\d+) in (.*)', ours)
    return f"{frame[1]}:{frame[2]} in {frame[3]}" if frame else "an unknown place"


def main(about: str) -> None:
    """Watch until the parent is gone; write the reason and the stacks of a hung parent, then kill it."""
    given = json.loads(about)
    told, descriptor = Path(given.pop("told")), given.pop("trace")
    given["files"].append(descriptor)
    reason = stands_still(**given)
    if reason is not None:
        _write(told, reason)  # before the signal, which may end a system call with an error
        if trace := _dump(given["pid"], descriptor):
            stacks = told.with_suffix(f".{given['pid']}.stacks")
            _write(stacks, trace)
            _write(told, f"{reason}; it hung at {_innermost(trace)}, all stacks are in {stacks}")
        os.kill(given["pid"], signal.SIGKILL)


def _write(path: Path, text: str) -> None:
    """Write a whole file; the watchdogs of the other workers may write the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    main(sys.argv[1])
