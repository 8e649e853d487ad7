"""Sweeps on two Ray nodes: one is stopped and submitted again; another one loses a node while the other node is occupied."""

from pathlib import Path

import busy_nodes
import pytest
import two_nodes

RUNS = 10  # of recovery_space


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_stopped_job_continues_on_two_nodes_with_equal_results(shared_cache: Path, workers: int) -> None:
    ended = two_nodes.show("tests/recovery_space.py", 48, workers)
    assert 0 < ended.recorded[0] < ended.recorded[1] == RUNS
    assert "stopping: running units write a checkpoint after their step" in ended.log
    assert "what was finished is kept. Resume with:  python -m omnimer_ray.sweep" in ended.log
    assert all(ended.cut.values()), ended.cut
    assert len(ended.nodes) == 2
    assert ended.different == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_sweep_without_a_free_node_waits_and_then_finishes(shared_cache: Path, workers: int) -> None:
    """Regression: units that waited for cores were started, timed out three times, and were recorded as lost_worker."""
    ended = busy_nodes.show(str(two_nodes.ROOT / "tests" / "recovery_space.py"), 48, workers)
    assert ended.code == 0, ended.log
    assert "waiting for 1 core on one node: 0 free of 1 core\n" in ended.log
    assert ended.waited_sec >= busy_nodes.WAIT_SEC
    assert ended.outcomes == {"done": RUNS}
    assert sum(ended.attempts.values()) == 1, "only the attempt on the killed node"
