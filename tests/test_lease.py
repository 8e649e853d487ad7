"""One sweep per results folder, whatever became of the one before."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omnimer_ray import lease
from omnimer_ray.errors import ResultsError
from omnimer_ray.lease import STALE_SEC, Lease, holder

HERE = socket.gethostname()
ROOT = Path(__file__).parent.parent
HOLD = """if True:
    import sys, time
    from pathlib import Path
    from omnimer_ray.lease import Lease
    with Lease(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
"""


def start(folder: Path, code: str = HOLD) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.fixture
def driver(tmp_path: Path) -> "Iterator[subprocess.Popen[str]]":
    """A live second process that holds the lease of `tmp_path`."""
    process = start(tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def leave(folder: Path, age_sec: float = 0.0, **content: Any) -> Path:
    """A lease as a driver that is gone left it."""
    path = folder / ".sweep" / "lease.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    os.utime(path, (time.time() - age_sec,) * 2)
    return path


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_lease_stands_while_it_is_held(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with Lease(tmp_path):
        assert holder(tmp_path) == (HERE, os.getpid())
    assert holder(tmp_path) is None
    assert not (tmp_path / ".sweep" / "lease.json").exists()


def test_a_live_driver_keeps_others_out(tmp_path: Path, driver: "subprocess.Popen[str]") -> None:
    with pytest.raises(ResultsError) as raised, Lease(tmp_path):
        pass
    assert str(raised.value) == (
        f"{tmp_path} is in use by another sweep (pid {driver.pid} on {HERE}); wait for it, stop it, or give another --results"
    )
    assert holder(tmp_path) == (HERE, driver.pid), "whoever is refused leaves the lease alone"


def test_a_killed_drivers_lease_is_taken_over_at_once(tmp_path: Path, driver: "subprocess.Popen[str]") -> None:
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    with Lease(tmp_path):
        assert holder(tmp_path) == (HERE, os.getpid())


def test_a_zombie_holds_nothing(tmp_path: Path, driver: "subprocess.Popen[str]") -> None:
    driver.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has asked how it ended
    assert holder(tmp_path) is None


def test_another_process_with_the_same_number_holds_nothing(tmp_path: Path) -> None:
    leave(tmp_path, host=HERE, pid=os.getpid(), started="1")
    with Lease(tmp_path):
        pass


def test_a_dead_pids_lease_is_taken_over(tmp_path: Path) -> None:
    leave(tmp_path, host=HERE, pid=dead_pid())
    with Lease(tmp_path):
        assert holder(tmp_path) == (HERE, os.getpid())


@pytest.mark.parametrize(("age_sec", "alive"), [(0.0, True), (STALE_SEC - 5, True), (STALE_SEC + 5, False)])
def test_another_hosts_driver_lives_by_its_heartbeat(tmp_path: Path, age_sec: float, alive: bool) -> None:
    leave(tmp_path, age_sec, host="elsewhere", pid=1)
    if alive:
        with pytest.raises(ResultsError, match=r"in use by another sweep \(pid 1 on elsewhere\); wait for it"), Lease(tmp_path):
            pass
    else:
        with Lease(tmp_path):
            assert holder(tmp_path) == (HERE, os.getpid())


def test_the_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_SEC", 0.01)
    with Lease(tmp_path) as held:
        os.utime(held.path, (0, 0))
        deadline = time.monotonic() + 5
        while held.path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - held.path.stat().st_mtime < 5


def test_a_lease_that_another_host_took_over_is_not_removed(tmp_path: Path) -> None:
    with Lease(tmp_path):
        path = leave(tmp_path, host="elsewhere", pid=1)
    assert json.loads(path.read_text())["host"] == "elsewhere"


@pytest.mark.parametrize(
    "text", ["", '{"host": "' + HERE, "[1]", "{}", '{"host": "here", "pid": "x"}', f'{{"host": "{HERE}", "pid": 99999999999999999999}}']
)
def test_a_file_that_is_no_lease_is_replaced(tmp_path: Path, text: str) -> None:
    leave(tmp_path).write_text(text)
    with Lease(tmp_path):
        assert holder(tmp_path) == (HERE, os.getpid())


def test_of_many_that_find_a_dead_drivers_lease_one_takes_it(tmp_path: Path) -> None:
    code = """if True:
        import sys, time
        from pathlib import Path
        from omnimer_ray.errors import ResultsError
        from omnimer_ray.lease import Lease
        while not Path(sys.argv[1], "go").exists():
            pass
        try:
            with Lease(Path(sys.argv[1])):
                print("held", end="")
                time.sleep(1)
        except ResultsError as error:
            assert "is in use by another sweep" in str(error)
    """
    leave(tmp_path, host=HERE, pid=dead_pid())
    rivals = [start(tmp_path, code) for _ in range(4)]
    time.sleep(0.5)
    (tmp_path / "go").touch()
    told = [rival.communicate(timeout=30) for rival in rivals]
    assert "".join(out for out, _ in told) == "held", told


def test_a_results_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match=r"^cannot write in .*file/ablations/\.sweep: Not a directory; give another --results$"):
        Lease(tmp_path / "file" / "ablations").__enter__()


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *args: object, **named: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ResultsError, match=r"cannot write .*lease\.json: No space left on device"):
        Lease(tmp_path).__enter__()
