"""A stage's steps are determined by hashes: every item once per epoch, kinds by their shares, any step without the previous steps."""

import itertools
from collections import Counter
from dataclasses import replace
from typing import cast

import pytest
from making import ALL, paper_config

from omnimer_ray.config import Kind
from omnimer_ray.errors import ConfigError
from omnimer_ray.planning.plan import make_run
from omnimer_ray.training.schedule import Item, Schedule, fitting, micro_batches, num_steps

INDOMER_TRAINING_CLIPS = 1588


def items(kind: Kind, count: int) -> tuple[Item, ...]:
    return tuple(Item(f"clip_{index}", kind, "{}") for index in range(count))


def schedule(epochs: float = 3, global_batch: int = 16, block: int = 8, seed: int = 0, **counts: int) -> Schedule:
    kinds: dict[Kind, tuple[Item, ...]] = {cast(Kind, kind): items(cast(Kind, kind), count) for kind, count in counts.items()}
    return Schedule(kinds, epochs, global_batch, block, seed)


def blocks(stage: Schedule) -> list[tuple[Item, ...]]:
    return [block for step in stage.from_step(0) for block in step]


def stream(stage: Schedule, kind: Kind) -> list[str]:
    """Clips of one kind in training order."""
    return [item.clip for block in blocks(stage) if block[0].kind == kind for item in block]


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({}, [62]),
        ({"auxiliaries": {"text"}}, [124]),
        ({"auxiliaries": ALL}, [248]),
        ({"auxiliaries": ALL, "schedule": "multi_stage"}, [186, 62]),
        ({"epochs": 10}, [124]),
    ],
)
def test_number_of_steps_on_indomer(changes: dict[str, object], steps: list[int]) -> None:
    found = []
    for stage in make_run(paper_config(**changes)).stages:
        config = stage.config
        kinds: dict[Kind, tuple[Item, ...]] = {kind: items(kind, INDOMER_TRAINING_CLIPS) for kind in stage.kinds}
        found.append(Schedule(kinds, config.epochs, config.global_batch, config.block, config.seed, stage.position).num_steps)
    assert found == steps


@pytest.mark.parametrize(
    ("num_items", "epochs", "batch", "steps"),
    [(1588, 5, 128, 62), (6352, 5, 128, 248), (128, 1, 128, 1), (127, 1, 128, 0), (1280, 0.1, 128, 1), (300, 1.1, 33, 10), (10, 0.7, 7, 1)],
)
def test_fractional_epochs_do_not_lose_a_step_by_rounding(num_items: int, epochs: float, batch: int, steps: int) -> None:
    assert num_steps(num_items, epochs, batch) == steps


