"""An all-reduce of every pair of workers, on all nodes: finds pairs that hang or are slow, with and without peer-to-peer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from omnimer_ray.doctor.finding import Finding
from omnimer_ray.machine.profile import MachineProfile

ROOT = Path(__file__).parent.parent.parent
LIMIT_SEC = 90.0  # of one pair, imports included
CPU_MIB, GPU_MIB = 16, 64
CLEARLY = 1.2  # one way counts as faster by this factor
NETWORK = "; check the firewall, and name the network in the profile's environment (GLOO_SOCKET_IFNAME, NCCL_SOCKET_IFNAME)"
MODES = {"with peer-to-peer": {"NCCL_P2P_DISABLE": "0"}, "without": {"NCCL_P2P_DISABLE": "1"}}


class Timing(NamedTuple):
    """Result of one pair of processes: the seconds of an all-reduce, or its error."""

    sec: float
    fault: str | None = None


class Slot:
    """A place where a worker would run: a card, or a machine's cores. The object exists in a process there."""

    def __init__(self, host: str, device: str, environment: dict[str, str]) -> None:
        self.host, self.device, self.environment = host, device, environment

    def address(self) -> str:
        """Return HOST:PORT with a port that is free at present."""
        with socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET) as probe:
            probe.bind((self.host, 0))
            return f"{f'[{self.host}]' if ':' in self.host else self.host}:{probe.getsockname()[1]}"

    def reduce(self, rank: int, address: str, environment: dict[str, str], limit_sec: float = LIMIT_SEC) -> Timing:
        """Run this slot's half of an all-reduce with the slot that opened `address`."""
        mib = GPU_MIB if self.device == "cuda" else CPU_MIB
        command = [sys.executable, "-m", "omnimer_ray.doctor.reduce", str(rank), address, self.device, str(mib), str(limit_sec)]
        path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH")) if part)
        given = {**os.environ, "OMP_NUM_THREADS": "1", **self.environment, **environment, "PYTHONPATH": path}
        try:
            done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=limit_sec, check=False)
        except subprocess.TimeoutExpired:
            return Timing(0.0, f"hung for {limit_sec:g} s")
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return Timing(0.0, lines[-1]) if done.returncode else Timing(float(done.stdout.strip().splitlines()[-1]))


class Handle(NamedTuple):
    """A slot, here or behind Ray: `call(method, *arguments)` runs one of its methods there."""

    name: str
    call: Callable[..., Any]


def local_slots(profile: MachineProfile, num_cards: int) -> list[Handle]:
    """Number of processes on this machine: one per card, or two without cards."""
    if profile.gpus_per_worker:
        places = [(f"card {index}", "cuda", {"CUDA_VISIBLE_DEVICES": str(index)}) for index in range(num_cards)]
    else:
        places = [(f"process {index}", "cpu", {}) for index in range(2)]
    slots = [(name, Slot("127.0.0.1", device, {**profile.environment, **given})) for name, device, given in places]
    return [Handle(name, lambda method, *rest, slot=slot: getattr(slot, method)(*rest)) for name, slot in slots]


def rounds(count: int) -> Iterator[list[tuple[int, int]]]:
    """All pairs of `count`, in rounds of disjoint pairs (the circle method)."""
    circle: list[int | None] = [*range(count), *([None] if count % 2 else [])]
    for _ in range(len(circle) - 1):
        half = len(circle) // 2
        both = zip(circle[:half], reversed(circle[half:]), strict=True)
        yield [(one, other) for one, other in both if one is not None and other is not None]
        circle = [circle[0], circle[-1], *circle[1:-1]]


def all_reduce(profile: MachineProfile, slots: Sequence[Handle]) -> Finding:
    """Time every pair of slots; on cards with and without peer-to-peer."""
    name = "all-reduce"
    if len(slots) < 2:
        return Finding(name, True, "one worker at most, so there is no pair")
    try:
        modes = MODES if profile.gpus_per_worker else {"gloo": {}}
        timings = {mode: _time_pairs(slots, environment) for mode, environment in modes.items()}
    except Exception as error:  # a slot behind Ray may be lost in many ways
        return Finding(
            name, False, f"a worker could not be reached ({(str(error).strip().splitlines() or [repr(error)])[-1]}); see ray status"
        )
    if profile.gpus_per_worker:
        return Finding(name, *_verdict_of_cards(profile, timings))
    ok, text = _verdict(timings["gloo"], CPU_MIB)
    return Finding(name, ok, text if ok else text + NETWORK)


def _time_pairs(slots: Sequence[Handle], environment: dict[str, str]) -> dict[str, Timing]:
    """Results by pair; the pairs of a round run concurrently, as workers do in training."""
    timings: dict[str, Timing] = {}

    def time_pair(pair: tuple[int, int]) -> None:
        one, other = (slots[index] for index in sorted(pair))
        address = one.call("address")
        with ThreadPoolExecutor(2) as ranks:
            halves = [ranks.submit(slot.call, "reduce", rank, address, environment) for rank, slot in enumerate((one, other))]
            results = [half.result() for half in halves]
        faults = [result.fault for result in results if result.fault]
        timings[f"{one.name} and {other.name}"] = Timing(max(result.sec for result in results), faults[0] if faults else None)

    for pairs in rounds(len(slots)):
        with ThreadPoolExecutor(len(pairs)) as pool:
            list(pool.map(time_pair, pairs))
    names = [f"{one.name} and {other.name}" for one, other in combinations(slots, 2)]
    return {name: timings[name] for name in names}


def _verdict(timings: dict[str, Timing], mib: int) -> tuple[bool, str]:
    if faults := [f"{pair}: {timing.fault}" for pair, timing in timings.items() if timing.fault]:
        return False, f"{len(faults)} of {len(timings)} pairs fail ({'; '.join(faults[:3])}{'; ...' if len(faults) > 3 else ''})"
    slowest, timing = max(timings.items(), key=lambda entry: entry[1].sec)
    return True, f"{len(timings)} pairs, {mib} MiB in {1000 * timing.sec:.1f} ms at worst ({slowest})"


def _verdict_of_cards(profile: MachineProfile, timings: dict[str, dict[str, Timing]]) -> tuple[bool, str]:
    """Advice which of the two ways the profile should set in its environment."""
    (direct_ok, direct), (other_ok, other) = (_verdict(timings[mode], GPU_MIB) for mode in MODES)
    text = f"with peer-to-peer: {direct}; without: {other}"
    off = profile.environment.get("NCCL_P2P_DISABLE", "0") == "1"
    if not direct_ok and not other_ok:
        return False, text + NETWORK
    slowest = [max(timing.sec for timing in timings[mode].values()) for mode in MODES]
    if not off and (not direct_ok or (other_ok and slowest[0] > CLEARLY * slowest[1])):
        return False, f'{text}; set environment: {{NCCL_P2P_DISABLE: "1"}} in the profile'
    if off and (not other_ok or (direct_ok and slowest[1] > CLEARLY * slowest[0])):
        return False, f"{text}; take NCCL_P2P_DISABLE out of the profile"
    return True, text
