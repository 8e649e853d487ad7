"""Media decoding in child processes, so that a file that crashes the decoder does not crash the parent.

Each thread that decodes concurrently has its own child; idle children are reused by later calls. A child exits when its parent closes its
stdin. A message is a 4-byte length, a JSON object, and as many raw bytes as its field `bytes` states.
`multiprocessing.connection` is not used because its `recv_bytes` has no timeout within a message.
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

CPU_LIMIT_SEC = 8  # processor time without progress, such as a frame; exceeded by a decoder in an endless loop
TOTAL_LIMIT_SEC = 300  # processor time for one file
WALL_LIMIT_SEC = 60  # wall time without a message; exceeded on a stalled disk
MEMORY_LIMIT_GIB = 4  # address space

_COMMAND = [sys.executable, "-P", "-m", "omnimer_ray.media.child_process"]
_OPERATIONS = {"video": decode.decode_video, "audio": decode.decode_audio, "probe": inspection.inspect}


class Answer(NamedTuple):
    """A child's answer to one request."""

    arrays: list[tuple[tuple[int, ...], bytes]]  # shape and raw bytes of each
    done: dict[str, Any]


class _ChildFailedError(Fault):
    """The child process died or hangs."""


class NodeFault(_ChildFailedError):
    """The child was killed from outside, or the disk hangs; the file is not at fault."""


class _Child:
    """The parent's handle of one decoding process."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
        env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(_COMMAND, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        try:
            self._receive()  # the `ready` message
        except _ChildFailedError as error:
            self.close()
            raise MachineError(f"the media decoder does not start ({error.what}); see the output of {' '.join(_COMMAND)!r}") from None

    def ask(self, request: dict[str, Any]) -> Answer:
        """Send a request and return its answer. Raises Fault if the child reports one, _ChildFailedError if it dies or hangs."""
        assert self.process.stdin is not None
        head = json.dumps(request).encode()
        with contextlib.suppress(BrokenPipeError):  # the child died while idle: _receive raises the reason
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
        """Kill the process and close its pipes."""
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
                raise NodeFault(f"no data could be read for {WALL_LIMIT_SEC} s", "check the disk that it is on")
            part = os.read(descriptor, size - len(data))
            if not part:
                raise _exit_fault(self.process.wait())
            data += part
        return bytes(data)


def _exit_fault(code: int) -> _ChildFailedError:
    """Fault that describes why a child exited."""
    if code == -signal.SIGXCPU:
        limits = f"{CPU_LIMIT_SEC} s of processor time without progress, or {TOTAL_LIMIT_SEC} s in all"
        return _ChildFailedError(f"decoding it took too long: {limits}", "convert it, to h264 with aac for example")
    if code == -signal.SIGKILL:
        return NodeFault("its decoder was killed from outside (SIGKILL), as a machine out of memory does", "free memory")
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return _ChildFailedError(f"decoding it ended the decoder's process ({how})")


@functools.cache
def need(*packages: str) -> None:
    """Raise MissingExtraError if one of the packages is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "train")


_idle: list[_Child] = []
_lock = threading.Lock()


def ask(request: dict[str, Any]) -> Answer:
    """Send a request to a child of this process and return its answer.

    Raises Fault for a fault of the file, MissingExtraError without PyAV or Pillow, MachineError if no child starts.
    """
    need("av", "PIL")
    child = _take()
    try:
        answer = child.ask(request)
    except BaseException as error:
        if isinstance(error, Fault) and not isinstance(error, _ChildFailedError):
            _put_back(child)
        else:
            child.close()  # the child is dead, or was interrupted during an answer
        raise
    _put_back(child)
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


def _put_back(child: _Child) -> None:
    with _lock:
        _idle.append(child)


@atexit.register
def _close_idle() -> None:
    while _idle:
        _idle.pop().close()


os.register_at_fork(after_in_child=_idle.clear)  # a forked process must not use its parent's pipes


# The child's side:


def _allow_time(until: float) -> None:
    """Allow CPU_LIMIT_SEC more of processor time, up to `until`; the kernel kills this process at the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(min(_cpu_sec() + CPU_LIMIT_SEC, until))
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _cpu_sec() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _answer(request: dict[str, Any], send: decode.Send) -> None:
    """Process one request; the last message sent is `done` or `fault`."""
    try:
        send({"done": _OPERATIONS[request["op"]](request, send)})
    except Fault as fault:
        send({"fault": fault.what, "remedy": fault.remedy})
    except MemoryError:
        send({"fault": f"decoding it needs more than {MEMORY_LIMIT_GIB} GiB of memory", "remedy": "scale it down"})
    except Exception as error:  # libraries raise any type for a broken file
        send({"fault": f"decoding it failed ({type(error).__name__}: {error})", "remedy": FETCH})


def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Process requests until the parent closes the pipe."""
    until, last_sent = TOTAL_LIMIT_SEC + _cpu_sec(), 0.0

    def send(message: dict[str, Any], payload: bytes = b"") -> None:
        nonlocal last_sent
        _allow_time(until)
        if "progress" in message and time.monotonic() - last_sent < 1:
            return
        last_sent = time.monotonic()
        head = json.dumps({**message, "bytes": len(payload)}).encode()
        sink.write(struct.pack("<I", len(head)) + head + payload)
        sink.flush()

    send({"ready": os.getpid()})
    while len(size := source.read(4)) == 4:
        until = TOTAL_LIMIT_SEC + _cpu_sec()
        _allow_time(until)
        _answer(json.loads(source.read(struct.unpack("<I", size)[0])), send)


def main() -> None:
    """Entry point of the child process."""
    import av
    import numpy  # noqa: F401  imported before the limits are set, so that its import does not count for a file
    import PIL.Image  # noqa: F401

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output that a library prints must not mix with the messages
    av.logging.set_level(None)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_GIB << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))
    _serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
