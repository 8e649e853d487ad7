"""Asynchronous halving: who is kept, where a trial is judged, and that a verdict is given once."""

from pathlib import Path

import pytest
import torch.distributed as dist
from making import tiny_config
from workers import Workers

from omnimer_ray.planning.plan import make_run
from omnimer_ray.planning.pruning import Judge, Pruning, Verdict, is_kept, judge, rung_steps, verdicts
from omnimer_ray.training.loop import init_single_process_group

CONFIG = tiny_config()


@pytest.mark.parametrize(
    ("value", "others", "kept"),
    [
        (0.1, [], True),
        (0.1, [0.9], True),  # fewer than three stand
        (0.1, [0.9, 0.8], False),
        (0.9, [0.1, 0.8], True),
        (0.8, [0.9, 0.1], False),  # the best one of three
        (0.8, [0.9, 0.1, 0.2, 0.3, 0.4], True),  # the best two of six
        (0.7, [0.9, 0.8, 0.2, 0.3, 0.4], False),
        (0.5, [0.5, 0.5], True),  # equals stay
    ],
)
def test_the_best_third_is_kept(value: float, others: list[float], kept: bool) -> None:
    assert is_kept(value, others, 3) is kept


def test_a_rung_is_met_after_its_share_of_the_steps() -> None:
    assert rung_steps((0.25, 0.5), 50) == {13: 0.25, 25: 0.5}
    assert rung_steps((0.5, 0.99), 3) == {2: 0.5}, "not at the end, where the run is evaluated anyhow"
    assert rung_steps((0.25, 0.5), 1) == {}


def test_verdicts_stand_by_group_and_rung(tmp_path: Path) -> None:
    hybrid = tiny_config(auxiliaries={"text"})
    for name, value in (("a", 0.9), ("b", 0.8)):
        assert judge(tmp_path, CONFIG.model_copy(update={"schedule": None}), name, 0.25, value, 3).kept
    lost = judge(tmp_path, CONFIG.model_copy(update={"schedule": None}), "c", 0.25, 0.1, 3)
    assert lost == Verdict(0.25, 0.1, False, 3, 3)
    assert lost.reason == "macro F1 0.100 at 25% of the stage, not among the best 1 of 3"
    assert judge(tmp_path, hybrid, "d", 0.25, 0.0, 3).kept, "another schedule is another group"
    assert judge(tmp_path, CONFIG.model_copy(update={"schedule": None}), "e", 0.5, 0.0, 3).kept, "so is another rung"
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")) == [
        "rungs/hybrid/25/d.json",
        "rungs/none/25/a.json",
        "rungs/none/25/b.json",
        "rungs/none/25/c.json",
        "rungs/none/50/e.json",
    ]
    assert verdicts(tmp_path, CONFIG.model_copy(update={"schedule": None}), "c", (0.25, 0.5)) == [lost]


def test_a_pruning_decision_is_made_once_and_kept_on_resume(tmp_path: Path) -> None:
    init_single_process_group()
    run, asked = make_run(CONFIG), list[float]()

    def score() -> float:
        asked.append(0.2)
        return 0.2

    for name in ("x", "y"):
        judge(tmp_path, run.config, name, 0.5, 0.9, 3)
    first = Judge(Pruning((0.25, 0.5), 3), tmp_path, run, 8, score)
    assert [first(step) for step in range(1, 5)] == [False, False, False, True]
    assert first.pruned is not None
    assert (len(asked), first.pruned.rung, first.step_of(first.pruned)) == (2, 0.5, 4)
    for name in ("x", "y"):
        judge(tmp_path, run.config, name, 0.5, 0.0, 3)
    again = Judge(Pruning((0.25, 0.5), 3), tmp_path, run, 8, score)
    assert again.pruned == first.pruned, "whatever stands at the rung now"
    assert [again(step) for step in (2, 4, 5)] == [True, True, True]
    assert len(asked) == 2


def judged(folder: Path) -> Verdict | None:
    """On each of two ranks, which disagree on the score by as much as they can."""
    pruned = Judge(Pruning((0.5,), 2), folder, make_run(CONFIG), 2, lambda: float(dist.get_rank()))
    pruned(1)
    return pruned.pruned


def test_all_ranks_take_the_verdict_of_rank_0(two_workers: Workers, tmp_path: Path) -> None:
    judge(tmp_path, make_run(CONFIG).config, "other", 0.5, 0.5, 2)
    assert two_workers.run(judged, tmp_path) == [Verdict(0.5, 0.0, False, 2, 2)] * 2
