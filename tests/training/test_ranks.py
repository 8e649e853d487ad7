"""All ranks use the value computed on rank 0."""

from typing import Any

import pytest

from omnimer_ray.training.ranks import broadcast_from_rank_0


@pytest.mark.parametrize(("rank", "made"), [(0, ["value of rank 0"]), (1, [])])
def test_the_value_is_computed_on_rank_0_and_broadcast_to_the_others(rank: int, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broadcast(values: list[Any], src: int) -> None:
        assert src == 0
        values[0] = "value of rank 0"

    monkeypatch.setattr("torch.distributed.get_rank", lambda: rank)
    monkeypatch.setattr("torch.distributed.broadcast_object_list", broadcast)
    calls: list[str] = []

    def make() -> str:
        calls.append("value of rank 0")
        return calls[-1]

    assert broadcast_from_rank_0(make) == "value of rank 0"
    assert calls == made
