"""One writer per folder: a lease file with host, pid and a heartbeat. A sweep has one for its results folder and one for each ledger it builds."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from omnimer_ray.errors import LeaseHeldError, ResultsError
from omnimer_ray.records import write_json

HEARTBEAT_SEC = 10.0
STALE_SEC = 60.0
RETRY_SEC, REPORT_EVERY = 2.0, 30  # attempts between two log lines


class Lease:
    """Held inside `with Lease(folder)`. Raises LeaseHeldError if another live driver holds it.

    If another driver takes the lease over meanwhile (this process or its machine was suspended), the main thread receives a SIGTERM and
    `lost` is true.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, _path(folder)
        pid = os.getpid()
        self.mine: dict[str, Any] = {"host": socket.gethostname(), "pid": pid, "started": _started(pid), "since": time.time_ns()}
        self.lost = False
        self._released = threading.Event()

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_suffix(".lock").open("w") as lock:
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(lock, fcntl.LOCK_EX)  # if several drivers find an expired lease, one takes it
                self._take()
        except OSError as error:
            raise ResultsError(f"cannot write in {self.path.parent}: {error.strerror}; give another --results") from error
        threading.Thread(target=self._send_heartbeats, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def release(self) -> None:
        """Delete the lease file, unless another driver owns it by now. A second call does nothing."""
        self._released.set()
        if _read(self.path) == self.mine:
            with contextlib.suppress(OSError):  # a read-only folder: the lease of an ended process is not valid
                self.path.unlink()

    def _take(self) -> None:
        if held := holder(self.folder):
            raise LeaseHeldError(
                f"{self.folder} is in use by another sweep (pid {held[1]} on {held[0]}); wait for it, stop it, or give another --results"
            )
        write_json(self.path, self.mine)

    def _send_heartbeats(self) -> None:
        while not self._released.wait(HEARTBEAT_SEC):
            try:
                if not self._still_mine():
                    self.lost = True
                    signal.pthread_kill(int(threading.main_thread().ident or 0), signal.SIGTERM)
                    return
                os.utime(self.path)
            except (OSError, ResultsError):
                pass  # a shared folder that is unreachable for a moment

    def _still_mine(self) -> bool:
        """Whether the file names this driver. A file that is absent, or being replaced, is written again."""
        content = _read(self.path)
        if content is None and not self._released.is_set():
            write_json(self.path, self.mine)
        return content in (None, self.mine)


class Leases:
    """Leases of several folders, for `with`. Waits for a folder that another sweep holds; each can be released early."""

    def __init__(self, folders: Iterable[Path], log: Callable[[str], None]) -> None:
        self.leases = {folder: Lease(folder) for folder in sorted(set(folders))}  # sorted: two drivers never wait for each other
        self.log = log

    def __enter__(self) -> Self:
        for lease in self.leases.values():
            self._wait(lease)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for lease in self.leases.values():
            lease.release()

    def release(self, folder: Path) -> None:
        """Release one folder's lease; nothing if it was not taken."""
        if folder in self.leases:
            self.leases[folder].release()

    def _wait(self, lease: Lease) -> None:
        for attempt in itertools.count():
            try:
                lease.__enter__()
                return
            except LeaseHeldError:
                host, pid = holder(lease.folder) or ("another host", 0)
                if attempt % REPORT_EVERY == 0:
                    self.log(f"waiting: {lease.folder} is being written by another sweep (pid {pid} on {host}); its answers will be shared")
                time.sleep(RETRY_SEC)


def holder(folder: Path) -> tuple[str, int] | None:
    """Host and pid of the live driver of a folder, or None. Liveness follows from the pid on this host, from the heartbeat on another."""
    path = _path(folder)
    try:
        held, age = _read(path), _server_time(path) - path.stat().st_mtime
        host, pid = str(held["host"]), int(held["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no lease file, or not one of ours
    alive = pid > 0 and _is_alive(pid, held.get("started")) if host == socket.gethostname() else age < STALE_SEC
    return (host, pid) if alive else None


def _server_time(path: Path) -> float:
    """Time of the file server, from the modification time of a new file: this machine's clock may differ by minutes."""
    probe = path.with_name(f".clock.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}")
    try:
        probe.touch()
        os.utime(probe)
        return probe.stat().st_mtime
    except OSError:
        return time.time()  # read-only for this user, who can only use --status
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def _path(folder: Path) -> Path:
    return folder / ".sweep" / "lease.json"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _is_alive(pid: int, started: str | None) -> bool:
    """Whether the process that took the lease exists: not a zombie, and not another process with the same pid."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    now = _started(pid)
    return now is None or (now != "" and started in (None, now))


def _started(pid: int) -> str | None:
    """Start time of a process in the kernel's ticks; '' for a zombie, None without /proc."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return "" if state in "ZX" else fields[18]
