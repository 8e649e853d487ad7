"""Two Ray nodes on this machine, with token authentication, carry a sweep that is submitted as a job, stopped half-way and submitted again.

Then the same command runs undisturbed on a local Ray, and adapters, predictions and tables are compared byte by byte.

Run:  make nodes                                            # a short space
      python tests/two_nodes.py --space ablations --workers 1
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import typer
from chaos import contents

ROOT = Path(__file__).parent.parent
RAY = str(Path(sys.executable).with_name("ray"))
LIMIT_SEC = 3000.0
MINE = "OMNIMER_TWO_NODES"  # in the environment of everything that is started here, so that it is found again
PROFILE = {"docs": "two nodes of one core each", "cpus_per_worker": 1, "micro_batch": 8, "evaluation_batch": 16, "checkpoint_every": 10}


class Ending(NamedTuple):
    """The observations."""

    refusals: list[str]  # of those who came without the token
    recorded: tuple[int, int]  # runs at the stop, and all
    cut: dict[str, bool]  # stages that the stop cut off -> whether its last step is in a checkpoint
    log: str  # of the stopped job
    nodes: Counter[str]  # runs by Ray's node
    different: list[str]
    compared: int
    sec: dict[str, float]


class Place(NamedTuple):
    """Short paths: Ray's sockets lie below."""

    root: Path
    profile: Path
    environment: dict[str, str]

    @property
    def results(self) -> Path:
        return self.root / "results"

    def sweep(self, space: str, limit: int, machine: Path) -> list[str]:
        """The words of every run of the sweep, but for the profile's address."""
        words = ["-m", "omnimer_ray.sweep", space, "--limit", str(limit), "--machine", str(machine), "--results", str(self.results)]
        return ["python", *words]


@contextlib.contextmanager
def place(workers: int) -> Iterator[Place]:
    """A folder with a token and a profile, and an environment without a word of another cluster; nothing started in it stays."""
    root = Path(tempfile.mkdtemp(prefix="nodes", dir="/tmp"))
    (root / "token").touch(mode=0o600)
    (root / "token").write_text(secrets.token_hex(32))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_") and name != "PYTHONPATH"}
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(root / "token"), "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}
    environment = {**kept, **ours, MINE: root.name, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    (root / "cluster.yaml").write_text(json.dumps({**PROFILE, "workers_per_run": workers, "address": "auto"}))
    (root / "alone.yaml").write_text(json.dumps({**PROFILE, "workers_per_run": workers}))
    try:
        yield Place(root, root / "cluster.yaml", environment)
    finally:
        _end_all(root.name)


@contextlib.contextmanager
def cluster(here: Place) -> Iterator[tuple[str, str, Sequence[subprocess.Popen[bytes]]]]:
    """A head and a second raylet, one core each; yields the cluster's address, the dashboard's, and the two processes."""
    gcs, dashboard = _free_ports(2)
    common = ["--num-cpus=1", "--node-ip-address=127.0.0.1", "--object-store-memory=100000000", "--disable-usage-stats", "--block"]
    head = ["--head", f"--port={gcs}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    started = []
    try:
        for name, words in (("a", head), ("b", [f"--address=127.0.0.1:{gcs}"])):
            names = (
                "dashboard-agent-listen",
                "dashboard-agent-grpc",
                "runtime-env-agent",
                "metrics-export",
                "node-manager",
                "object-manager",
            )
            own = [f"--{kind}-port={port}" for kind, port in zip(names, _free_ports(len(names)), strict=True)]
            own += ["--min-worker-port=0", "--max-worker-port=0", f"--temp-dir={here.root / name}"]
            log = here.root / f"{name}.txt"
            with log.open("w") as output:
                started.append(subprocess.Popen([RAY, "start", *words, *common, *own], env=here.environment, stdout=output, stderr=output))
            wait_until(lambda log=log: "--block" in log.read_text(), 120, f"node {name} does not start; see {log}")
        yield f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}", started
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(timeout=60)


def refusals(here: Place, address: str, dashboard: str) -> list[str]:
    """Error messages of the job API and of the cluster without a token; an assertion fails if one of them grants access."""
    stranger = {**here.environment, "RAY_AUTH_MODE": "disabled"}
    del stranger["RAY_AUTH_TOKEN_PATH"]
    join = f"import ray; ray.init(address={address!r}, log_to_driver=False); print('inside')"
    messages = []
    for words in ([RAY, "job", "list", "--address", dashboard], [sys.executable, "-c", join]):
        done = subprocess.run(words, env=stranger, capture_output=True, text=True, timeout=180, cwd=here.root)
        assert done.returncode != 0, f"{words} came in without the token: {done.stdout}"
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "Unauth" in line or "authentication" in line.lower()]
        assert lines, done.stdout + done.stderr
        messages.append(lines[-1].strip())
    return messages


def submit(here: Place, dashboard: str, words: Sequence[str], name: str) -> None:
    """As the page of cluster/ says; from the repository's root, which goes along."""
    options = ["--address", dashboard, "--runtime-env", "cluster/runtime_env.yaml", "--submission-id", name, "--no-wait", "--", *words]
    subprocess.run([RAY, "job", "submit", *options], env=here.environment, cwd=ROOT, check=True, capture_output=True, timeout=180)


