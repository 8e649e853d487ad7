"""Room for another unit on a cluster whose nodes are free, full, occupied by another driver, dead, or new."""

from collections.abc import Mapping
from typing import Any

import pytest
from making import AnyUnit

from omnimer_ray.execution import capacity
from omnimer_ray.execution.capacity import Capacity, Node, Room, find_room, placement_group_tag, trial_tag
from omnimer_ray.machine.profile import MachineProfile

RTX_3090 = "accelerator_type:GeForce-RTX-3090"


def profile(**changes: Any) -> MachineProfile:
    return MachineProfile(docs="a test", **changes)


def node(cpus: float, free: float, **cards: float) -> Node:
    """A node with cores and memory. `gpus` and `free_gpus` are the numbers of its cards."""
    gpus = {"GPU": cards["gpus"], RTX_3090: 1.0} if cards else {}
    free_gpus = {"GPU": cards["free_gpus"], RTX_3090: 0.9} if cards else {}
    return Node({"CPU": cpus, "memory": 9e9, **gpus}, {"CPU": free, "memory": 9e9, **free_gpus})


BIG = profile(cpus_per_worker=2)
CARDS = profile(cpus_per_worker=4, gpus_per_worker=1, workers_per_run=2, accelerator_type="GeForce-RTX-3090")


@pytest.mark.parametrize(
    ("profile", "nodes", "running", "starting", "room"),
    [
        (profile(), [node(1, 1), node(1, 1)], 0, 0, Room(True)),
        (profile(), [node(1, 1), node(1, 1)], 1, 1, Room(True)),
        (profile(), [node(1, 0), node(1, 1)], 1, 0, Room(True)),
        (profile(), [node(1, 0), node(1, 0)], 2, 0, Room(False)),  # full of this sweep's units: no reason is reported
        (profile(), [node(1, 1), node(1, 1)], 2, 2, Room(False)),
        (profile(), [node(1, 0)], 2, 1, Room(False)),  # a node died: its unit has not ended yet
        (profile(), [node(1, 0)], 0, 0, Room(False, "waiting for 1 core on one node: 0 free of 1 core")),
        (profile(), [node(1, 0)], 1, 1, Room(False, "waiting for 1 core on one node: 0 free of 1 core")),  # started on a node that died
        (profile(), [], 0, 0, Room(False, "waiting for 1 core on one node: no node is alive")),
        (profile(), [node(1, 0), node(1, 1)], 1, 1, Room(False, "waiting for 1 core on one node: 0 free of 1 core; 1 free of 1 core")),
        (profile(max_concurrent_runs=1), [node(4, 3)], 1, 0, Room(False)),
        (profile(max_concurrent_runs=2), [node(4, 3)], 1, 0, Room(True)),
        (BIG, [node(4, 1)], 1, 0, Room(False, "waiting for 2 cores on one node: 1 free of 4 cores")),
        (BIG, [node(3, 1), node(3, 1)], 0, 0, Room(False, "waiting for 2 cores on one node: 1 free of 3 cores; 1 free of 3 cores")),
        (BIG, [node(1, 1)], 0, 0, Room(False, "waiting for 2 cores on one node: 1 free of 1 core")),
        (profile(cpus_per_worker=0.2), [node(1, 0.6)], 2, 2, Room(True)),  # 0.6 // 0.2 is 2
        (profile(workers_per_run=2), [node(1, 1), node(1, 1)], 0, 0, Room(True)),
        (
            profile(workers_per_run=2),
            [node(1, 1)],
            0,
            0,
            Room(False, "waiting for 2 workers with 1 core on one node each: 1 free of 1 core"),
        ),
        (CARDS, [node(16, 16, gpus=2, free_gpus=1), node(16, 16, gpus=2, free_gpus=2)], 0, 0, Room(True)),
        (
            CARDS,
            [node(16, 8, gpus=2, free_gpus=1), node(16, 16)],
            0,
            0,
            Room(
                False,
                "waiting for 2 workers with 4 cores and 1 GPU of type GeForce-RTX-3090 on one node each: "
                "8 free of 16 cores and 1 free of 2 GPUs; 16 free of 16 cores and 0 free of 0 GPUs",
            ),
        ),
    ],
)
def test_room_for_another_unit(profile: MachineProfile, nodes: list[Node], running: int, starting: int, room: Room) -> None:
    assert find_room(profile, nodes, running, starting) == room


def test_units_without_resources_yet_are_counted_and_rays_state_is_read_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """One core is free; the unit that was started last will take it."""
    one, two = (AnyUnit(name) for name in ("one", "two"))
    groups: Mapping[str, Any] = {
        "a": {"state": "CREATED", "bundles": {0: {"CPU": 1.0, "memory": placement_group_tag(one, "ours")}}},
        "b": {"state": "PENDING", "bundles": {0: {"CPU": 1.0, "memory": placement_group_tag(two, "ours")}}},
        "c": {"state": "CREATED", "bundles": {0: {"CPU": 1.0}}},
    }
    reads = list[str]()
    reports = list[str | None]()
    monkeypatch.setattr(capacity, "live_nodes", lambda: reads.append("nodes") or [node(3, 1)])
    monkeypatch.setattr(capacity, "_groups", lambda: groups)
    now = [100.0]
    monkeypatch.setattr(capacity.time, "monotonic", lambda: now[0])
    has_room = Capacity(profile(), "ours", reports.append)
    assert has_room([one])
    assert not has_room([one, two])
    assert len(reads) == 1
    now[0] += 1
    assert not Capacity(profile(), "another driver", reports.append)([one])
    assert has_room([])
    assert len(reads) == 3
    waiting = "waiting for 1 core on one node: 1 free of 3 cores"
    assert reports == [None, waiting, waiting, None]


def test_the_process_of_a_trial_that_ended_is_room_for_the_next_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """No core is free; of the sweep's two processes one works. Trials that do the work themselves all ask for the same."""
    alone = profile(workers_per_run=0)
    one, two = (AnyUnit(name) for name in ("one", "two"))
    held = {"state": "CREATED", "bundles": {0: {"CPU": 1.0, "memory": trial_tag("ours")}}}
    monkeypatch.setattr(capacity, "live_nodes", lambda: [node(2, 0)])
    monkeypatch.setattr(capacity, "_groups", lambda: {"a": held, "b": held})
    has_room = Capacity(alone, "ours", lambda reason: None)
    assert [has_room(running) for running in ([], [one], [one, two])] == [True, True, False]
    assert not Capacity(alone, "another driver", lambda reason: None)([])
