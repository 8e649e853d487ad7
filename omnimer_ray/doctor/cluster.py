"""Checks that need the running Ray cluster: its nodes, the storage that they share, its dashboard, and its pairs of workers."""

from __future__ import annotations

import contextlib
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from omnimer_ray.doctor import host, network, software, work, workers
from omnimer_ray.doctor.finding import Finding
from omnimer_ray.machine.cards import Card, nvidia_cards
from omnimer_ray.machine.profile import MachineProfile, Resources

PACKAGES = ("torch", "transformers", "peft", "deepspeed", "polars")
LIMIT_SEC = 60.0  # for an answer of a node
SEEN_WITHIN_SEC = 10.0  # NFS caches: another machine may see a file only after seconds


class Report(NamedTuple):
    """A node's report about itself."""

    versions: tuple[str, ...]
    packages: Finding
    cards: list[Card] | str
    read: str  # content of the driver's file, or the reason why it could not be read
    written: str | None  # reason why it could not write, or None


class Cluster(NamedTuple):
    """Findings of the cluster checks, and the values that later checks need."""

    findings: list[Finding]
    offered: Resources
    cards: list[Card]


def check(profile: MachineProfile, results: Path) -> Cluster:
    """Join the cluster, run the checks on every node, and leave it."""
    import ray

    address = network.cluster_address(profile) or "auto"
    empty = Cluster([], Resources(0, 0), [])
    if fault := _unreachable(address):
        return empty._replace(findings=[Finding("cluster", False, fault)])
    try:
        context = ray.init(address=address, log_to_driver=False, logging_level="error")
    except Exception as error:  # Ray raises many types; each means that the cluster cannot be joined
        last = (str(error).strip().splitlines() or [repr(error)])[0]
        return empty._replace(findings=[Finding("cluster", False, f"the Ray cluster at {address} cannot be joined: {last}")])
    try:
        return examine(profile, results, context.dashboard_url)
    finally:
        ray.shutdown()


def examine(profile: MachineProfile, results: Path, dashboard: str | None) -> Cluster:
    """The checks of the cluster that this process has joined."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    fits, offered = work.machines(profile, [node["Resources"] for node in nodes])
    try:
        storage, reports = _ask_nodes(nodes, results)
    except Exception as error:  # any error of a node, or its timeout
        last = (str(error).strip().splitlines() or [repr(error)])[-1]
        finding = Finding("cluster", False, f"a node does not answer ({last}); is omnimer_ray installed there? see ray status")
        return Cluster([finding, fits], offered, [])
    cards = [card for report in reports.values() if not isinstance(report.cards, str) for card in report.cards]
    findings = [
        same_versions(reports),
        fits,
        storage,
        *([network.dashboard(dashboard)] if dashboard else []),
        *(host.cards(profile, report.cards)._replace(name=f"cards {name}") for name, report in reports.items() if report.cards),
        workers.all_reduce(profile, _slots(profile, nodes)),
    ]
    return Cluster(findings, offered, cards)


def same_versions(reports: dict[str, Report]) -> Finding:
    """Check that all nodes have fitting packages, in the same versions."""
    faults = sorted({report.packages.text for report in reports.values() if not report.packages.ok})
    first = next(iter(reports))
    for name, report in reports.items():
        for package, here, there in zip(PACKAGES, reports[first].versions, report.versions, strict=True):
            if here != there:
                faults.append(f"{package} is {here} on {first} and {there} on {name}")
    if faults:
        return Finding("cluster", False, f"{'; '.join(faults)}; install the same lock file on every machine")
    return Finding("cluster", True, f"{len(reports)} nodes with the same packages: {', '.join(reports)}")


def common(results: Path, reports: dict[str, Report], token: str, wait_sec: float = SEEN_WITHIN_SEC) -> Finding:
    """Check that every node reads the driver's file in the shared folder, and that its own file is seen here."""
    faults = [f"{name} reads {report.read!r}" for name, report in reports.items() if report.read != token]
    faults += [f"{name} cannot write ({report.written})" for name, report in reports.items() if report.written]
    began = time.monotonic()
    for name, report in reports.items():
        mine = results / f".doctor-{token}-{name}"
        while report.written is None and not mine.exists() and time.monotonic() - began < wait_sec:
            time.sleep(0.1)
        if report.written is None and not mine.exists():
            faults.append(f"what {name} wrote is not seen here after {wait_sec:g} s")
    if faults:
        text = "; ".join(faults)
        return Finding(
            "shared storage",
            False,
            f"{results} is not the same folder everywhere: {text}; mount one storage on all machines, and name it in --results",
        )
    return Finding(
        "shared storage", True, f"{results} is read and written by {len(reports)} nodes, seen within {time.monotonic() - began:.1f} s"
    )


