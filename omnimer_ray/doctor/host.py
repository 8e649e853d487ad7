"""Checks of this machine: cores, memory, disk, the results' folder, the cards and their driver."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from omnimer_ray.corpora import default_cache
from omnimer_ray.doctor.finding import Finding
from omnimer_ray.doctor.software import unwritable
from omnimer_ray.errors import MachineError
from omnimer_ray.machine.cards import Card
from omnimer_ray.machine.profile import MachineProfile, concurrency, local_resources

GIB = 2**30
WORKER_GIB = 1.3  # torch, transformers and DeepSpeed imported, the tiny base in training; seen on a CPU
RAY_GIB = 1.0  # raylet, GCS, the driver
FREE_GIB = 0.5
RAY_DISK_SHARE = 0.95  # Ray spills nothing, and warns without end, on a disk that is fuller


def cards(profile: MachineProfile, found: Sequence[Card] | str) -> Finding:
    """Check that the cards exist, respond, and are of the profile's type."""
    if isinstance(found, str):
        return Finding("cards", False, f"the NVIDIA driver does not answer: {found}; load the driver or restart the machine")
    if not found:
        if profile.gpus_per_worker and profile.address is None:
            return Finding(
                "cards", False, "the profile asks for cards and there is no nvidia-smi; install the driver, or take another --machine"
            )
        return Finding("cards", True, "none here")
    other = sorted({card.accelerator_type for card in found} - {profile.accelerator_type})
    if profile.accelerator_type and other and profile.address is None:
        return Finding(
            "cards",
            False,
            f"there is {', '.join(other)} where the profile's accelerator_type is {profile.accelerator_type}; set or drop it",
        )
    smallest = min(card.memory_gib for card in found)
    return Finding("cards", True, f"{len(found)} x {found[0].name}, {smallest:.1f} GiB, driver {found[0].driver}")


def cores(profile: MachineProfile, quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> Finding:
    """Check that a container's quota is not below the cores that this process may use, which would slow every worker down."""
    seen = len(os.sched_getaffinity(0))
    try:
        allowed, period = quota.read_text().split()
        share = float(seen) if allowed == "max" else int(allowed) / int(period)
    except (OSError, ValueError):
        share = float(seen)
    if share < seen and profile.max_concurrent_runs is None:
        return Finding(
            "cores",
            False,
            f"{seen} cores are seen, and the container's quota is {share:g}; set max_concurrent_runs in the profile, or use --cpuset-cpus",
        )
    return Finding("cores", True, f"{seen} cores" + (f" seen, {share:g} by the container's quota" if share < seen else ""))


def memory(profile: MachineProfile, meminfo: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")) -> Finding:
    """Check the memory for the processes of all concurrent runs; the base's weights are another check."""
    available = available_gib(meminfo, limit)
    if profile.address is not None:
        return Finding("memory", True, f"{available:.1f} GiB available on this machine")
    try:
        runs = concurrency(profile, local_resources())
    except MachineError:
        runs = 1  # reported by the check of the machine
    workers = max(1, profile.workers_per_run)
    needed = RAY_GIB + runs * workers * WORKER_GIB
    if needed > available:
        fits = max(1, int((available - RAY_GIB) / (workers * WORKER_GIB)))
        way_out = f"set max_concurrent_runs: {fits} in the profile" if fits < runs else "free some, or take a larger machine"
        return Finding(
            "memory", False, f"{available:.1f} GiB are available, and {runs} runs of {workers} workers need about {needed:.1f}; {way_out}"
        )
    return Finding("memory", True, f"{available:.1f} GiB available, about {needed:.1f} needed for {runs} runs of {workers} workers")


def available_gib(meminfo: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")) -> float:
    """Free memory: MemAvailable, or the container's limit minus its use."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    available = int(lines["MemAvailable"].split()[0]) / 2**20
    try:
        taken = int(limit.with_name("memory.current").read_text())
        return min(available, (int(limit.read_text()) - taken) / GIB)
    except (OSError, ValueError):  # no container, or one without a limit
        return available


def disk(results: Path) -> Finding:
    """Check the free space for results, for cached media and for Ray's session."""
    tight, parts = [], []
    for what, folder in (("results", results), ("the media cache", default_cache()), ("Ray's session", Path(tempfile.gettempdir()))):
        usage = shutil.disk_usage(existing(folder))
        free = usage.free / GIB
        parts.append(f"{free:.0f} GiB for {what}")
        if free < FREE_GIB:
            tight.append(f"{folder} ({what}) has {free:.1f} GiB free and needs {FREE_GIB}")
        elif what.startswith("Ray") and usage.used / usage.total > RAY_DISK_SHARE:
            tight.append(f"{folder} is {usage.used / usage.total:.0%} full, and Ray stops writing at {RAY_DISK_SHARE:.0%}")
    if tight:
        return Finding("disk", False, f"{'; '.join(tight)}; free some, or set --results, XDG_CACHE_HOME or TMPDIR to a larger disk")
    return Finding("disk", True, f"free: {', '.join(parts)}")


def storage(results: Path, shared: bool) -> Finding:
    """Check that the results folder can be written and read, and is absolute if other machines must find it."""
    if shared and not results.is_absolute():
        return Finding("storage", False, f"--results {results} is relative; give an absolute path that all machines of the cluster share")
    there = existing(results)
    if fault := unwritable(there):
        return Finding("storage", False, f"{there} cannot be written ({fault}); change its permissions, or give another --results")
    return Finding("storage", True, f"{there} is written and read from here")


def existing(folder: Path) -> Path:
    """The folder, or its nearest existing parent."""
    folder = folder.absolute()
    return next(parent for parent in (folder, *folder.parents) if parent.is_dir())
