"""A job on two Ray nodes, stopped and submitted again, ends where an undisturbed sweep ends."""

from pathlib import Path

import pytest
import two_nodes


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_job_that_was_stopped_goes_on_over_both_nodes(shared_cache: Path, workers: int) -> None:
    seen = two_nodes.show("tests/recovery_space.py", 48, workers)
    assert 0 < seen.recorded[0] < seen.recorded[1] == 4
    assert "stopping: running units write a checkpoint after their step" in seen.log
    assert "what was finished is kept. Resume with:  python -m omnimer_ray.sweep" in seen.log
    assert all(seen.cut.values()), seen.cut
    assert len(seen.nodes) == 2
    assert seen.different == []
