"""A job on two Ray nodes that is stopped and submitted again has the same results as an undisturbed sweep."""

from pathlib import Path

import pytest
import two_nodes


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_stopped_job_continues_on_two_nodes_with_equal_results(shared_cache: Path, workers: int) -> None:
    ended = two_nodes.show("tests/recovery_space.py", 48, workers)
    assert 0 < ended.recorded[0] < ended.recorded[1] == 4
    assert "stopping: running units write a checkpoint after their step" in ended.log
    assert "what was finished is kept. Resume with:  python -m omnimer_ray.sweep" in ended.log
    assert all(ended.cut.values()), ended.cut
    assert len(ended.nodes) == 2
    assert ended.different == []
