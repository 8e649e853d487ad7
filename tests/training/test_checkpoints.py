"""Stopping and resuming changes nothing, whatever the workers; a checkpoint is whole, of its stage, or not used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lessons import Parts, Trained, distance, stage
from safetensors import safe_open
from workers import Workers

from omnimer_ray.errors import ResultsError
from omnimer_ray.training import checkpoints
from omnimer_ray.training.loop import Placement

EVERY_3 = Placement(4, checkpoint_every=3)


@pytest.fixture(scope="module")
def straight(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The stage without a stop, by one worker."""
    trained = stage(parts, EVERY_3, tmp_path_factory.mktemp("straight"))
    assert trained.whole
    assert sorted(trained.losses) == list(range(1, 9))
    return trained


@pytest.fixture(scope="module")
def stopped(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage that was asked to stop after its fifth step: checkpoints of steps 3 and 5 stand."""
    folder = tmp_path_factory.mktemp("stopped")
    trained = stage(parts, EVERY_3, folder, stop_after=5)
    assert not trained.whole
    assert sorted(trained.losses) == [1, 2, 3, 4, 5]
    return folder


@pytest.fixture
def begun(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it to go on from."""
    return Path(shutil.copytree(stopped, tmp_path / "stage"))


def assert_same(ours: Trained, theirs: Trained, first_step: int) -> None:
    assert ours.whole
    assert ours.losses == {step: loss for step, loss in theirs.losses.items() if step >= first_step}
    assert ours.parameters.keys() == theirs.parameters.keys()
    assert all(torch.equal(value, theirs.parameters[name]) for name, value in ours.parameters.items())


def standing(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_stop_and_resume_is_bit_equal(parts: Parts, straight: Trained, begun: Path) -> None:
    assert standing(begun) == ["000003", "000005"]
    assert_same(stage(parts, EVERY_3, begun), straight, first_step=6)
    assert standing(begun) == ["000005", "000006"]
    checkpoints.delete(begun)
    assert not (begun / "checkpoints").exists()


def test_cut_off_between_checkpoints(parts: Parts, straight: Trained, begun: Path) -> None:
    """Killed in its seventh step: what the history says of steps behind the checkpoint is said again, once."""
    shutil.rmtree(begun / "checkpoints" / "000005")
    with (begun / "history.jsonl").open("a") as file:
        file.write('{"step": 6, "loss": 0.5}\n{"step": 7, "lo')
    assert_same(stage(parts, EVERY_3, begun), straight, first_step=4)
    entries = [json.loads(line) for line in (begun / "history.jsonl").read_text().splitlines()]
    assert {entry["step"]: entry["loss"] for entry in entries} == straight.losses
    assert len(entries) == 8


def test_stopped_again_and_again(parts: Parts, straight: Trained, tmp_path: Path) -> None:
    for stop_after in (1, 2, 4):
        assert not stage(parts, EVERY_3, tmp_path, stop_after=stop_after).whole
    assert_same(stage(parts, EVERY_3, tmp_path), straight, first_step=8)


def test_cut_off_after_the_last_checkpoint(parts: Parts, straight: Trained, tmp_path: Path) -> None:
    every_step = Placement(4, checkpoint_every=1)
    stage(parts, every_step, tmp_path)
    assert standing(tmp_path) == ["000007", "000008"]
    again = stage(parts, every_step, tmp_path)
    assert again.losses == {}
    assert_same(again, straight, first_step=9)


def test_other_ways_to_lay_it_out(parts: Parts, straight: Trained, begun: Path) -> None:
    for name, placement in {
        "zero 1": Placement(4, zero_stage=1),
        "micro-batch 8": Placement(8),
        "recompute": Placement(4, recompute=True),
    }.items():
        resumed = stage(parts, placement, Path(shutil.copytree(begun, begun.parent / name)))
        apart = distance(resumed.parameters, straight.parameters)
        print(f"{name}: relative L2 {apart:.1e} of the adapters")
        assert resumed.whole
        assert apart <= 1e-5


def test_two_workers(parts: Parts, straight: Trained, two_workers: Workers, tmp_path: Path) -> None:
    placement = Placement(4, checkpoint_every=3)
    one, other = two_workers.run(stage, parts, placement, tmp_path / "straight")
    assert all(torch.equal(value, other.parameters[name]) for name, value in one.parameters.items())
    assert other.losses == {}  # rank 0 reports
    begun, _ = two_workers.run(stage, parts, placement, tmp_path / "stopped", "stage", 5)
    assert not begun.whole
    shutil.copytree(tmp_path / "stopped", tmp_path / "two to one")
    resumed, _ = two_workers.run(stage, parts, placement, tmp_path / "stopped")
    assert_same(resumed, one, first_step=6)
    fewer = stage(parts, placement, tmp_path / "two to one")
    stage(parts, placement, tmp_path / "one to two", stop_after=3)
    more, _ = two_workers.run(stage, parts, placement, tmp_path / "one to two")
    for what, trained in {"two workers": one, "two, then one": fewer, "one, then two": more}.items():
        apart = distance(trained.parameters, straight.parameters)
        print(f"{what}: relative L2 {apart:.1e} of the adapters to one worker's")
        assert trained.whole
        assert apart <= 1e-5


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda place: flip(place / "state.safetensors"),
    "cut short": lambda place: (place / "state.safetensors").write_bytes((place / "state.safetensors").read_bytes()[:-1]),
    "no state": lambda place: (place / "state.safetensors").unlink(),
    "not finished": lambda place: (place / "checkpoint.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over(damage: str, parts: Parts, straight: Trained, begun: Path) -> None:
    DAMAGE[damage](begun / "checkpoints" / "000005")
    assert_same(stage(parts, EVERY_3, begun), straight, first_step=4)


def test_with_all_checkpoints_damaged_it_starts_anew(parts: Parts, straight: Trained, begun: Path) -> None:
    for place in (begun / "checkpoints").iterdir():
        flip(place / "state.safetensors")
    assert_same(stage(parts, EVERY_3, begun), straight, first_step=1)


def test_a_checkpoint_of_another_stage_is_refused(parts: Parts, begun: Path) -> None:
    text = f"{begun}/checkpoints/000005 belongs to stage stage, not other; delete it to restart the stage"
    with pytest.raises(ResultsError) as caught:
        stage(parts, EVERY_3, begun, identity="other")
    assert str(caught.value) == text
    assert standing(begun) == ["000003", "000005"]


def test_what_says_what_it_is_must_be_json(parts: Parts, begun: Path) -> None:
    (begun / "checkpoints" / "000005" / "checkpoint.json").write_text('{"identity": ')
    with pytest.raises(ResultsError, match=r"000005/checkpoint.json is not valid JSON .*; remove it, and the same command makes it again$"):
        stage(parts, EVERY_3, begun)


def test_what_is_kept(begun: Path) -> None:
    place = begun / "checkpoints" / "000005"
    assert sorted(path.name for path in place.iterdir()) == ["checkpoint.json", "state.safetensors"]
    about: dict[str, Any] = json.loads((place / "checkpoint.json").read_text())
    assert (about["identity"], about["step"]) == ("stage", 5)
    with safe_open(place / "state.safetensors", framework="pt") as file:
        names = list(file.keys())
        assert {file.get_tensor(name).dtype for name in names} == {torch.float32}
        assert any(bool(file.get_tensor(name).any()) for name in names if name.startswith("exp_avg_sq."))
    assert {name.split(".")[0] for name in names} == {"parameter", "exp_avg", "exp_avg_sq"}
    assert len(names) == 3 * 2 * (16 + 8)
