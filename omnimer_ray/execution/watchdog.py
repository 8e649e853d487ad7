"""Kill a worker process that hangs. A separate process, because a thread would hang with the others.

It is started by its path, so it needs nothing but Python: `python -I watchdog.py '{"pid": ..., ...}'`. Kept instead of
`faulthandler.dump_traceback_later`, because the thread of that function stops with a stopped process, and each rank would have to restart it.
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

POLL_SEC = 1.0


class Watchdog:
    """Kill this process if, while the context is entered, it neither calls `beat` nor changes one of `files` for too long; write `reason_file` before."""

    def __init__(self, files: Sequence[Path], startup_sec: float, step_sec: float, reason_file: Path) -> None:
        reason_file.unlink(missing_ok=True)
        about = {"pid": os.getpid(), "files": [str(file) for file in files], "startup_sec": startup_sec, "step_sec": step_sec}
        self.about = {**about, "reason_file": str(reason_file)}

    def __enter__(self) -> Self:
        self.trace = tempfile.TemporaryFile()  # its time is the heartbeat; its contents will be the stacks
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


def find_hang(pid: int, files: Sequence[str | int], startup_sec: float, step_sec: float) -> str | None:
    """Wait until the parent hangs and return the reason, or None once the parent has ended.

    Time is counted in polls, so that a suspended machine does not count as a hung worker.
    """
    last, idle_sec, limit = _states(files), 0.0, startup_sec
    while os.getppid() == pid:
        tick = min(POLL_SEC, limit / 4)
        time.sleep(tick)
        if (now := _states(files)) != last:
            last, idle_sec, limit = now, 0.0, step_sec
            continue
        idle_sec += tick
        if idle_sec > limit:
            name = "startup_timeout_sec, before its first micro-batch or answer" if limit == startup_sec else "step_timeout_sec"
            return f"it finished no micro-batch and no answer for {idle_sec:.0f} s ({name}); raise that in the machine profile if it was only slow"
    return None


def _states(files: Sequence[str | int]) -> list[tuple[int, int, int] | None]:
    """Return inode, size and time of each file, a path or a descriptor; None for a missing file."""
    states: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            found = os.stat(file)  # noqa: PTH116  a descriptor has no path
            states.append((found.st_ino, found.st_size, found.st_mtime_ns))
        except OSError:
            states.append(None)
    return states


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
    reason_file, descriptor = Path(given.pop("reason_file")), given.pop("trace")
    given["files"].append(descriptor)
    reason = find_hang(**given)
    if reason is not None:
        _write(reason_file, reason)  # before the signal, which may end a system call with an error
        if trace := _dump(given["pid"], descriptor):
            stacks = reason_file.with_suffix(f".{given['pid']}.stacks")
            _write(stacks, trace)
            _write(reason_file, f"{reason}; it hung at {_innermost(trace)}, all stacks are in {stacks}")
        os.kill(given["pid"], signal.SIGKILL)


def _write(path: Path, text: str) -> None:
    """Write a file atomically, because the watchdogs of other workers may write the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    main(sys.argv[1])
