"""The doctor's findings on a machine that is fit, and on machines broken on purpose, with one fault at a time and five at once."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from omnimer_ray.doctor import Finding, cluster, host, network, quick_findings, refuse, software, work, workers
from omnimer_ray.doctor.__main__ import main
from omnimer_ray.errors import MachineError
from omnimer_ray.machine.cards import Card, nvidia_cards
from omnimer_ray.machine.profile import MachineProfile, Resources
from omnimer_ray.model.bases import Base, locate
from omnimer_ray.model.dimensions import FIELDS, Shape

CORES = MachineProfile(docs="cores")
CARDS = MachineProfile(docs="two cards", workers_per_run=2, gpus_per_worker=1, accelerator_type="GeForce-RTX-3090", recompute=True)
JOINED = CORES.model_copy(update={"address": "head:6379"})
RTX_3090 = Card("NVIDIA GeForce RTX 3090", 24.0, "550.54")
FULL = namedtuple("FULL", "total used free")(100 * 2**30, 100 * 2**30, 2**20)


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This machine as if nobody had set anything."""
    for name in ("RAY_AUTH_MODE", "RAY_ADDRESS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def reason(finding: Finding) -> str:
    assert not finding.ok, finding
    return finding.text


def test_a_finding_is_one_line() -> None:
    assert str(Finding("disk", True, "12 GiB")) == "fine  disk            12 GiB"
    assert str(Finding("token", False, "make one")) == "MEND  token           make one"


def test_the_sweep_refuses_with_everything_that_is_to_be_mended() -> None:
    refuse([Finding("disk", True, "12 GiB")])
    with pytest.raises(MachineError) as raised:
        refuse([Finding("disk", True, "12 GiB"), Finding("token", False, "make one"), Finding("cards", False, "unset it")])
    assert str(raised.value) == "2 of 3 checks of this machine failed (python -m omnimer_ray.doctor):\n  token: make one\n  cards: unset it"


# Software


def test_python_must_be_new_enough() -> None:
    assert software.python().ok
    assert reason(software.python((3, 10, 12))) == "Python 3.10.12 is too old; make the environment with Python 3.11 or later"


def test_absent_and_unsupported_packages_are_reported() -> None:
    assert software.packages(["pydantic>=2", "typer"]) == Finding("packages", True, "all 2 are installed in versions that fit")
    text = reason(software.packages(["pydantic<2", "no-such-package-of-ours>=1", "typer"]))
    assert text.startswith("pydantic is 2.")
    assert ", and <2 is needed; no-such-package-of-ours is not installed; install again: " in text


def test_the_projects_own_requirements_are_read_from_the_checkout_or_the_installed_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ["pydantic>=2.9,<3", "ray[default,train,tune]>=2.60,<2.61"]
    assert set(names) <= set(software._requirements())
    monkeypatch.setattr(software, "PROJECT", tmp_path / "absent.toml")
    listed = ["pydantic>=2.9,<3", 'ray[default]>=2.60; extra == "train"', 'ruff; extra == "dev"']
    monkeypatch.setattr("importlib.metadata.requires", lambda name: listed)
    assert software._requirements() == ["pydantic>=2.9,<3", "ray[default]>=2.60"]


@pytest.mark.parametrize(
    ("probe", "profile", "text"),
    [
        (
            "raise RuntimeError('operator torchvision::nms does not exist')",
            CORES,
            "do not fit each other (RuntimeError: operator torchvision::nms",
        ),
        ("import os; os._exit(139)", CORES, "do not fit each other (exit code 139); install the versions of requirements.lock"),
        ("import time; time.sleep(60)", CORES, "took more than 5 s; look for a hanging disk or driver"),
        ('print(\'{"torch": "2", "torchvision": "0", "cuda": null, "cards": 0}\')', CARDS, "torch 2, built without CUDA, sees no card"),
        ('print(\'{"torch": "2", "torchvision": "0", "cuda": "13", "cards": 0}\')', CARDS, "torch 2, built for CUDA 13, sees no card"),
    ],
    ids=["operator", "crash", "hang", "no CUDA", "old driver"],
)
def test_an_unsupported_pair_of_torch_and_torchvision_is_reported(probe: str, profile: MachineProfile, text: str) -> None:
    assert text in reason(software.operators(profile, limit_sec=5, probe=probe))


def test_the_compiler_is_needed_until_the_op_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert reason(software.compiler(CORES, which=lambda name: None)).startswith("DeepSpeed's op cannot be built or found; it needs the C++")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))  # no ninja beside it
    text = reason(software.compiler(CORES, which=lambda name: None))
    assert text.startswith("DeepSpeed's op cannot be built or found; it needs ninja (pip install ninja); the C++ compiler")
    assert "the C++ compiler 'no-such-compiler' (apt install g++, or name another in CXX)" in text
    assert software.compiler(CARDS, which=lambda name: None).ok
    (tmp_path / "extensions" / "deepspeed_shm_comm.so").touch()
    assert software.compiler(CORES, which=lambda name: name if name == "ninja" else None).ok


