"""What rank 0 sees holds for every rank."""

from typing import Any

import pytest

from omnimer_ray.training.ranks import broadcast_from_rank_0


@pytest.mark.parametrize(("rank", "made"), [(0, ["seen here"]), (1, [])])
def test_rank_0_looks_and_the_others_are_told(rank: int, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broadcast(values: list[Any], src: int) -> None:
        assert src == 0
        values[0] = "seen here"

    monkeypatch.setattr("torch.distributed.get_rank", lambda: rank)
    monkeypatch.setattr("torch.distributed.broadcast_object_list", broadcast)
    looked: list[str] = []

    def look() -> str:
        looked.append("seen here")
        return looked[-1]

    assert broadcast_from_rank_0(look) == "seen here"
    assert looked == made