def job(here: Place, dashboard: str, *words: str) -> str:
    """Output of `ray job WORDS`."""
    done = subprocess.run(
        [RAY, "job", *words, "--address", dashboard], env=here.environment, capture_output=True, text=True, timeout=LIMIT_SEC
    )
    return done.stdout + done.stderr


def cut_off(folder: Path) -> dict[str, bool]:
    """Stages that were begun and are not recorded: whether the last step that they tell of is in a checkpoint."""
    found = {}
    for history in sorted(folder.glob("stages/*/history.jsonl")):
        if not (history.parent / "record.json").exists():
            step = json.loads(history.read_text().splitlines()[-1])["step"]
            found[history.parent.name] = (history.parent / "checkpoints" / f"{step:06d}" / "checkpoint.json").exists()
    return found


def show(space: str, limit: int, workers: int) -> Ending:
    """All of it."""
    sec: dict[str, float] = {}
    with place(workers) as here:
        words = here.sweep(space, limit, here.profile)
        with cluster(here) as (address, dashboard, _):
            messages = refusals(here, address, dashboard)
            with _timed(sec, "until the stop"):
                submit(here, dashboard, words, "first")
                every = _planned(here)
                wait_until(lambda: 2 * _recorded(here) >= every or _over(job(here, dashboard, "status", "first")), LIMIT_SEC, "half")
            with _timed(sec, "stopping"):
                job(here, dashboard, "stop", "first")
            recorded, log = (_recorded(here), every), job(here, dashboard, "logs", "first")
            cut = cut_off(sweep_folder(here))
            with _timed(sec, "submitted again"):
                submit(here, dashboard, words, "second")
                wait_until(lambda: _over(job(here, dashboard, "status", "second")), LIMIT_SEC, "the second job")
            assert "succeeded" in job(here, dashboard, "status", "second"), job(here, dashboard, "logs", "second")
        costs = [json.loads(path.read_text()) for path in sweep_folder(here).glob("runs/*/cost.json")]
        left = contents(sweep_folder(here))
        here.results.rename(here.root / "over two nodes")  # tables name the command, and with it this path
        with _timed(sec, "undisturbed"), (here.root / "alone.txt").open("w") as output:
            alone = here.sweep(space, limit, here.profile)
            shutil.copy(here.root / "alone.yaml", here.profile)
            environment = {**here.environment, "PYTHONPATH": str(ROOT)}  # a job's workers see what was uploaded; these, the checkout
            subprocess.run(alone, env=environment, cwd=ROOT, stdout=output, stderr=output, check=True, timeout=LIMIT_SEC)
        right = contents(sweep_folder(here))
    different = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
    if not different:
        shutil.rmtree(here.root)
    return Ending(messages, recorded, cut, log, Counter(cost["node"] for cost in costs), different, len(left), sec)


@contextlib.contextmanager
def _timed(sec: dict[str, float], what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    sec[what] = round(time.monotonic() - began, 1)


def sweep_folder(here: Place) -> Path:
    (found,) = (path.parent for path in here.results.glob("*/*/plan.json"))
    return found


def _planned(here: Place) -> int:
    """Number of runs in the plan, once the driver has written it."""
    wait_until(lambda: any(here.results.glob("*/*/plan.json")), 300, "the plan")
    return len({row["signature"] for row in json.loads((sweep_folder(here) / "plan.json").read_text())["rows"]})


def _recorded(here: Place) -> int:
    return len(list(sweep_folder(here).glob("runs/*/record.json")))


def _over(status: str) -> bool:
    return any(word in status for word in ("succeeded", "failed", "was stopped"))


def wait_until(true: Any, sec: float, what: str) -> None:
    until = time.monotonic() + sec
    while not true():
        assert time.monotonic() < until, f"waited {sec:g} s in vain: {what}"
        time.sleep(2)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _end_all(name: str) -> None:
    """Whatever was started with our word in its environment and is still there."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MINE) == name:
                process.kill()


def main(space: str = "tests/recovery_space.py", limit: int = 48, workers: int = 0) -> None:
    """Prints what was seen; exit code 1 where a node did nothing, a stop lost a step, or anything differs."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
    seen = show(space, limit, workers)
    for line in seen.refusals:
        print(f"without the token: {line}")
    print(f"stopped at {seen.recorded[0]} of {seen.recorded[1]} runs; cut off with its last step in a checkpoint: {seen.cut}")
    print("\n".join(line for line in seen.log.splitlines() if "stopping" in line or "what was finished is kept" in line))
    print(f"runs by node: {dict(seen.nodes)}; seconds: {seen.sec}")
    print(f"{seen.compared} files compared; different: {seen.different or 'none'}")
    raise typer.Exit(int(bool(seen.different) or len(seen.nodes) != 2 or not all(seen.cut.values())))


if __name__ == "__main__":
    typer.run(main)
