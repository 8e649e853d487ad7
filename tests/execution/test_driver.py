"""The driver's connection to Ray, the errors of trials, and Ctrl-C, without a cluster."""

import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from omnimer_ray.execution import driver
from omnimer_ray.execution.driver import Interruption, TrialErrors, connect
from omnimer_ray.machine.profile import MachineProfile, Resources


def test_the_error_texts_of_trials_are_read_from_tunes_files(tmp_path: Path) -> None:
    errors = TrialErrors()
    (tmp_path / "error.txt").write_text("The actor is dead")
    for name, file in (("t1", tmp_path / "error.txt"), ("t2", tmp_path / "none"), ("t3", None)):
        errors.on_trial_start(0, [], SimpleNamespace(trial_id=name, error_file=file and str(file)))
    assert [errors.read(name) for name in ("t1", "t2", "t3", "t4")] == ["The actor is dead", "", "", ""]


def test_a_profile_without_cards_hides_the_cards_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    environments: list[dict[str, str]] = []
    monkeypatch.setattr(
        "ray.init", lambda **options: environments.append({**os.environ, **options.get("runtime_env", {}).get("env_vars", {})})
    )
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}}])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for address in (None, "auto"):
        for cards, visible in ((0, ""), (1, "3")):
            connect(
                MachineProfile(docs="a test", address=address, gpus_per_worker=cards, environment={"A_NETWORK": "eth7"}), Resources(8, 1)
            )
            assert (environments[-1]["CUDA_VISIBLE_DEVICES"], environments[-1]["A_NETWORK"]) == (visible, "eth7")
            assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ.get("A_NETWORK")) == ("3", None)


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0)  # signal handlers run between two instructions of the main thread


def test_the_first_ctrl_c_requests_a_stop_and_the_second_stops_at_once(tmp_path: Path) -> None:
    lines: list[str] = []
    stop_file = tmp_path / ".sweep" / "stop"
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interruption(stop_file, lines.append):
        interrupt()
        assert stop_file.exists()
        assert lines == ["stopping: running units write a checkpoint after their step; Ctrl-C again stops at once"]
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert not stop_file.exists()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_sigterm_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Interruption(tmp_path / "stop", lambda line: None):
        interrupt(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_rays_shutdown_does_not_cut_it_short(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: a second Ctrl-C that met the shutdown ended the command with code 1."""
    ended = list[str]()

    def shutdown() -> None:
        interrupt(number)
        ended.append("Ray")

    def connect(profile: MachineProfile, offered: Resources) -> Resources:
        raise KeyboardInterrupt

    monkeypatch.setattr(driver.ray, "shutdown", shutdown)
    monkeypatch.setattr(driver, "connect", connect)
    job: Any = SimpleNamespace(profile=MachineProfile(docs="a test"))
    none: Any = None
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        driver.run_with_ray(job, none, none, lambda line: None)
    assert ended == ["Ray"]
    assert signal.getsignal(number) == before


def test_a_stop_file_of_an_earlier_sweep_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("requested long ago")
    with Interruption(tmp_path / "stop", lambda line: None):
        assert not (tmp_path / "stop").exists()


def test_outside_the_main_thread_signal_handlers_are_not_changed(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    handlers: list[Any] = []

    def enter() -> None:
        with Interruption(tmp_path / "stop", lambda line: None):
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [before]
