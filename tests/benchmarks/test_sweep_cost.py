"""The naive ways compute the same, what is counted is what is done, and orphans' seconds are not lost."""

import ctypes
import json
import pkgutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.cost_figure import figure
from benchmarks.cost_page import page
from benchmarks.counting import COUNTS, attention_formulas, watch
from benchmarks.double import in_double
from benchmarks.levers import levers
from benchmarks.naive import FullLogits, Seconds, Task, padded_mel
from benchmarks.predicted import ARMS, of_a_main_item, trained
from benchmarks.sweep_cost import SUBREAPER, WAYS, _in_a_process, _measured, main
from benchmarks.thinker_memory import noise
from omnimer_ray.config import LoraConfig
from omnimer_ray.machine.flops import forward
from omnimer_ray.machine.memory import Item
from omnimer_ray.media.load import log_mel
from omnimer_ray.model.bases import locate
from omnimer_ray.model.dimensions import HUB_SHAPES
from omnimer_ray.model.inputs import collate, labels
from omnimer_ray.model.lora import place_lora, trainable
from omnimer_ray.model.thinker import Thinker, load_thinker
from omnimer_ray.training.loop import AnswerLoss


@pytest.fixture
def thinker() -> Thinker:
    return load_thinker(locate("tiny"), "fp32")


def test_padded_mel_features_cut_by_their_mask_are_ours() -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 16000 + 77).astype(np.float32)
    assert np.abs(padded_mel(wave) - log_mel(wave)).max() < 1e-6


def test_full_logits_and_recompute_change_nothing_in_float64(thinker: Thinker) -> None:
    """The gradients of a batch with padding, in both ways."""
    model = place_lora(thinker.model, LoraConfig(rank=4), 0)[0].double().train()
    for name, tensor in trainable(model).items():
        if "lora_B" in name:
            torch.nn.init.normal_(tensor, generator=torch.Generator().manual_seed(1))
    encoded = [noise(thinker, Item(40, 10, 300, answer), answer) for answer in (6, 9)]
    inputs, targets = collate(encoded, thinker.processor.tokenizer.pad_token_id, "right"), labels(encoded)
    inputs = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
    gradients = []
    with in_double():
        for loss in (AnswerLoss(model), FullLogits(model)):
            if isinstance(loss, FullLogits):
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            loss(inputs, targets).sum().backward()
            gradients.append({name: tensor.grad.clone() for name, tensor in trainable(model).items() if tensor.grad is not None})
            model.zero_grad()
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert gradient.dtype == torch.float64
        assert (gradient - gradients[1][name]).norm() <= 1e-10 * gradient.norm(), name


def test_what_passes_the_model_is_counted(thinker: Thinker) -> None:
    counts = dict.fromkeys(COUNTS, 0.0)
    watch(thinker.model, thinker.processor.tokenizer.pad_token_id, counts)
    encoded = [noise(thinker, Item(40, 10, 300, answer), answer) for answer in (6, 9)]
    inputs = collate(encoded, thinker.processor.tokenizer.pad_token_id, "right")
    with torch.no_grad():
        AnswerLoss(thinker.model)(inputs, labels(encoded))
    length = inputs["input_ids"].shape[1]
    assert counts["token passes, padding included"] == 2 * length
    assert counts["of them padding"] == 3
    assert counts["vocabulary rows"] == 6 + 9
    assert counts["vision tower passes"] == counts["audio tower passes"] == 2
    assert counts["decode steps"] == 0


def test_the_attention_kernel_is_counted_as_by_hand() -> None:
    """Two products of (7, 4) and (4, 9) for 2 x 3 heads: 2 * 2 * 6 * 7 * 9 * 4; five in the backward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    query, key, value = (torch.randn(2, 3, length, 4, requires_grad=True) for length in (7, 9, 9))
    with FlopCounterMode(display=False, custom_mapping=attention_formulas()) as counter:
        torch.nn.functional.scaled_dot_product_attention(query, key, value).sum().backward()
    assert counter.get_total_flops() == (2 + 5) * 2 * 6 * 7 * 9 * 4


def test_the_seconds_of_orphans_are_counted() -> None:
    """The child ends at once; its own child works for a second."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    work = "import time; end = time.process_time() + 1.0\nwhile time.process_time() < end: pass"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {work!r}]); time.sleep(0.5)"

    def run() -> None:
        subprocess.run([sys.executable, "-c", code], check=True)
        subprocess.run([sys.executable, "-c", "import time; time.sleep(3)"], check=True)

    assert _measured(run).process_sec > 0.7


