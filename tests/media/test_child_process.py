"""The decoding process: whatever happens to it, the parent gets an error and the next file is decoded."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_media import media_bytes, write_media

from omnimer_ray.config import MediaConfig
from omnimer_ray.errors import MachineError, MissingExtraError
from omnimer_ray.media import child_process
from omnimer_ray.media.container import Fault

STAND_IN = """
import os, signal, sys, time
from omnimer_ray.media import child_process
child_process.CPU_LIMIT_SEC = 1
child_process.TOTAL_LIMIT_SEC = {total}
def misbehave(request, send):
    {body}
child_process._OPERATIONS["audio"] = misbehave
child_process.main()
"""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_media(path := tmp_path / "clip.mp4", frames=10, size=(32, 32), seconds=0.5)
    return path


@pytest.fixture(autouse=True)
def no_children() -> Iterator[None]:
    child_process._close_idle()
    yield
    child_process._close_idle()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes children whose answer to `audio` is the given code."""

    def use(body: str, total: int = 300) -> None:
        script = tmp_path / "child.py"
        script.write_text(STAND_IN.format(body=body, total=total))
        monkeypatch.setattr(child_process, "_COMMAND", [sys.executable, str(script)])

    return use


def ask(operation: str, path: Path) -> child_process.Answer:
    return child_process.ask({"op": operation, "path": str(path), **MediaConfig().model_dump()})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"decoding it ended the decoder's process \(SIGSEGV\)"),
        ("os._exit(9)", r"decoding it ended the decoder's process \(exit status 9\)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", r"its decoder was killed from outside \(SIGKILL\), as a machine out of memory does"),
        ("bytearray(5 << 30)", "decoding it needs more than 4 GiB of memory"),
        ("raise ZeroDivisionError('deep inside')", r"decoding it failed \(ZeroDivisionError: deep inside\)"),
        ("print('from a library'); raise ValueError('still in order')", r"decoding it failed \(ValueError: still in order\)"),
    ],
)
def test_whatever_happens_is_an_error_and_the_next_file_is_decoded(stand_in: Any, clip: Path, body: str, text: str) -> None:
    stand_in(body)
    with pytest.raises(Fault, match=text):
        ask("audio", clip)
    assert len(ask("video", clip).arrays) == 4


@pytest.mark.timeout(30)
def test_a_looping_decoder_is_ended_by_its_processor_time(stand_in: Any, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "CPU_LIMIT_SEC", 1)
    stand_in("\n    while True: pass")
    begin = time.monotonic()
    with pytest.raises(Fault, match="decoding it took too long: 1 s of processor time without progress, or 300 s in all"):
        ask("audio", clip)
    assert time.monotonic() - begin < 10
    assert len(ask("video", clip).arrays) == 4


@pytest.mark.timeout(30)
def test_progress_buys_time_up_to_a_total(stand_in: Any, clip: Path) -> None:
    busy = "\n    for second in range({}):\n        end = time.process_time() + 0.5\n        while time.process_time() < end: pass\n"
    busy += "        send({{'progress': second}})\n    return {{}}"
    stand_in(busy.format(4).replace("{{", "{").replace("}}", "}"))
    assert ask("audio", clip).done == {}
    child_process._close_idle()
    stand_in(busy.format(40).replace("{{", "{").replace("}}", "}"), total=2)
    with pytest.raises(Fault, match="decoding it took too long"):
        ask("audio", clip)


@pytest.mark.timeout(30)
def test_a_stalled_disk_is_waited_for_up_to_a_limit(stand_in: Any, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in("time.sleep(60)")
    monkeypatch.setattr(child_process, "WALL_LIMIT_SEC", 2)
    with pytest.raises(Fault, match="no data could be read for 2 s"):
        ask("audio", clip)
    assert child_process._idle == []


def test_a_fault_of_the_file_keeps_the_child(tmp_path: Path, clip: Path) -> None:
    (bad := tmp_path / "bad.mp4").write_bytes(b"nothing")
    ask("video", clip)
    (child,) = child_process._idle
    with pytest.raises(Fault, match="no format fits its content"):
        ask("video", bad)
    assert child_process._idle == [child]
    assert child.process.poll() is None


@pytest.mark.timeout(60)
def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    rng = random.Random(0)
    wholes = [media_bytes(codec="libx264"), media_bytes(container="matroska"), media_bytes(container="mpegts", codec="libx264")]
    path = tmp_path / "mutated"
    for turn in range(60):
        data = bytearray(wholes[turn % len(wholes)])
        for _ in range(rng.choice((1, 10, 100))):
            data[rng.randrange(min(len(data), rng.choice((256, 4096, len(data)))))] = rng.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(Fault):
            ask("probe", path)
    (child,) = child_process._idle  # one process has seen them all
    assert child.process.poll() is None


def test_a_child_that_died_while_idle_is_replaced(clip: Path) -> None:
    ask("video", clip)
    child_process._idle[0].process.kill()
    child_process._idle[0].process.wait()
    assert len(ask("video", clip).arrays) == 4


def test_an_interrupted_answer_is_never_taken_for_the_next(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask("video", clip)
    (child,) = child_process._idle
    receive = child._receive
    monkeypatch.setattr(child, "_receive", _interrupted(receive))
    with pytest.raises(KeyboardInterrupt):
        ask("video", clip)
    assert child_process._idle == []
    assert child.process.poll() is not None


def _interrupted(receive: Callable[[], Any]) -> Callable[[], Any]:
    def once() -> None:
        receive()
        raise KeyboardInterrupt

    return once


def test_threads_have_children_of_their_own(clip: Path) -> None:
    expected = ask("video", clip)
    answers: list[child_process.Answer] = []
    threads = [threading.Thread(target=lambda: answers.extend(ask("video", clip) for _ in range(3))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 9
    assert all(answer == expected for answer in answers)
    assert 1 <= len(child_process._idle) <= 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_starts_its_own(clip: Path) -> None:
    code = "\n".join(
        [
            "import os, sys, pathlib, omnimer_ray.media.child_process as m",
            "from omnimer_ray.config import MediaConfig",
            "request = {'op': 'video', 'path': sys.argv[1], **MediaConfig().model_dump()}",
            "expected = m.ask(request)",
            "if child := os.fork():",
            "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and m.ask(request) == expected",
            "else:",
            "    assert m._idle == [] and m.ask(request) == expected",
        ]
    )
    subprocess.run([sys.executable, "-c", code, str(clip)], check=True, timeout=60, cwd=Path(child_process.__file__).parents[2])


@pytest.mark.timeout(60)
def test_a_child_ends_with_its_parent(clip: Path) -> None:
    code = "\n".join(
        [
            "import sys, time, omnimer_ray.media.child_process as m",
            "from omnimer_ray.config import MediaConfig",
            "m.ask({'op': 'video', 'path': sys.argv[1], **MediaConfig().model_dump()})",
            "print(m._idle[0].process.pid, flush=True)",
            "time.sleep(60)",
        ]
    )
    root = Path(child_process.__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code, str(clip)], stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while _is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_decoder_that_does_not_start_is_no_fault_of_the_clip(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "_COMMAND", [sys.executable, "-c", "raise SystemExit(7)"])
    with pytest.raises(MachineError, match=r"the media decoder does not start \(.*exit status 7\)\); see the output of"):
        ask("video", clip)


def test_the_error_names_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="package 'av_of_a_test' is not installed; it comes with the extra 'train'"):
        child_process.need("av_of_a_test")
