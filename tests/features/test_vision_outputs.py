"""Kept outputs are the tower's own, make the same answers and gradients, and are made once, whoever makes them and is killed."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from short_training import Parts, Tensors, adapted_thinker, gold_answer, relative_l2

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.corpora.clips import Clip, Corpus
from omnimer_ray.errors import MachineError
from omnimer_ray.features import vision_outputs
from omnimer_ray.features.vision_outputs import VisionOutputs, use
from omnimer_ray.model.bases import Base
from omnimer_ray.model.dimensions import PLACEMENTS, is_vision_frozen
from omnimer_ray.model.generation import generate
from omnimer_ray.model.inputs import Encoder, collate, labels
from omnimer_ray.model.lora import place_lora, trainable
from omnimer_ray.model.thinker import Thinker, load_thinker
from omnimer_ray.training.loop import AnswerLoss

SLOW_SEC = 0.1  # of making an entry in the test with two processes


def filled(thinker: Thinker, config: ThinkerConfig, corpus: Corpus, folder: Path, cache: Path) -> tuple[VisionOutputs, Encoder]:
    outputs, encoder = VisionOutputs(folder, config, cache), Encoder(thinker.processor, config, cache)
    outputs.fill_from(thinker, encoder, corpus.clips, lambda done, total: None)
    return outputs, encoder


def gradients(model: Thinker, encoder: Encoder, corpus: Corpus) -> tuple[torch.Tensor, Tensors]:
    """Losses and gradients of a micro-batch of eight."""
    items = [encoder.encode(clip, "emotion", gold_answer(clip, "emotion")) for clip in corpus.clips[:8]]
    losses = AnswerLoss(model.model)(collate(items, encoder.tokenizer.pad_token_id, "right"), labels(items))
    names = trainable(model.model)
    return losses.detach(), dict(zip(names, torch.autograd.grad(losses.sum(), list(names.values())), strict=True))


def test_losses_gradients_and_answers_are_those_with_the_tower(
    parts: Parts, fresh: Thinker, corpus: Corpus, tmp_path: Path, shared_cache: Path
) -> None:
    model, encoder = adapted_thinker(parts)
    losses, expected = gradients(Thinker(model, fresh.processor), encoder, corpus)
    items = [encoder.encode(clip, "emotion") for clip in corpus.clips[16:]]
    answers = generate(Thinker(model, fresh.processor), encoder, items, 8)

    outputs, reading = filled(fresh, parts.recipe, corpus, tmp_path, shared_cache)
    use(outputs, fresh, reading)
    assert not any("visual" in name for name, _ in fresh.model.named_parameters())  # the tower is gone
    mine = fresh._replace(model=place_lora(fresh.model, parts.recipe.lora, parts.recipe.seed)[0])
    mine.model.load_state_dict(trainable(model), strict=False)
    found, gradient = gradients(mine, reading, corpus)
    assert torch.allclose(found, losses, atol=1e-5)
    assert relative_l2(gradient, expected) < 1e-5
    assert generate(mine, reading, [reading.encode(clip, "emotion") for clip in corpus.clips[16:]], 8) == answers
    assert reading.encode(corpus.clips[0], "emotion").pixels.shape == (reading.media_tensors(corpus.clips[0]).num_video_tokens, 128)  # type: ignore[union-attr]


def test_the_outputs_of_a_bf16_base_are_kept_in_bf16(
    tiny_base: Base, recipe: ThinkerConfig, corpus: Corpus, tmp_path: Path, shared_cache: Path
) -> None:
    thinker = load_thinker(tiny_base, "bf16")
    config = recipe.model_copy(update={"base": recipe.base.model_copy(update={"precision": "bf16"})})
    outputs, encoder = filled(thinker, config, corpus, tmp_path, shared_cache)
    clip = corpus.clips[0]
    media = encoder.media_tensors(clip)
    with torch.no_grad():
        expected = thinker.model.model.visual(media.pixels.bfloat16(), grid_thw=media.grid[None]).pooler_output
    kept = outputs.tokens(clip, media.num_video_tokens)
    assert kept.dtype == torch.bfloat16
    assert torch.equal(kept, expected)


def test_each_setting_that_determines_outputs_has_a_folder_of_its_own(recipe: ThinkerConfig, tmp_path: Path) -> None:
    media = recipe.model_copy(update={"media": recipe.media.model_copy(update={"max_frames": 4})})
    precise = recipe.model_copy(update={"base": recipe.base.model_copy(update={"precision": "bf16"})})
    other = recipe.model_copy(update={"base": recipe.base.model_copy(update={"revision": "0" * 16})})
    folders = {VisionOutputs(tmp_path, config, tmp_path).folder for config in (recipe, media, precise, other)}
    assert len(folders) == 4
    assert VisionOutputs(tmp_path, recipe.model_copy(update={"seed": 7}), tmp_path).folder in folders


def test_a_tower_with_lora_is_not_frozen(recipe: ThinkerConfig) -> None:
    assert [is_vision_frozen(recipe.lora.model_copy(update={"placement": name})) for name in PLACEMENTS] == [True, True, False]


@pytest.mark.parametrize("fault", ["absent", "damaged", "of another length"])
def test_an_entry_that_cannot_be_used_is_made_again_by_the_next_start(
    tiny: Thinker, recipe: ThinkerConfig, corpus: Corpus, fault: str, tmp_path: Path, shared_cache: Path
) -> None:
    outputs, encoder = filled(tiny, recipe, corpus, tmp_path, shared_cache)
    clip, tokens = corpus.clips[3], encoder.media_tensors(corpus.clips[3]).num_video_tokens
    place = outputs.place(clip)
    if fault == "absent":
        place.unlink()
    elif fault == "damaged":
        place.write_bytes(place.read_bytes()[:-7])
    with pytest.raises(MachineError, match=f"{clip.id}: {re.escape(str(place))} is absent or damaged; the same command makes it again"):
        outputs.tokens(clip, tokens + 1 if fault == "of another length" else tokens)
    assert not place.exists()
    outputs, _ = filled(tiny, recipe, corpus, tmp_path, shared_cache)
    assert len(outputs.tokens(clip, tokens)) == tokens


def fill_slowly(base: Base, config: ThinkerConfig, corpus: Corpus, folder: Path, cache: Path) -> None:
    """Fill the folder, and write each entry that is begun into a log."""
    make = vision_outputs.vision

    def logged(thinker: Thinker, encoder: Encoder, clip: Clip) -> NDArray[Any]:
        with (folder / "begun.txt").open("a") as file:
            file.write(f"{os.getpid()} {clip.id}\n")
        time.sleep(SLOW_SEC)
        return make(thinker, encoder, clip)

    vision_outputs.vision = logged  # type: ignore[attr-defined]
    filled(load_thinker(base, "fp32"), config, corpus, folder, cache)


def test_two_processes_make_each_entry_once_and_one_may_be_killed(
    tiny: Thinker, tiny_base: Base, recipe: ThinkerConfig, corpus: Corpus, tmp_path: Path, shared_cache: Path
) -> None:
    spawn, log = multiprocessing.get_context("spawn"), tmp_path / "begun.txt"
    both = [spawn.Process(target=fill_slowly, args=(tiny_base, recipe, corpus, tmp_path, shared_cache)) for _ in range(2)]
    for process in both:
        process.start()
    deadline = time.monotonic() + 120
    while not log.exists() or len({line.split()[0] for line in log.read_text().splitlines()}) < 2:  # both are at work
        assert time.monotonic() < deadline
        time.sleep(SLOW_SEC / 10)
    assert both[0].pid is not None
    os.kill(both[0].pid, signal.SIGKILL)
    both[1].join(120)
    assert both[1].exitcode == 0
    begun = [line.split() for line in log.read_text().splitlines()]
    cut = [name for pid, name in begun if pid == str(both[0].pid)][-1]  # what the killed process was making
    names = [name for _, name in begun]
    assert {name for name in names if names.count(name) > 1} <= {cut}
    expected, _ = filled(tiny, recipe, corpus, tmp_path / "undisturbed", shared_cache)
    files = sorted(expected.folder.glob("*.safetensors"))
    assert set(names) == {clip.id for clip in corpus.clips}
    for file in files:
        assert (VisionOutputs(tmp_path, recipe, shared_cache).folder / file.name).read_bytes() == file.read_bytes()
