"""Free resources of a Ray cluster: whether another worker group can start now, and the missing resources if it cannot.

Each worker group requests its own small number of bytes of memory. The number identifies the unit's placement group, so that the groups of
other drivers are not counted, and a started unit is known to have no resources yet if its group is not placed. Trials that do the work
themselves request the same number for all units of a sweep, because Tune hands a process on to the next trial only if both ask for the same.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from omnimer_ray.machine.profile import MachineProfile, num_workers
from omnimer_ray.planning.units import Unit

READ_EVERY_SEC = 1.0
NAMES = {"CPU": ("core", "cores"), "GPU": ("GPU", "GPUs")}  # Ray's name -> singular and plural in messages


class Node(NamedTuple):
    """A live node: its total and its unallocated resources."""

    total: Mapping[str, float]
    free: Mapping[str, float]


class Room(NamedTuple):
    """Whether another unit can start now; `waits_for` is the reason if other drivers or dead nodes are in the way."""

    fits: bool
    waits_for: str | None = None


def find_room(profile: MachineProfile, nodes: Sequence[Node], running: int, starting: int, idle: int = 0) -> Room:
    """Decide whether one more worker group fits. `starting` of the `running` units have no resources yet; `idle` processes wait for a unit.

    If this sweep's own units fill the cluster, no reason is reported: the next unit starts when one of them ends. One that was started on a node
    that then died waits too.
    """
    limit = num_groups(profile, (node.total for node in nodes))
    if profile.max_concurrent_runs is not None:
        limit = min(limit, profile.max_concurrent_runs)
    free = num_groups(profile, (node.free for node in nodes)) + idle
    if running >= limit > 0 and (free >= starting or running - starting >= limit):
        return Room(False)
    if running < limit and free > starting:
        return Room(True)
    return Room(False, describe_shortage(profile, nodes))


def num_groups(profile: MachineProfile, nodes: Iterable[Mapping[str, float]]) -> int:
    """Number of worker groups that fit on the nodes; the workers of a group may be on several nodes."""
    return num_workers(profile, nodes) // max(1, profile.workers_per_run)


def describe_shortage(profile: MachineProfile, nodes: Sequence[Node]) -> str:
    """Describe the resources of a worker group and the free ones of each node: `waiting for 2 cores on one node: 1 free of 4 cores`."""
    amounts = {"CPU": profile.cpus_per_worker, "GPU": profile.gpus_per_worker}
    requested = {name: amount for name, amount in amounts.items() if amount}
    worker = " and ".join(_count(name, amount) for name, amount in requested.items())
    several = f"{profile.workers_per_run} workers with " if profile.workers_per_run > 1 else ""
    kind = f" of type {profile.accelerator_type}" if profile.accelerator_type else ""
    free = "; ".join(_describe_free(requested, node) for node in nodes) or "no node is alive"
    return f"waiting for {several}{worker}{kind} on one node{' each' if several else ''}: {free}"


def _describe_free(requested: Mapping[str, float], node: Node) -> str:
    parts = (f"{node.free.get(name, 0.0):g} free of {_count(name, node.total.get(name, 0.0))}" for name in requested)
    return " and ".join(parts)


def _count(name: str, amount: float) -> str:
    return f"{amount:g} {NAMES[name][amount != 1]}"


class Capacity:
    """Callable for the searcher: whether another unit can start now. Reads Ray's state at most once a second."""

    def __init__(self, profile: MachineProfile, session: str, report: Callable[[str | None], None]) -> None:
        """`report` is called each time with the reason why no unit can start, or None."""
        self.profile, self.session, self.report = profile, session, report
        self.nodes, self.held, self.read_at = list[Node](), Counter[float](), float("-inf")

    def __call__(self, running: Collection[Unit]) -> bool:
        if time.monotonic() - self.read_at >= READ_EVERY_SEC:
            self.nodes, self.held, self.read_at = live_nodes(), held_tags(), time.monotonic()
        if self.profile.workers_per_run:
            starting, idle = sum(not self.held[placement_group_tag(unit, self.session)] for unit in running), 0
        else:
            placed = self.held[trial_tag(self.session)]
            starting, idle = max(0, len(running) - placed), max(0, placed - len(running))
        room = find_room(self.profile, self.nodes, len(running), starting, idle)
        self.report(room.waits_for)
        return room.fits


def live_nodes() -> list[Node]:
    """The cluster's live nodes; a dead node is missing from Ray's list of free resources as well."""
    import ray
    from ray._private.state import available_resources_per_node

    free: dict[str, Any] = available_resources_per_node()
    return [Node(node["Resources"], free.get(node["NodeID"], {})) for node in ray.nodes() if node["Alive"]]


def held_tags() -> Counter[float]:
    """How many placement groups with each tag have their resources."""
    created = (group for group in _groups().values() if group["state"] == "CREATED")
    return Counter(tag for group in created for tag in {bundle["memory"] for bundle in _tagged(group)})


def placement_group_tag(unit: Unit, session: str) -> int:
    """Bytes of memory that a unit's workers request: a negligible amount that identifies the unit's placement group."""
    return _tag(session, unit.id)


def trial_tag(session: str) -> int:
    """Bytes of memory that each trial of a sweep requests if it does the work itself."""
    return _tag(session, "trial")


def _tag(session: str, name: str) -> int:
    return 1 + zlib.crc32(f"{session} {name}".encode()) % 2**20


def remove_placement_group(unit: Unit, session: str) -> None:
    """Remove the placement group of a worker group whose trial has ended.

    Ray keeps it, with its cores and cards, until the driver ends, if the group's set-up failed, or if the trial's or the controller's
    process died and no dashboard runs.
    """
    import ray
    from ray.util.placement_group import PlacementGroup
    from ray.util.placement_group import remove_placement_group as remove

    tag = placement_group_tag(unit, session)
    for name, group in _groups().items() if ray.is_initialized() else ():
        if group["state"] != "REMOVED" and any(bundle["memory"] == tag for bundle in _tagged(group)):
            remove(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(name))))


def _groups() -> dict[str, Any]:
    from ray.util.placement_group import placement_group_table

    return dict(placement_group_table())


def _tagged(group: dict[str, Any]) -> list[dict[str, Any]]:
    return [bundle for bundle in group["bundles"].values() if "memory" in bundle]