def test_the_headers_of_python_are_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert "Python's headers (apt install python3-dev)" in reason(software.compiler(CORES, which=lambda name: name))


def test_extensions_need_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "file"))
    assert f"{tmp_path / 'file'} cannot be written (File exists); set TORCH_EXTENSIONS_DIR to a local one" in reason(
        software.compiler(CORES)
    )


# The machine


def test_a_cpu_quota_below_the_cores_is_reported(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("50000 100000\n")
    text = reason(host.cores(CORES, quota))
    assert text.endswith("the container's quota is 0.5; set max_concurrent_runs in the profile, or use --cpuset-cpus")
    assert host.cores(CORES.model_copy(update={"max_concurrent_runs": 1}), quota).ok
    quota.write_text("max 100000\n")
    assert host.cores(CORES, quota).ok
    assert host.cores(CORES, tmp_path / "absent").ok


def test_memory_for_all_runs_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000000 kB\nMemAvailable: 6291456 kB\n")
    monkeypatch.setattr(host, "local_resources", lambda: Resources(8, 0))
    text = reason(host.memory(CORES, meminfo, tmp_path / "memory.max"))
    assert text == "6.0 GiB are available, and 8 runs of 1 workers need about 11.4; set max_concurrent_runs: 3 in the profile"
    assert host.memory(CORES.model_copy(update={"max_concurrent_runs": 3}), meminfo, tmp_path / "memory.max").ok
    assert host.memory(JOINED, meminfo, tmp_path / "memory.max").ok
    (tmp_path / "memory.max").write_text(str(3 * 2**30))
    (tmp_path / "memory.current").write_text(str(2**30))
    text = reason(host.memory(CORES.model_copy(update={"workers_per_run": 2}), meminfo, tmp_path / "memory.max"))
    assert text == "2.0 GiB are available, and 4 runs of 2 workers need about 11.4; set max_concurrent_runs: 1 in the profile"
    text = reason(host.memory(CORES.model_copy(update={"workers_per_run": 2, "max_concurrent_runs": 1}), meminfo, tmp_path / "memory.max"))
    assert text.endswith("free some, or take a larger machine")
    assert not host.memory(CARDS, meminfo, tmp_path / "memory.max").ok  # a profile that fits nowhere is counted as one run


def test_a_full_disk_is_reported(monkeypatch: pytest.MonkeyPatch, fit: Path) -> None:
    assert host.disk(fit / "results").ok
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: FULL)
    text = reason(host.disk(fit / "results"))
    assert text.startswith(f"{fit / 'results'} (results) has 0.0 GiB free and needs 0.5; ")
    assert text.endswith("free some, or set --results, XDG_CACHE_HOME or TMPDIR to a larger disk")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: FULL._replace(used=97 * 2**30, free=3 * 2**30))
    assert "is 97% full, and Ray stops writing at 95%" in reason(host.disk(fit))