def test_every_item_is_trained_once_per_epoch() -> None:
    stage = schedule(sentiment=24, prosody=40)
    counted = Counter((item.kind, item.clip) for block in blocks(stage) for item in block)
    assert len(counted) == 64
    assert set(counted.values()) == {3}
    for kind, count in (("sentiment", 24), ("prosody", 40)):
        order = stream(stage, kind)  # type: ignore[arg-type]
        epochs = [order[start : start + count] for start in range(0, len(order), count)]
        assert all(len(set(epoch)) == count for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == 3, "each epoch has its own permutation"


def test_a_block_may_cross_into_the_next_epochs_permutation() -> None:
    stage = schedule(epochs=8, sentiment=13)
    order = stream(stage, "sentiment")
    assert len(order) == 13 * 8 // 16 * 16 == 96
    for start in range(0, 91, 13):
        assert len(set(order[start : start + 13])) == 13
    assert sorted(order[:91]) == sorted([f"clip_{index}" for index in range(13)] * 7)


def test_items_of_a_kind_smaller_than_a_block_are_repeated() -> None:
    order = stream(schedule(epochs=8, global_batch=8, sentiment=3), "sentiment")
    assert len(order) == 24
    assert set(Counter(order).values()) == {8}


def test_a_step_consists_of_whole_blocks_of_one_kind() -> None:
    stage = schedule(global_batch=32, sentiment=40, prosody=40, text_keywords=40, facial_expression=40)
    steps = list(stage.from_step(0))
    assert len(steps) == stage.num_steps == 15
    assert all([len(block) for block in step] == [8, 8, 8, 8] for step in steps)
    assert all(len({item.kind for item in block}) == 1 for block in blocks(stage))
    assert all(len({block[0].kind for block in step}) == 4 for step in steps), "equal counts: one block of each kind per step"


@pytest.mark.parametrize("counts", [{"sentiment": 100, "prosody": 20, "text_keywords": 60}, {"sentiment": 7, "prosody": 193}])
def test_blocks_are_apportioned_by_item_counts_at_every_position(counts: dict[str, int]) -> None:
    stage = schedule(epochs=10, **counts)
    num_blocks: Counter[str] = Counter()
    for position, block in enumerate(blocks(stage), 1):
        num_blocks[block[0].kind] += 1
        for kind, count in counts.items():
            assert abs(num_blocks[kind] - position * count / sum(counts.values())) < 1


def test_mixture_weights_replace_item_counts() -> None:
    stage = replace(schedule(epochs=10, sentiment=100, prosody=20), mixture={"sentiment": 1.0, "prosody": 3.0})
    num_blocks = Counter(block[0].kind for block in blocks(stage))
    assert sum(num_blocks.values()) == 1200 // 16 * 2
    assert abs(num_blocks["prosody"] - 0.75 * sum(num_blocks.values())) < 1
    assert set(Counter(stream(stage, "prosody")).values()) == {44, 45}, "items of a stream are repeated equally often"


def test_the_order_is_deterministic() -> None:
    first, again = (schedule(sentiment=20, prosody=20) for _ in range(2))
    assert blocks(first) == blocks(again)
    golden = [11, 14, 0, 19, 13, 15, 1, 4]  # if this changes, RECIPE_VERSION must be raised
    assert [int(item.clip.removeprefix("clip_")) for item in blocks(first)[0]] == golden


@pytest.mark.parametrize("start", [0, 1, 7, 14, 15])
def test_any_step_can_be_computed_without_the_previous_steps(start: int) -> None:
    counts = {"sentiment": 31, "prosody": 50}
    whole = list(schedule(**counts).from_step(0))
    assert len(whole) == 15
    assert list(schedule(**counts).from_step(start)) == whole[start:]


def test_variants_that_differ_in_one_setting_train_shared_items_in_the_same_order() -> None:
    base, hybrid = schedule(sentiment=40), schedule(sentiment=40, prosody=40, text_keywords=40)
    assert stream(hybrid, "sentiment")[:112] == stream(base, "sentiment")[:112]
    bigger = schedule(sentiment=40, global_batch=32, block=16)
    assert stream(bigger, "sentiment")[:96] == stream(base, "sentiment")[:96]


def test_removing_clips_does_not_change_the_order_of_the_others() -> None:
    whole, fewer = schedule(epochs=1, global_batch=8, sentiment=40), schedule(epochs=1, global_batch=8, sentiment=32)
    removed = {f"clip_{index}" for index in range(32, 40)}
    assert [name for name in stream(whole, "sentiment") if name not in removed] == stream(fewer, "sentiment")


def test_the_order_of_the_corpus_does_not_matter() -> None:
    one = schedule(sentiment=20)
    other = replace(one, items={"sentiment": one.items["sentiment"][::-1]})
    assert blocks(one) == blocks(other)


def test_the_order_depends_on_seed_stage_and_kind() -> None:
    one = schedule(sentiment=40, prosody=40)
    orders = [stream(stage, "sentiment") for stage in (one, replace(one, seed=1), replace(one, stage_position=1))]
    assert len({tuple(order) for order in orders}) == 3
    assert stream(one, "sentiment") != stream(one, "prosody"), "kinds have different orders of clips"


def test_a_kind_without_items_is_refused() -> None:
    with pytest.raises(ConfigError) as raised:
        Schedule({"sentiment": items("sentiment", 40), "prosody": (), "emotion": ()}, 1, 16, 8, 0)
    assert str(raised.value) == "no training items for emotion, prosody; every one was rejected or has no label: leave it out of the run"


def test_a_stage_without_one_full_batch_is_refused() -> None:
    with pytest.raises(ConfigError) as raised:
        schedule(epochs=2.5, sentiment=6)
    assert str(raised.value) == ("6 items x 2.5 epochs do not fill one global batch of 16; take more clips, more epochs or a smaller batch")


@pytest.mark.parametrize(("micro_batch", "workers"), [(8, 1), (4, 1), (2, 1), (4, 2), (2, 2), (1, 2), (1, 8), (1, 1)])
def test_a_block_is_split_evenly_over_the_workers(micro_batch: int, workers: int) -> None:
    block = items("sentiment", 8)
    parts = [list(micro_batches(block, micro_batch, rank, workers)) for rank in range(workers)]
    assert {len(part) for part in parts} == {8 // micro_batch // workers}, "equal numbers of micro-batches on every worker"
    assert all(len(batch) == micro_batch for part in parts for batch in part)
    assert sorted(item.clip for part in parts for batch in part for item in batch) == sorted(item.clip for item in block)
    merged = [list(itertools.chain(*step)) for step in zip(*parts, strict=True)]
    assert list(itertools.chain(*merged)) == list(block), "one micro-step of all workers is a consecutive slice of the block"


@pytest.mark.parametrize(("micro_batch", "workers"), [(3, 1), (8, 2), (16, 1), (1, 3)])
def test_micro_batches_that_do_not_divide_the_block_are_refused(micro_batch: int, workers: int) -> None:
    with pytest.raises(ConfigError) as raised:
        list(micro_batches(items("sentiment", 8), micro_batch, 0, workers))
    assert str(raised.value) == (
        f"micro_batch {micro_batch} x workers {workers} does not divide block 8; choose them in the machine profile so that it does"
    )


def test_steps_may_be_given() -> None:
    stage = replace(schedule(sentiment=24), steps=7)
    assert (stage.num_steps, len(blocks(stage))) == (7, 14)
    assert blocks(stage)[:8] == blocks(schedule(sentiment=24))[:8], "the order of items stays"
    assert replace(schedule(sentiment=24), epochs=0.01, steps=1).num_steps == 1


def test_seen_items_are_those_of_all_steps() -> None:
    stage = schedule(sentiment=24, prosody=40)
    assert stage.seen_items == Counter(item.kind for block in blocks(stage) for item in block) == {"sentiment": 72, "prosody": 120}


def test_balanced_labels_are_drawn_in_turn_each_from_its_own_permutations() -> None:
    labels = ("neutral",) * 20 + ("fear",) * 3 + ("anger",)
    stage = replace(schedule(epochs=6, sentiment=24), balanced={"sentiment": labels})
    label_of = dict(zip((item.clip for item in stage.items["sentiment"]), labels, strict=True))
    order = stream(stage, "sentiment")
    assert len(order) == 24 * 6, "as many items as without"
    assert [label_of[clip] for clip in order] == ["anger", "fear", "neutral"] * 48
    fear, neutral = ([clip for clip in order if label_of[clip] == label] for label in ("fear", "neutral"))
    assert all(len(set(fear[start : start + 3])) == 3 for start in range(0, 48, 3))
    assert all(len(set(neutral[start : start + 20])) == 20 for start in (0, 20))
    assert fear[:3] != fear[3:6] or fear[3:6] != fear[6:9], "each epoch has its own permutation"
    assert [block for step in stage.from_step(5) for block in step] == blocks(stage)[10:], "any step without the previous ones"


@pytest.mark.parametrize(
    ("micro_batch", "block", "workers", "expected"), [(8, 8, 1, 8), (8, 4, 1, 4), (4, 4, 2, 2), (2, 8, 2, 2), (8, 1, 2, 1)]
)
def test_a_small_block_is_one_micro_batch_of_each_worker(micro_batch: int, block: int, workers: int, expected: int) -> None:
    assert fitting(micro_batch, block, workers) == expected