def report_of_node(results: str, token: str, name: str) -> Report:
    """Report a node's software and hardware, and whether it reads and writes the shared folder. Runs on the node."""
    import importlib.metadata

    versions = []
    for package in PACKAGES:
        try:
            versions.append(importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            versions.append("absent")
    folder, read, written = Path(results), "", None
    try:
        read = (folder / f".doctor-{token}").read_text()
    except OSError as error:
        read = error.strerror or str(error)
    try:
        (folder / f".doctor-{token}-{name}").write_text(name)
    except OSError as error:
        written = error.strerror or str(error)
    return Report(tuple(versions), software.packages(), nvidia_cards(), read, written)


def _ask_nodes(nodes: list[dict[str, Any]], results: Path) -> tuple[Finding, dict[str, Report]]:
    import ray

    token = uuid.uuid4().hex
    with _standing(results, token):
        task = ray.remote(report_of_node)
        asked = {}
        for index, node in enumerate(nodes):
            name = f"{node['NodeManagerHostname']}-{index}"
            asked[name] = task.options(num_cpus=0, max_retries=0, scheduling_strategy=_at(node)).remote(str(results), token, name)
        reports = dict(zip(asked, ray.get(list(asked.values()), timeout=LIMIT_SEC), strict=True))
        return common(results, reports, token), reports


@contextlib.contextmanager
def _standing(results: Path, token: str) -> Iterator[None]:
    """A file for the nodes to read; it and the nodes' own files are deleted afterwards."""
    with contextlib.suppress(OSError):  # reported as a file that a node could not read
        results.mkdir(parents=True, exist_ok=True)
        (results / f".doctor-{token}").write_text(token)
    try:
        yield
    finally:
        for path in results.glob(f".doctor-{token}*"):
            path.unlink(missing_ok=True)


def _slots(profile: MachineProfile, nodes: list[dict[str, Any]]) -> list[workers.Handle]:
    """One slot per card of the cluster; without cards one per node, and two on a single node."""
    import ray

    actor = ray.remote(workers.Slot)
    device = "cuda" if profile.gpus_per_worker else "cpu"
    handles = []
    for index, node in enumerate(nodes):
        count = int(node["Resources"].get("GPU", 0)) if profile.gpus_per_worker else 1 + (len(nodes) == 1)
        for place in range(count):
            options = {"num_cpus": 0, "num_gpus": int(device == "cuda"), "scheduling_strategy": _at(node)}
            slot = actor.options(**options).remote(node["NodeManagerAddress"], device, dict(profile.environment))
            name = f"{node['NodeManagerHostname']}-{index}/{place}"
            handles.append(
                workers.Handle(
                    name, lambda method, *rest, slot=slot: ray.get(getattr(slot, method).remote(*rest), timeout=2 * workers.LIMIT_SEC)
                )
            )
    return handles


def _at(node: dict[str, Any]) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)


def _unreachable(address: str) -> str | None:
    """Try a plain connection first: Ray waits for minutes if nothing answers."""
    name, _, port = address.rpartition(":")
    if not (name and port.isdigit()):
        return None
    try:
        socket.create_connection((name.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        return f"nothing answers at {address} ({error.strerror or error}); start the cluster (cluster/README.md), or correct the profile's address"
    return None
