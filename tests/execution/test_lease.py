"""One sweep per results folder, also after an earlier sweep was killed or its host failed."""

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

from omnimer_ray.errors import ResultsError
from omnimer_ray.execution import lease
from omnimer_ray.execution.lease import STALE_SEC, Lease, Leases, holder

HERE = socket.gethostname()
ROOT = Path(__file__).parents[2]
HOLD = """if True:
    import sys, time
    from pathlib import Path
    from omnimer_ray.execution.lease import Lease
    with Lease(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
"""


def start(folder: Path, code: str = HOLD) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.fixture
def driver(tmp_path: Path) -> "Iterator[subprocess.Popen[str]]":
    """A second, live process that has the lease of `tmp_path`."""
    process = start(tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def write_lease(folder: Path, age_sec: float = 0.0, **content: Any) -> Path:
    """Write the lease file of another driver, last touched `age_sec` ago; return its path."""
    path = folder / ".sweep" / "lease.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    os.utime(path, (time.time() - age_sec,) * 2)
    return path


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_lease_has_a_holder_until_it_is_released(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with Lease(tmp_path):
        assert holder(tmp_path) == (HERE, os.getpid())
    assert holder(tmp_path) is None
    assert not (tmp_path / ".sweep" / "lease.json").exists()


def test_a_folder_of_a_live_driver_is_refused_to_others(tmp_path: Path, driver: "subprocess.Popen[str]") -> None:
    with pytest.raises(ResultsError) as raised, Lease(tmp_path):
        pass
    assert str(raised.value) == (
        f"{tmp_path} is in use by another sweep (pid {driver.pid} on {HERE}); wait for it, stop it, or give another --results"
    )
    assert holder(tmp_path) == (HERE, driver.pid), "a refused driver does not change the lease"


def test_a_killed_drivers_lease_is_taken_over_at_once(tmp_path: Path, driver: "subprocess.Popen[str]") -> None:
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    with Lease(tmp_path):
        assert holder(tmp_path) == (HERE, os.getpid())


def test_the_lease_of_a_zombie_is_expired(tmp_path: Path, driver: "subprocess.Popen[str]") -> None:
    driver.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)  # dead, and its exit status is not collected yet
    assert holder(tmp_path) is None


def test_the_lease_of_another_process_with_the_same_pid_is_expired(tmp_path: Path) -> None:
    write_lease(tmp_path, host=HERE, pid=os.getpid(), started="1")
    with Lease(tmp_path):
        pass


def test_the_lease_of_a_dead_pid_is_taken_over(tmp_path: Path) -> None:
    write_lease(tmp_path, host=HERE, pid=dead_pid())
    with Lease(tmp_path):
        assert holder(tmp_path) == (HERE, os.getpid())


@pytest.mark.parametrize(("age_sec", "alive"), [(0.0, True), (STALE_SEC - 5, True), (STALE_SEC + 5, False)])
def test_the_lease_of_another_host_expires_without_heartbeats(tmp_path: Path, age_sec: float, alive: bool) -> None:
    write_lease(tmp_path, age_sec, host="elsewhere", pid=1)
    if alive:
        with pytest.raises(ResultsError, match=r"in use by another sweep \(pid 1 on elsewhere\); wait for it"), Lease(tmp_path):
            pass
    else:
        with Lease(tmp_path):
            assert holder(tmp_path) == (HERE, os.getpid())


def test_the_heartbeat_touches_the_lease_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SEC", 0.01)
    with Lease(tmp_path) as held:
        os.utime(held.path, (0, 0))
        deadline = time.monotonic() + 5
        while held.path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - held.path.stat().st_mtime < 5


@pytest.mark.parametrize("offset_sec", [-90.0, 90.0, 3600.0])
def test_a_clock_that_differs_from_the_file_servers_does_not_expire_a_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset_sec: float
) -> None:
    write_lease(tmp_path, host="elsewhere", pid=1)
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + offset_sec)
    assert holder(tmp_path) == ("elsewhere", 1)
    os.utime(tmp_path / ".sweep" / "lease.json", (true_time() - STALE_SEC - 5,) * 2)
    assert holder(tmp_path) is None
    assert [path.name for path in (tmp_path / ".sweep").iterdir()] == ["lease.json"], (
        "the file that is used to read the server's time is deleted"
    )