def test_results_need_a_folder_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.storage(tmp_path / "new" / "results", shared=True).ok
    assert list(tmp_path.iterdir()) == []
    text = reason(host.storage(Path("results"), shared=True))
    assert text == "--results results is relative; give an absolute path that all machines of the cluster share"
    monkeypatch.setattr(host, "unwritable", lambda folder: "Read-only file system")
    text = reason(host.storage(tmp_path / "results", shared=False))
    assert text == f"{tmp_path} cannot be written (Read-only file system); change its permissions, or give another --results"


def test_a_folder_that_does_not_keep_its_files_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert software.unwritable(tmp_path) is None
    (tmp_path / "file").touch()
    assert software.unwritable(tmp_path / "file" / "below") == "Not a directory"

    def refuse_to_sync(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse_to_sync)
    assert software.unwritable(tmp_path) == "Input/output error"


def _nvidia_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_cards_are_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _nvidia_smi(tmp_path, 'for card in 1 2; do echo "NVIDIA GeForce RTX 3090, 24576, 550.54"; done', monkeypatch)
    assert nvidia_cards() == [RTX_3090, RTX_3090]
    assert RTX_3090.accelerator_type == "GeForce-RTX-3090"
    assert host.cards(CARDS, [RTX_3090, RTX_3090]).text == "2 x NVIDIA GeForce RTX 3090, 24.0 GiB, driver 550.54"


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (
            "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18",
            "Failed to initialize NVML: Driver/library version mismatch",
        ),
        ("exit 9", "exit code 9"),
        ("sleep 5", "nvidia-smi did not answer within 0.5 s"),
    ],
)
def test_a_driver_that_does_not_answer_is_reported(script: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _nvidia_smi(tmp_path, script, monkeypatch)
    assert reason(host.cards(CORES, nvidia_cards(0.5))) == (
        f"the NVIDIA driver does not answer: {text}; load the driver or restart the machine"
    )


def test_cards_must_be_there_and_of_the_profiles_type(fit: Path) -> None:
    assert host.cards(CORES, []).ok
    assert "install the driver, or take another --machine" in reason(host.cards(CARDS, []))
    assert host.cards(CARDS.model_copy(update={"address": "auto"}), []).ok
    text = reason(host.cards(CARDS, [Card("Tesla T4", 15.0, "550")]))
    assert text == "there is Tesla-T4 where the profile's accelerator_type is GeForce-RTX-3090; set or drop it"


# Who can reach Ray


def test_a_token_is_needed_to_join_a_cluster(fit: Path) -> None:
    assert network.token(CORES, {}, fit).ok
    assert reason(network.token(CORES, {"RAY_AUTH_MODE": "disabled"}, fit)).startswith(
        "RAY_AUTH_MODE=disabled: whoever reaches Ray's ports"
    )
    text = reason(network.token(JOINED, {}, fit))
    assert text == "the cluster is at head:6379; export RAY_AUTH_MODE=token, here and where its nodes are started"
    text = reason(network.token(JOINED, {"RAY_AUTH_MODE": "token"}, fit))
    assert text.startswith("no token is found; make one: ray get-auth-token --generate")
    assert not network.token(JOINED.model_copy(update={"address": "auto"}), {}, fit).ok
    assert network.token(JOINED, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "t"}, fit).ok
    (fit / ".ray").mkdir()
    (fit / ".ray" / "auth_token").write_text("t")
    assert network.token(JOINED, {"RAY_AUTH_MODE": "token"}, fit).ok
    assert not network.token(JOINED, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(fit / "absent")}, fit).ok


