"""Stop and resume does not change the result, for any number of workers; damaged checkpoints and those of other stages are not used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from short_training import Parts, TrainedStage, eight_steps, relative_l2, train_stage
from workers import Workers

from omnimer_ray.errors import ResultsError
from omnimer_ray.records import write_record
from omnimer_ray.training import checkpoints
from omnimer_ray.training.checkpoints import CARRIED, Carried
from omnimer_ray.training.placement import Placement
from omnimer_ray.training.schedule import Item, Schedule

EVERY_3 = Placement(4, checkpoint_every=3)


@pytest.fixture(scope="module")
def straight(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> TrainedStage:
    """The stage trained by one worker without interruption."""
    trained = train_stage(parts, EVERY_3, tmp_path_factory.mktemp("straight"))
    assert trained.finished
    assert sorted(trained.losses) == list(range(1, 9))
    return trained


@pytest.fixture(scope="module")
def stopped(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage stopped after its fifth step, with checkpoints of steps 3 and 5."""
    folder = tmp_path_factory.mktemp("stopped")
    trained = train_stage(parts, EVERY_3, folder, stop_after=5)
    assert not trained.finished
    assert sorted(trained.losses) == [1, 2, 3, 4, 5]
    return folder


@pytest.fixture
def interrupted(stopped: Path, tmp_path: Path) -> Path:
    """A copy of the stopped stage, to resume from."""
    return Path(shutil.copytree(stopped, tmp_path / "stage"))


def assert_same(ours: TrainedStage, theirs: TrainedStage, first_step: int) -> None:
    assert ours.finished
    assert ours.losses == {step: loss for step, loss in theirs.losses.items() if step >= first_step}
    assert ours.parameters.keys() == theirs.parameters.keys()
    assert all(torch.equal(value, theirs.parameters[name]) for name, value in ours.parameters.items())


def checkpoint_names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_stop_and_resume_is_bit_equal(parts: Parts, straight: TrainedStage, interrupted: Path) -> None:
    assert checkpoint_names(interrupted) == ["000003", "000005"]
    assert_same(train_stage(parts, EVERY_3, interrupted), straight, first_step=6)
    assert checkpoint_names(interrupted) == ["000005", "000006"]
    checkpoints.delete(interrupted)
    assert not (interrupted / "checkpoints").exists()


def test_steps_after_the_last_checkpoint_are_trained_and_logged_again(parts: Parts, straight: TrainedStage, interrupted: Path) -> None:
    """Killed in the seventh step: the history entries after the checkpoint are replaced, so each step is logged once."""
    shutil.rmtree(interrupted / "checkpoints" / "000005")
    with (interrupted / "history.jsonl").open("a") as file:
        file.write('{"step": 6, "loss": 0.5}\n{"step": 7, "lo')
    assert_same(train_stage(parts, EVERY_3, interrupted), straight, first_step=4)
    entries = [json.loads(line) for line in (interrupted / "history.jsonl").read_text().splitlines()]
    assert {entry["step"]: entry["loss"] for entry in entries} == straight.losses
    assert len(entries) == 8


def test_several_stops_and_resumes_are_bit_equal(parts: Parts, straight: TrainedStage, tmp_path: Path) -> None:
    for stop_after in (1, 2, 4):
        assert not train_stage(parts, EVERY_3, tmp_path, stop_after=stop_after).finished
    assert_same(train_stage(parts, EVERY_3, tmp_path), straight, first_step=8)


def test_resuming_from_the_last_step_trains_nothing(parts: Parts, straight: TrainedStage, tmp_path: Path) -> None:
    every_step = Placement(4, checkpoint_every=1)
    train_stage(parts, every_step, tmp_path)
    assert checkpoint_names(tmp_path) == ["000007", "000008"]
    again = train_stage(parts, every_step, tmp_path)
    assert again.losses == {}
    assert_same(again, straight, first_step=9)


def test_resuming_with_other_execution_settings_gives_the_same_adapter(parts: Parts, straight: TrainedStage, interrupted: Path) -> None:
    for name, placement in {
        "zero 1": Placement(4, zero_stage=1),
        "micro-batch 8": Placement(8),
        "recompute": Placement(4, recompute=lambda tokens, audio: True),
    }.items():
        resumed = train_stage(parts, placement, Path(shutil.copytree(interrupted, interrupted.parent / name)))
        difference = relative_l2(resumed.parameters, straight.parameters)
        print(f"{name}: relative L2 {difference:.1e} of the adapters")
        assert resumed.finished
        assert difference <= 1e-5


