"""One driver per results folder: a lease with host, pid and a heartbeat."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from omnimer_ray.errors import ResultsError
from omnimer_ray.results import write_json

BEAT_SEC = 10.0
STALE_SEC = 60.0


class Lease:
    """Held while a sweep runs (`with Lease(folder): ...`). Raises ResultsError where another driver is alive in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, _path(folder)
        pid = os.getpid()
        self.mine: dict[str, Any] = {"host": socket.gethostname(), "pid": pid, "started": _started(pid), "since": time.time_ns()}
        self._released = threading.Event()

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_suffix(".lock").open("w") as gate:
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(gate, fcntl.LOCK_EX)  # of several that find a dead driver's lease, one takes it
                self._take()
        except OSError as error:
            raise ResultsError(f"cannot write in {self.path.parent}: {error.strerror}; give another --results") from error
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._released.set()
        if _read(self.path) == self.mine:  # not where another host took over while this one slept
            self.path.unlink(missing_ok=True)

    def _take(self) -> None:
        if held := holder(self.folder):
            raise ResultsError(
                f"{self.folder} is in use by another sweep (pid {held[1]} on {held[0]}); wait for it, stop it, or give another --results"
            )
        write_json(self.path, self.mine)

    def _beat(self) -> None:
        while not self._released.wait(BEAT_SEC):
            with contextlib.suppress(OSError):  # a shared folder that is away for a moment
                os.utime(self.path)


def holder(folder: Path) -> tuple[str, int] | None:
    """Host and pid of the driver that is alive in a results folder: here by its pid, on another host by its heartbeat."""
    path = _path(folder)
    try:
        held, age = _read(path), time.time() - path.stat().st_mtime
        host, pid = str(held["host"]), int(held["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no lease, or none of ours
    alive = pid > 0 and _lives(pid, held.get("started")) if host == socket.gethostname() else age < STALE_SEC
    return (host, pid) if alive else None


def _path(folder: Path) -> Path:
    return folder / ".sweep" / "lease.json"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _lives(pid: int, started: str | None) -> bool:
    """Whether the process that took the lease is there: not a zombie, and not another one with its number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    now = _started(pid)
    return now is None or (now != "" and started in (None, now))


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; '' for a zombie, None where /proc does not tell."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return "" if state in "ZX" else fields[18]