@pytest.fixture(params=[200, 401, 403, 500])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """A port, and the status with which everything there is answered."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield served.server_port, request.param
        served.shutdown()


def _process(processes: Path, number: int, *words: str) -> None:
    (processes / str(number)).mkdir(parents=True)
    (processes / str(number) / "cmdline").write_bytes("\0".join(words).encode())


def test_servers_open_to_others_must_ask_for_a_token(server: tuple[int, int], tmp_path: Path) -> None:
    port, status = server
    processes = tmp_path / "proc"
    _process(processes, 1, "/bin/python", "/ray/dashboard/dashboard.py", "--host=0.0.0.0", f"--port={port}", "--node-ip-address=10.0.0.1")
    finding = network.open_servers(processes)
    assert finding.ok == (status in (401, 403))
    if not finding.ok:
        assert finding.text.startswith(
            f"Ray's dashboard at 0.0.0.0:{port} takes jobs from everybody without a token; stop it (ray stop), make"
        )
    inside = network.dashboard(f"127.0.0.1:{port}")
    assert inside.ok == finding.ok
    assert inside.ok or f"the cluster of the dashboard at 127.0.0.1:{port} runs anybody's code without a token" in inside.text


def test_servers_are_found_by_their_command_lines(tmp_path: Path) -> None:
    processes = tmp_path / "proc"
    agent = "--dashboard_agent_command=/bin/python /ray/dashboard/agent.py --node-ip-address=10.0.0.1 --listen-port=52365"
    _process(processes, 1, "/ray/core/src/ray/raylet/raylet", "--node_ip_address=10.0.0.1", agent)
    _process(processes, 2, "/bin/python", "/ray/dashboard/dashboard.py", "--host=127.0.0.1", "--port=8265")
    _process(processes, 3, "/ray/core/src/ray/raylet/raylet", agent.replace("52365", "0"))
    _process(processes, 4, "vim", "dashboard/dashboard.py.txt")
    (processes / "5").mkdir()
    found = sorted(network.ray_servers(processes))
    assert [(one.kind, one.host, one.port) for one in found] == [("agent", "10.0.0.1", 52365), ("dashboard", "127.0.0.1", 8265)]
    assert found[0].url == "http://10.0.0.1:52365/api/job_agent/jobs/doctor/logs"


def test_a_server_that_only_this_machine_reaches_is_no_fault(tmp_path: Path) -> None:
    _process(tmp_path, 1, "/bin/python", "/ray/dashboard/dashboard.py", "--host=localhost", "--port=8265")
    assert network.open_servers(tmp_path).text == "none of Ray's 1 servers here takes jobs from outside without a token"
    assert network.open_servers(tmp_path / "nothing").text == "no Ray runs here"


# All-reduce


@pytest.mark.parametrize("count", [2, 3, 4, 7, 8])
def test_each_pair_occurs_once_and_each_slot_once_a_round(count: int) -> None:
    drawn = list(workers.rounds(count))
    assert sorted(tuple(sorted(pair)) for pairs in drawn for pair in pairs) == list(itertools.combinations(range(count), 2))
    assert all(len({slot for pair in pairs for slot in pair}) == 2 * len(pairs) for pairs in drawn)
    assert len(drawn) == count - 1 + count % 2


def test_two_processes_all_reduce(fit: Path) -> None:
    finding = workers.all_reduce(CORES, workers.local_slots(CORES, 0))
    assert finding.ok, finding
    assert finding.text.startswith("1 pairs, 16 MiB in ")


def test_a_pair_that_never_meets_is_ended_in_time() -> None:
    slot = workers.Slot("127.0.0.1", "cpu", {"GLOO_SOCKET_IFNAME": "lo"})
    began = time.monotonic()
    timing = slot.reduce(1, slot.address(), {}, limit_sec=3)
    assert timing.fault == "hung for 3 s"
    assert time.monotonic() - began < 6


def _handles(count: int, answer: Any) -> list[workers.Handle]:
    def call(method: str, *rest: Any) -> Any:
        return "127.0.0.1:1" if method == "address" else answer(*rest)

    return [workers.Handle(f"card {index}", call) for index in range(count)]


@pytest.mark.parametrize(
    ("direct", "other", "environment", "way_out"),
    [
        (0.010, 0.020, {}, None),
        (0.020, 0.010, {}, '; set environment: {NCCL_P2P_DISABLE: "1"} in the profile'),
        (None, 0.010, {}, '; set environment: {NCCL_P2P_DISABLE: "1"} in the profile'),
        (0.010, None, {}, None),
        (None, None, {}, "name the network in the profile's environment (GLOO_SOCKET_IFNAME, NCCL_SOCKET_IFNAME)"),
        (0.020, 0.010, {"NCCL_P2P_DISABLE": "1"}, None),
        (0.010, 0.020, {"NCCL_P2P_DISABLE": "1"}, "; take NCCL_P2P_DISABLE out of the profile"),
        (0.010, None, {"NCCL_P2P_DISABLE": "1"}, "; take NCCL_P2P_DISABLE out of the profile"),
    ],
)
def test_the_profile_should_name_the_faster_way(
    direct: float | None, other: float | None, environment: dict[str, str], way_out: str | None
) -> None:
    def answer(rank: int, address: str, given: dict[str, str]) -> workers.Timing:
        sec = other if given["NCCL_P2P_DISABLE"] == "1" else direct
        return workers.Timing(0.0, "hung for 60 s") if sec is None else workers.Timing(sec)

    finding = workers.all_reduce(CARDS.model_copy(update={"environment": environment}), _handles(3, answer))
    assert finding.ok == (way_out is None), finding
    assert way_out is None or finding.text.endswith(way_out)
    assert ("3 of 3 pairs fail (card 0 and card 1: hung for 60 s" in finding.text) == (direct is None or other is None)


def test_a_lost_slot_is_reported() -> None:
    def answer(*rest: Any) -> Any:
        raise ConnectionError("the node is gone")

    assert reason(workers.all_reduce(CORES, _handles(2, answer))) == "a worker could not be reached (the node is gone); see ray status"
    assert workers.all_reduce(CARDS, _handles(1, answer)).ok
    assert [handle.name for handle in workers.local_slots(CARDS, 3)] == ["card 0", "card 1", "card 2"]


# The cluster


def _report(**changes: Any) -> cluster.Report:
    return cluster.Report(("2.14",) * len(cluster.PACKAGES), Finding("packages", True, ""), [], "t", None)._replace(**changes)


def test_nodes_must_have_the_same_packages() -> None:
    assert cluster.same_versions({"a": _report(), "b": _report()}).ok
    old = _report(versions=("2.13",) + ("2.14",) * (len(cluster.PACKAGES) - 1))
    assert (
        reason(cluster.same_versions({"a": _report(), "b": old}))
        == "torch is 2.14 on a and 2.13 on b; install the same lock file on every machine"
    )
    lacking = _report(packages=Finding("packages", False, "peft is not installed"))
    assert reason(cluster.same_versions({"a": _report(), "b": lacking})).startswith("peft is not installed; ")


def test_storage_must_be_one_folder_for_all_nodes(tmp_path: Path) -> None:
    (tmp_path / ".doctor-t-a").touch()
    assert cluster.common(tmp_path, {"a": _report()}, "t").ok
    reports = {"a": _report(read="No such file or directory"), "b": _report(written="Read-only file system"), "c": _report()}
    assert reason(cluster.common(tmp_path, reports, "t", wait_sec=0)) == (
        f"{tmp_path} is not the same folder everywhere: a reads 'No such file or directory'; b cannot write (Read-only file system); "
        "what c wrote is not seen here after 0 s; mount one storage on all machines, and name it in --results"
    )


def test_the_reason_of_a_node_that_cannot_read_or_write_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    report = cluster.report_of_node(str(tmp_path / "file"), "t", "a")
    assert (report.read, report.written) == ("Not a directory", "Not a directory")


def test_a_cluster_that_does_not_answer_is_reported_at_once(tmp_path: Path) -> None:
    port = workers.Slot("127.0.0.1", "cpu", {}).address()
    joined = JOINED.model_copy(update={"address": port})
    (finding,) = cluster.check(joined, tmp_path).findings
    assert (
        reason(finding)
        == f"nothing answers at {port} (Connection refused); start the cluster (cluster/README.md), or correct the profile's address"
    )


def test_a_cluster_that_cannot_be_joined_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ray

    def init(**settings: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nPlease specify the one to connect to")

    monkeypatch.setattr(ray, "init", init)
    (finding,) = cluster.check(JOINED.model_copy(update={"address": "auto"}), tmp_path).findings
    assert reason(finding) == "the Ray cluster at auto cannot be joined: Could not find any running Ray instance."


def test_a_cluster_is_examined_node_by_node(fit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def nobody(*rest: Any) -> Any:
        raise TimeoutError("Get timed out")

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error", object_store_memory=100 * 2**20)
    try:
        seen = cluster.examine(CORES, fit / "shared", None)
        monkeypatch.setattr(cluster, "_ask_nodes", nobody)
        silent = cluster.examine(CORES, fit / "shared", None)
    finally:
        ray.shutdown()
    found = {finding.name: finding for finding in seen.findings}
    assert seen.offered.cpus == 2
    assert reason(silent.findings[0]) == "a node does not answer (Get timed out); is omnimer_ray installed there? see ray status"
    assert found["shared storage"].ok, found
    assert "is read and written by 1 nodes" in found["shared storage"].text
    assert found["all-reduce"].ok, found
    assert found["profile"].ok
    assert list((fit / "shared").iterdir()) == []


# What is asked for


def test_a_profile_too_large_for_the_machine_is_reported() -> None:
    assert work.machine(CORES, Resources(2, 0)).text == "2 runs at once on 2 cores and 0 cards"
    assert "the profile asks for 2 GPUs a run (2 workers), and there are 0" in reason(work.machine(CARDS, Resources(8, 0)))


def test_corpus_and_base_are_reported_with_their_own_errors(tmp_path: Path) -> None:
    assert work.corpus("mini").ok
    assert reason(work.corpus("minni")) == "unknown corpus 'minni'; did you mean 'mini' or 'mini_zh'?"
    finding, found = work.base("tiny")
    assert finding.ok
    assert found == locate("tiny")
    finding, found = work.base(str(tmp_path))
    assert found is None
    assert "config.json is missing" in reason(finding)
    assert "its memory cannot be estimated" in reason(work.fits(CORES, None, Resources(2, 0)))


def test_a_base_that_is_not_downloaded_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "Qwen/Qwen2.5-Omni-7B"
    monkeypatch.setattr(work, "locate", lambda given: Base(name, None, "f00d", None, 3584))
    finding, found = work.base(name)
    assert reason(finding) == f"{name} is on the hub, but not on this machine; run `hf download {name} --revision f00d` on every machine"
    assert not work.fits(CARDS, found, Resources(8, 2)).ok


def test_a_base_must_fit_the_workers_memory(tmp_path: Path) -> None:
    shape = Shape(vision_width=1280)
    parts = {part: {key: getattr(shape, name) for name, key in fields.items()} for part, fields in FIELDS.items()}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_5_omni", "thinker_config": parts}))
    qwen_7b = locate("tiny")._replace(folder=tmp_path, width=3584)
    assert work.fits(CORES, locate("tiny"), Resources(2, 0)).ok
    text = reason(work.fits(CARDS.model_copy(update={"recompute": False}), qwen_7b, Resources(8, 2), [RTX_3090]))
    assert "and has 24.0; " in text
    assert work.fits(CARDS.model_copy(update={"evaluation_batch": 1}), qwen_7b, Resources(8, 2), [RTX_3090._replace(memory_gib=48)]).ok
    unknown = CARDS.model_copy(update={"accelerator_type": None})
    assert work.fits(unknown, qwen_7b, Resources(8, 2)).text.endswith("and no card is seen from here to compare with")
    assert not work.fits(CARDS.model_copy(update={"gpus_per_worker": 0.5}), qwen_7b, Resources(8, 2)).ok
    assert "there are 0" in reason(work.fits(CORES, qwen_7b, Resources(0, 0)))
    (tmp_path / "config.json").write_text("{}")
    assert "does not give a Thinker's sizes" in reason(work.fits(CARDS, qwen_7b, Resources(8, 2)))


# The command


def _doctor(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "omnimer_ray.doctor", *words]
    given = {name: value for name, value in os.environ.items() if name not in ("RAY_AUTH_MODE", "RAY_ADDRESS", "CUDA_VISIBLE_DEVICES")}
    return subprocess.run(command, capture_output=True, text=True, env={**given, **environment}, timeout=60, check=False)


def test_all_five_faults_of_a_machine_are_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "huge.yaml").write_text("docs: too much for any machine\nworkers_per_run: 9999\nmicro_batch: 1\n")
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\necho 'Unable to determine the device handle for GPU0: GPU is lost'\nexit 15\n")
    smi.chmod(0o755)
    done = _doctor(
        "--quick",
        *("--machine", str(tmp_path / "huge.yaml"), "--results", str(tmp_path / "results")),
        PATH=str(smi.parent),
        TORCH_EXTENSIONS_DIR=str(tmp_path / "file"),
        RAY_AUTH_MODE="disabled",
    )
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    broken = {name: text for verdict, name, text in lines[:-1] if verdict == "MEND"}
    assert done.returncode == 1, done.stderr
    assert {"compiler", "cards", "token", "profile", "memory"} <= set(broken)
    assert "the C++ compiler 'c++'" in broken["compiler"]
    assert "GPU is lost" in broken["cards"]
    assert "RAY_AUTH_MODE=disabled" in broken["token"]
    assert "the profile asks for 9999 cores a run" in broken["profile"]
    assert "9999 workers need about" in broken["memory"]
    assert done.stdout.splitlines()[-1] == f"{len(broken)} of {len(lines) - 1} checks found something to fix"


def test_the_quick_checks_load_neither_torch_nor_ray(fit: Path) -> None:
    code = (
        "import sys, time; began = time.monotonic()\n"
        "from pathlib import Path\n"
        "from omnimer_ray.doctor import quick_findings\n"
        "from omnimer_ray.machine.profile import load_profile\n"
        f"found = quick_findings(load_profile('laptop'), Path({str(fit)!r}))\n"
        "heavy = {'torch', 'ray', 'transformers', 'av', 'PIL'} & set(sys.modules)\n"
        "print(len(found), sorted(heavy), time.process_time())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, heavy, sec = done.stdout.split(maxsplit=2)
    assert (int(count), heavy) == (11, "[]")
    assert float(sec) < 3


def test_all_fine_ends_with_0(monkeypatch: pytest.MonkeyPatch, fit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(software, "packages", lambda: Finding("packages", True, "as they should be"))
    monkeypatch.setattr(network, "open_servers", lambda: Finding("open servers", True, "none"))
    monkeypatch.setattr(sys, "argv", ["doctor", "--quick", "--results", str(fit)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().out.splitlines()[-1]) == (0, "all 11 checks are fine")


def test_a_wrong_profile_is_an_error_without_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["doctor", "--machine", "laptob"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("MachineError: machine profile 'laptob': no file ")


def test_a_joined_cluster_is_checked_without_this_machines_own_profile(fit: Path) -> None:
    names = {finding.name for finding in quick_findings(JOINED, fit)}
    assert "profile" not in names