def test_the_page_compares_medians_and_says_when_the_gate_failed() -> None:
    costs = {
        arm: [{"process_sec": factor * sec, "wall_sec": 9.0} for sec in (10, 11, 30)] for arm, factor in (("A", 3), ("B", 2), ("C", 1))
    }
    counts = {arm: dict.fromkeys((*COUNTS, "operations"), 4.0) for arm in "ABC"}
    counts["C"]["decodes"] = 2.0
    found = {
        "limit": 20,
        "runs": 6,
        "gate": {"passed": True},
        "costs": costs,
        "counts": counts,
        "unique": {"decodes": 2},
        "split": {"A": {"start": 7.0, "media": 3.0, "supervision": 3.0}, "B": {"start": 7.0}, "C": {"start": 1.0}},
        "predicted": {"A": 4.4, "B": 4.0, "C": 3.6},
        "growth": {"10": {"process_sec": 55.0}},
        "levers": {
            "ours": {"sec": [3.0, 1.0, 2.0], "counts": counts["C"]},
            "one": {"sec": [6.0, 4.0, 5.0], "counts": {**counts["A"], "operations": 6.0}},
        },
    }
    assert figure(found)["sweep_cost.png"].startswith(b"\x89PNG")
    assert "ours, but one" in figure(found)["sweep_cost.svg"].decode()
    text = page(found)
    assert "| A | 33 [30, 90] | 9 | 3.00 |" in text
    assert "| decodes | 4 | 4 | 2 | 2.00 | 2.00 | 2 |" in text
    assert "| A | 3 | 7 | 3 |" in text  # media, start, supervision
    assert "| 60 | 55 | 0.9 | 303 | 220 | 5.51 | 4.00 |" in text
    assert "| A | 0.000 | 0.000 | +10.0% |" in text
    assert "| one | 5 [4, 6] | 2.50 | 1.50 | 4 |" in text
    assert "STAND-IN" in text
    assert "Gate FAILED: the numbers below compare nothing" in page({**found, "gate": {"passed": False}})


def test_arithmetic_counts_each_part_as_often_as_an_arm_computes_it() -> None:
    shape, item = HUB_SHAPES["Qwen/Qwen2.5-Omni-7B"], Item(200, 135, 640, 32)
    once = forward(shape, item)
    naive, tuned, ours = (trained(shape, item, ARMS[arm]) for arm in "ABC")
    assert naive["language"] == 3 * once["language"]
    assert naive["head"] == pytest.approx(2 * once["head"] * item.total / item.answer)
    assert tuned == {"language": 2 * once["language"], "audio": 2 * once["audio"], "vision": once["vision"], "head": 2 * once["head"]}
    assert ours == {**tuned, "vision": 0}
    assert "| 640 | C | " in of_a_main_item()


def test_seconds_of_media_are_not_those_of_training() -> None:
    class Encoder:
        def media_tensors(self, clip: object) -> None:
            work(0.2)

    def work(sec: float) -> None:
        end = time.process_time() + sec
        while time.process_time() < end:
            pass

    seconds, encoder = Seconds(), Encoder()
    seconds.watch(encoder)  # type: ignore[arg-type]
    seconds.add("start")
    encoder.media_tensors(None)
    work(0.1)
    seconds.add("training")
    found = seconds.all()
    assert found["media"] >= 0.2
    assert 0.1 <= found["training"] < 0.2
    assert found["start"] > 0 == found["evaluation"]


def test_a_naive_trial_that_fails_ends_the_benchmark_and_says_where_its_output_is(tmp_path: Path) -> None:
    nothing: Any = None
    task = Task(nothing, nothing, tmp_path, tmp_path, tmp_path, tmp_path, WAYS["B"], 8)
    with pytest.raises(RuntimeError, match=rf"^trial 3 in {tmp_path} ended with 1; its output is in the \.txt files there$"):
        _in_a_process(task, 3)
    assert "AttributeError" in (tmp_path / "NoneType3.txt").read_text()


def test_every_lever_changes_something_that_the_sweep_has() -> None:
    for lever in levers().values():
        for target, _ in lever.patches:
            assert callable(pkgutil.resolve_name(target)), target


@pytest.mark.slow
def test_the_whole_command(tmp_path: Path, shared_cache: Path) -> None:
    main(rounds=1, limit=16, lever_rounds=1, out=tmp_path / "cost")
    found = json.loads((tmp_path / "cost" / "sweep_cost.json").read_text(encoding="utf-8"))
    assert found["gate"]["passed"]
    ours, needed = found["counts"]["C"], found["unique"]
    assert all(ours[name] <= 1.05 * needed[name] for name in needed)
    shared, alone = (found["levers"][name]["counts"]["operations"] for name in ("ours", "no stage shared"))
    assert shared < alone