def test_a_driver_whose_lease_was_taken_over_is_interrupted(tmp_path: Path) -> None:
    code = """if True:
        import signal, sys, time
        from pathlib import Path
        from omnimer_ray.execution import lease
        lease.HEARTBEAT_SEC = 0.05
        def interrupt(number, frame):
            raise KeyboardInterrupt
        signal.signal(signal.SIGTERM, interrupt)
        held = lease.Lease(Path(sys.argv[1]))
        try:
            with held:
                print("held", flush=True)
                time.sleep(30)
        except KeyboardInterrupt:
            print(held.lost)
    """
    process = start(tmp_path, code)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    path = write_lease(tmp_path, host="elsewhere", pid=1)
    out, err = process.communicate(timeout=20)
    assert (out, err) == ("True\n", "")
    assert json.loads(path.read_text())["host"] == "elsewhere", "the new driver's lease is unchanged"


def test_a_deleted_lease_file_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SEC", 0.01)
    with Lease(tmp_path) as held:
        held.path.unlink()
        deadline = time.monotonic() + 5
        while not held.path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert holder(tmp_path) == (HERE, os.getpid())
        assert not held.lost


def test_several_leases_are_taken_together_and_can_be_released_separately(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with Leases([two, one, one], print) as leases:
        assert holder(one) == holder(two) == (HERE, os.getpid())
        leases.release(one)
        leases.release(tmp_path / "never taken")
        assert (holder(one), holder(two)) == (None, (HERE, os.getpid()))
    assert holder(two) is None


def test_leases_wait_for_a_ledger_that_another_sweep_writes(
    tmp_path: Path, driver: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RETRY_SEC", 0.05)
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        driver.kill()
        driver.wait()

    with Leases([tmp_path], log):
        assert holder(tmp_path) == (HERE, os.getpid())
    assert lines == [f"waiting: {tmp_path} is being written by another sweep (pid {driver.pid} on {HERE}); its answers will be shared"]


def test_the_release_of_a_lost_lease_does_not_remove_the_new_one(tmp_path: Path) -> None:
    with Lease(tmp_path):
        path = write_lease(tmp_path, host="elsewhere", pid=1)
    assert json.loads(path.read_text())["host"] == "elsewhere"


@pytest.mark.parametrize(
    "text", ["", '{"host": "' + HERE, "[1]", "{}", '{"host": "here", "pid": "x"}', f'{{"host": "{HERE}", "pid": 99999999999999999999}}']
)
def test_an_invalid_lease_file_is_replaced(tmp_path: Path, text: str) -> None:
    write_lease(tmp_path).write_text(text)
    with Lease(tmp_path):
        assert holder(tmp_path) == (HERE, os.getpid())


def test_only_one_of_several_drivers_takes_over_an_expired_lease(tmp_path: Path) -> None:
    code = """if True:
        import sys, time
        from pathlib import Path
        from omnimer_ray.errors import ResultsError
        from omnimer_ray.execution.lease import Lease
        while not Path(sys.argv[1], "go").exists():
            pass
        try:
            with Lease(Path(sys.argv[1])):
                print("held", end="")
                time.sleep(1)
        except ResultsError as error:
            assert "is in use by another sweep" in str(error)
    """
    write_lease(tmp_path, host=HERE, pid=dead_pid())
    drivers = [start(tmp_path, code) for _ in range(4)]
    time.sleep(0.5)
    (tmp_path / "go").touch()
    outputs = [driver.communicate(timeout=30) for driver in drivers]
    assert "".join(out for out, _ in outputs) == "held", outputs


def test_a_lease_in_a_folder_that_became_read_only_is_released_without_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(self: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    with Lease(tmp_path) as held:
        monkeypatch.setattr(Path, "unlink", read_only)
    assert held.path.exists()


def test_the_error_for_a_results_folder_that_cannot_be_made_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match=r"^cannot write in .*file/ablations/\.sweep: Not a directory; give another --results$"):
        Lease(tmp_path / "file" / "ablations").__enter__()


def test_the_error_for_a_full_disk_names_the_lease_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *args: object, **named: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ResultsError, match=r"cannot write .*lease\.json: No space left on device"):
        Lease(tmp_path).__enter__()
