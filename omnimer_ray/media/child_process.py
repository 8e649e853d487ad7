"""The child process that decodes media: whatever a file does to it, the parent lives on.

Each thread that decodes at the same time has a child of its own; idle ones wait for the next call. A child ends with its
parent, by the end of its stdin. Messages: a 4-byte length, a JSON object, and the raw bytes that its field `bytes` counts.
Kept instead of `multiprocessing.connection`, because its `recv_bytes` has no timeout within a message.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import json
import math
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from omnimer_ray.errors import MachineError, MissingExtraError
from omnimer_ray.media import decode, inspection
from omnimer_ray.media.container import FETCH, Fault

CPU_LIMIT_SEC = 8  # of processor time without a sign of progress, such as a frame: a looping decoder
TOTAL_LIMIT_SEC = 300  # of processor time for one file
WALL_LIMIT_SEC = 60  # without a message: a stalled disk
MEMORY_LIMIT_GIB = 4  # of address space

_COMMAND = [sys.executable, "-P", "-m", "omnimer_ray.media.child_process"]
_OPERATIONS = {"video": decode.decode_video, "audio": decode.decode_audio, "probe": inspection.inspect}


class Answer(NamedTuple):
    """What the child sent for one request."""

    arrays: list[tuple[tuple[int, ...], bytes]]  # shape and raw bytes of each
    done: dict[str, Any]


class _GoneError(Fault):
    """The child died or hangs."""


class NodeFault(_GoneError):
    """The child was killed from outside, or the disk hangs: no fault of the file."""


class _Child:
    """One decoding process, seen from the parent."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
        env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(_COMMAND, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        try:
            self._receive()  # its greeting
        except _GoneError as error:
            self.close()
            raise MachineError(f"the media decoder does not start ({error.what}); see what {' '.join(_COMMAND)!r} prints") from None

    def ask(self, request: dict[str, Any]) -> Answer:
        """Sends a request and collects its answer; raises Fault where the child says so, _GoneError where it dies or hangs."""
        assert self.process.stdin is not None
        head = json.dumps(request).encode()
        with contextlib.suppress(BrokenPipeError):  # it died while idle: what follows says how
            self.process.stdin.write(struct.pack("<I", len(head)) + head)
        arrays: list[tuple[tuple[int, ...], bytes]] = []
        while True:
            message, payload = self._receive()
            if "fault" in message:
                raise Fault(message["fault"], message["remedy"])
            if "shape" in message:
                arrays.append((tuple(message["shape"]), payload))
            if "done" in message:
                return Answer(arrays, message["done"])

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        message = json.loads(self._read(struct.unpack("<I", self._read(4))[0]))
        return message, self._read(message["bytes"])

    def _read(self, size: int) -> bytes:
        assert self.process.stdout is not None
        descriptor, data = self.process.stdout.fileno(), bytearray()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while len(data) < size:
            if not poll.poll(WALL_LIMIT_SEC * 1000):
                raise NodeFault(f"nothing of it could be read for {WALL_LIMIT_SEC} s", "look at the disk that it lies on")
            part = os.read(descriptor, size - len(data))
            if not part:
                raise _death(self.process.wait())
            data += part
        return bytes(data)


def _death(code: int) -> _GoneError:
    """Why a child ended."""
    if code == -signal.SIGXCPU:
        limits = f"{CPU_LIMIT_SEC} s of processor time without progress, or {TOTAL_LIMIT_SEC} s in all"
        return _GoneError(f"decoding it took too long: {limits}", "convert it, to h264 with aac for example")
    if code == -signal.SIGKILL:
        return NodeFault("its decoder was killed from outside (SIGKILL), as a machine out of memory does", "free memory")
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return _GoneError(f"decoding it ended the decoder's process ({how})")


@functools.cache
def need(*packages: str) -> None:
    """Raises MissingExtraError where one of the packages is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "train")


_idle: list[_Child] = []
_lock = threading.Lock()


def ask(request: dict[str, Any]) -> Answer:
    """One request, answered by a child of this process.

    Raises Fault about the file, MissingExtraError without PyAV or Pillow, MachineError where no child starts.
    """
    need("av", "PIL")
    child = _take()
    try:
        answer = child.ask(request)
    except BaseException as error:
        if isinstance(error, Fault) and not isinstance(error, _GoneError):
            _give(child)
        else:
            child.close()  # dead, or interrupted in the middle of an answer
        raise
    _give(child)
    return answer


def _take() -> _Child:
    while True:
        with _lock:
            child = _idle.pop() if _idle else None
        if child is None:
            return _Child()
        if child.process.poll() is None:
            return child
        child.close()


def _give(child: _Child) -> None:
    with _lock:
        _idle.append(child)


@atexit.register
def _close_idle() -> None:
    while _idle:
        _idle.pop().close()


os.register_at_fork(after_in_child=_idle.clear)  # a forked process must not talk over its parent's pipes


# Below: the child's side.


def _allow_time(until: float) -> None:
    """Grants the next CPU_LIMIT_SEC of processor time; without another grant the kernel ends this process."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(min(_cpu_sec() + CPU_LIMIT_SEC, until))
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _cpu_sec() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _answer(request: dict[str, Any], send: decode.Send) -> None:
    """One request, one answer: messages that end with `done` or `fault`."""
    try:
        send({"done": _OPERATIONS[request["op"]](request, send)})
    except Fault as fault:
        send({"fault": fault.what, "remedy": fault.remedy})
    except MemoryError:
        send({"fault": f"decoding it needs more than {MEMORY_LIMIT_GIB} GiB of memory", "remedy": "scale it down"})
    except Exception as error:  # whatever a library makes of a broken file
        send({"fault": f"decoding it failed ({type(error).__name__}: {error})", "remedy": FETCH})


def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answers requests until the parent closes the pipe."""
    until, said = TOTAL_LIMIT_SEC + _cpu_sec(), 0.0

    def send(message: dict[str, Any], payload: bytes = b"") -> None:
        nonlocal said
        _allow_time(until)
        if "progress" in message and time.monotonic() - said < 1:
            return
        said = time.monotonic()
        head = json.dumps({**message, "bytes": len(payload)}).encode()
        sink.write(struct.pack("<I", len(head)) + head + payload)
        sink.flush()

    send({"ready": os.getpid()})
    while len(size := source.read(4)) == 4:
        until = TOTAL_LIMIT_SEC + _cpu_sec()
        _allow_time(until)
        _answer(json.loads(source.read(struct.unpack("<I", size)[0])), send)


def main() -> None:
    """The child's life."""
    import av
    import numpy  # noqa: F401  before the limits: it belongs to the start, not to a file
    import PIL.Image  # noqa: F401

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    av.logging.set_level(None)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_GIB << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))
    _serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