def test_two_workers_and_changes_of_the_worker_count_give_the_same_adapter(
    parts: Parts, straight: TrainedStage, two_workers: Workers, tmp_path: Path
) -> None:
    placement = Placement(4, checkpoint_every=3)
    one, other = two_workers.run(train_stage, parts, placement, tmp_path / "straight")
    assert all(torch.equal(value, other.parameters[name]) for name, value in one.parameters.items())
    assert other.losses == {}  # rank 0 reports
    interrupted, _ = two_workers.run(train_stage, parts, placement, tmp_path / "stopped", "stage", 5)
    assert not interrupted.finished
    shutil.copytree(tmp_path / "stopped", tmp_path / "two to one")
    resumed, _ = two_workers.run(train_stage, parts, placement, tmp_path / "stopped")
    assert_same(resumed, one, first_step=6)
    fewer = train_stage(parts, placement, tmp_path / "two to one")
    train_stage(parts, placement, tmp_path / "one to two", stop_after=3)
    more, _ = two_workers.run(train_stage, parts, placement, tmp_path / "one to two")
    for name, trained in {"two workers": one, "two, then one": fewer, "one, then two": more}.items():
        difference = relative_l2(trained.parameters, straight.parameters)
        print(f"{name}: relative L2 {difference:.1e} of the adapters to one worker's")
        assert trained.finished
        assert difference <= 1e-5


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda checkpoint: flip(checkpoint / "state.safetensors"),
    "truncated": lambda checkpoint: (checkpoint / "state.safetensors").write_bytes((checkpoint / "state.safetensors").read_bytes()[:-1]),
    "no state": lambda checkpoint: (checkpoint / "state.safetensors").unlink(),
    "not finished": lambda checkpoint: (checkpoint / "checkpoint.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_skipped(damage: str, parts: Parts, straight: TrainedStage, interrupted: Path) -> None:
    DAMAGE[damage](interrupted / "checkpoints" / "000005")
    assert_same(train_stage(parts, EVERY_3, interrupted), straight, first_step=4)


def test_if_all_checkpoints_are_damaged_the_stage_starts_from_the_beginning(
    parts: Parts, straight: TrainedStage, interrupted: Path
) -> None:
    for checkpoint in (interrupted / "checkpoints").iterdir():
        flip(checkpoint / "state.safetensors")
    assert_same(train_stage(parts, EVERY_3, interrupted), straight, first_step=1)


def test_a_checkpoint_of_another_stage_is_refused(parts: Parts, interrupted: Path) -> None:
    text = f"{interrupted}/checkpoints/000005 belongs to stage stage, not other; delete it to restart the stage"
    with pytest.raises(ResultsError) as caught:
        train_stage(parts, EVERY_3, interrupted, identity="other")
    assert str(caught.value) == text
    assert checkpoint_names(interrupted) == ["000003", "000005"]


def test_a_checkpoint_json_that_is_not_json_is_refused(parts: Parts, interrupted: Path) -> None:
    (interrupted / "checkpoints" / "000005" / "checkpoint.json").write_text('{"identity": ')
    with pytest.raises(ResultsError, match=r"000005/checkpoint.json is not valid JSON .*; remove it, and the same command makes it again$"):
        train_stage(parts, EVERY_3, interrupted)


def test_contents_of_a_checkpoint(interrupted: Path) -> None:
    checkpoint = interrupted / "checkpoints" / "000005"
    assert sorted(path.name for path in checkpoint.iterdir()) == ["checkpoint.json", "state.safetensors"]
    about: dict[str, Any] = json.loads((checkpoint / "checkpoint.json").read_text())
    assert (about["identity"], about["step"]) == ("stage", 5)
    with safe_open(checkpoint / "state.safetensors", framework="pt") as file:
        names = list(file.keys())
        assert {file.get_tensor(name).dtype for name in names} == {torch.float32}
        assert any(bool(file.get_tensor(name).any()) for name in names if name.startswith("exp_avg_sq."))
    assert {name.split(".")[0] for name in names} == {"parameter", "exp_avg", "exp_avg_sq"}
    assert len(names) == 3 * 2 * (16 + 8)


class SecondHalf(Schedule):
    """The last four of eight steps, as a stage of its own."""

    def step(self, index: int) -> list[tuple[Item, ...]]:
        return Schedule(self.items, self.epochs, self.global_batch, self.block, self.seed).step(index + 4)


@pytest.mark.parametrize("stop_after", [None, 2])
def test_two_stages_with_one_optimizer_and_one_cosine_are_bit_equal_to_one(
    parts: Parts, straight: TrainedStage, tmp_path: Path, stop_after: int | None
) -> None:
    whole = eight_steps(parts)
    first = replace(whole, steps=4, all_steps=8)
    second = SecondHalf(whole.items, whole.epochs, whole.global_batch, whole.block, whole.seed, steps=4, first_step=4, all_steps=8)
    train_stage(parts, EVERY_3, tmp_path / "first", plan=first)
    carried = Carried(tmp_path / "first" / CARRIED, 4)
    if stop_after is not None:
        assert not train_stage(parts, EVERY_3, tmp_path / "second", plan=second, carried=carried, stop_after=stop_after).finished
    trained = train_stage(parts, EVERY_3, tmp_path / "second", plan=second, carried=carried)
    assert trained.losses == {step: straight.losses[step + 4] for step in range((stop_after or 0) + 1, 5)}
    assert all(torch.equal(value, straight.parameters[name]) for name, value in trained.parameters.items())


def test_a_damaged_carried_state_is_refused(parts: Parts, tmp_path: Path) -> None:
    folder = tmp_path / "first"
    folder.mkdir()
    (folder / CARRIED).write_bytes(b"state")
    write_record(folder, {"outcome": "done"})
    (folder / CARRIED).write_bytes(b"other")
    with pytest.raises(ResultsError, match=r"optimizer\.safetensors is damaged"):
        train_stage(parts, EVERY_3, tmp_path / "second", carried=Carried(folder / CARRIED, 4))
