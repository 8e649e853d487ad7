"""One driver per results folder: a lease with host, pid and a heartbeat."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from omnimer_ray.errors import ResultsError

BEAT_SEC = 10.0
STALE_SEC = 60.0


class Lease:
    """Held while a sweep runs (`with Lease(folder): ...`). Raises ResultsError where another driver is alive in the folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".sweep" / "lease.json"
        self._released = threading.Event()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self._create():
            self._refuse_if_alive()
            self.path.unlink(missing_ok=True)
            if not self._create():
                self._refuse_if_alive()
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._released.set()
        self.path.unlink(missing_ok=True)

    def _create(self) -> bool:
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        except OSError as error:
            raise ResultsError(f"cannot write in {self.path.parent}: {error.strerror}; give another --results") from error
        with os.fdopen(descriptor, "w") as file:
            json.dump({"host": socket.gethostname(), "pid": os.getpid()}, file)
        return True

    def _refuse_if_alive(self) -> None:
        if held := holder(self.path.parent.parent):
            raise ResultsError(
                f"{self.path.parent.parent} is in use by another sweep (pid {held[1]} on {held[0]}); wait for it, stop it, or give another --results"
            )

    def _beat(self) -> None:
        while not self._released.wait(BEAT_SEC):
            try:
                os.utime(self.path)
            except OSError:
                return


def holder(folder: Path) -> tuple[str, int] | None:
    """Host and pid of the driver that is alive in a results folder: here by its pid, on another host by its heartbeat."""
    path = folder / ".sweep" / "lease.json"
    try:
        held, age = json.loads(path.read_text()), time.time() - path.stat().st_mtime
        host, pid = str(held["host"]), int(held["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none, or cut short by a kill
    alive = _lives(pid) if host == socket.gethostname() else age < STALE_SEC
    return (host, pid) if alive else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
