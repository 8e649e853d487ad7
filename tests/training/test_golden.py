"""Golden losses of one short run of each schedule, tiny base, generated clips, on CPU: a change of any of them changes what is computed.

Regenerate, after a change that means to change them (and raises RECIPE_VERSION):
    python -m pytest tests/training/test_golden.py --write-golden

TOLERANCE is relative. Measured for these losses: equal bits with 1 and 2 threads, and at most 4.3e-7 between vector instruction sets
(ATEN_CPU_CAPABILITY=default and avx2, ONEDNN_MAX_CPU_ISA=SSE41 and AVX2, MKL_CBWR=COMPATIBLE). The rest of the tolerance is for the video
codecs of other processors, which were not measured.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from lessons import Parts, answer

from omnimer_ray.config import SCHEDULES, RunConfig, changed
from omnimer_ray.model import adapters
from omnimer_ray.model.bases import Base
from omnimer_ray.model.inputs import Encoder
from omnimer_ray.model.lora import place_lora
from omnimer_ray.model.thinker import load_thinker
from omnimer_ray.planning.items import make_schedule
from omnimer_ray.planning.plan import make_run
from omnimer_ray.planning.units import Run, Stage
from omnimer_ray.tasks.supervision import eligible, freeze
from omnimer_ray.training import checkpoints
from omnimer_ray.training.loop import Placement, init_single_process_group, start_engine, train

GOLDEN = Path(__file__).with_name("golden_losses.json")
TOLERANCE = 1e-4
RUNS: dict[str, dict[str, object]] = {
    "Base": {},
    **{schedule: {"auxiliaries": ("text", "video", "audio"), "schedule": schedule} for schedule in SCHEDULES},
}


def short_run(recipe: RunConfig, delta: dict[str, object]) -> Run:
    """The tiny recipe for 1.3 epochs, with its own learning rate: no stage ends with a whole step."""
    return make_run(changed(recipe, {"task": "emotion", "epochs": 1.3, "global_batch": 8, **delta}))


def write_ledgers(parts: Parts, run: Run, ledgers: Path) -> None:
    """Frozen auxiliary answers of fixed text, as if the base had written them."""
    for part in {part for stage in run.stages for part in stage.parts}:
        folder = ledgers / part.key
        folder.mkdir(parents=True)
        clips = eligible(parts.corpus.clips, part.kind)
        lines = [json.dumps({"clip": clip.id, "answer": answer(clip, part.kind, number)}) for number, clip in enumerate(clips)]
        (folder / f"{part.kind}.0.jsonl").write_text("\n".join(lines) + "\n")
        freeze(folder, part.kind)


def trained(parts: Parts, stage: Stage, base: Base, results: Path, ledgers: Path) -> dict[str, Any]:
    """Train a stage as a worker does, from its predecessor's adapter; returns its steps before rounding down, and the loss of each step."""
    init_single_process_group()
    thinker, config = load_thinker(base, "fp32"), stage.config
    model, _ = place_lora(thinker.model, config.lora, config.seed)
    if stage.predecessor is not None:
        adapters.load(model, results / stage.predecessor)
    schedule, folder = make_schedule(stage, parts.corpus.clips, ledgers), results / stage.key
    folder.mkdir(parents=True)
    placement, losses = Placement(micro_batch=8, checkpoint_every=1000), list[float]()
    engine = start_engine(model, config.optimizer, schedule, placement)
    encoder = Encoder(thinker.processor, config, parts.cache)
    train(
        engine,
        encoder,
        parts.clips,
        schedule,
        config.optimizer,
        config.loss_average,
        placement,
        folder,
        stage.key,
        lambda step: losses.append(step.loss),
        lambda step: False,
    )
    adapters.save(model, checkpoints.parameters(engine), folder, base)
    engine.destroy()
    return {"steps": schedule.num_items * schedule.epochs / schedule.global_batch, "losses": losses}


@pytest.mark.parametrize("name", RUNS)
def test_losses_are_the_golden_ones(
    name: str, parts: Parts, recipe: RunConfig, tiny_base: Base, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run = short_run(recipe, RUNS[name])
    write_ledgers(parts, run, tmp_path / "ledgers")
    stages = [trained(parts, stage, tiny_base, tmp_path / "stages", tmp_path / "ledgers") for stage in run.stages]
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if request.config.getoption("--write-golden"):
        GOLDEN.write_text(json.dumps({**golden, name: stages}, indent=1) + "\n")
        return
    assert name in golden, f"no golden losses of {name!r}: run `python -m pytest tests/training/test_golden.py --write-golden`"
    for ours, theirs in zip(stages, golden[name], strict=True):
        assert ours["steps"] == theirs["steps"]
        assert len(ours["losses"]) == math.floor(ours["steps"])
        print(f"{name}: relative distance {max(abs(a / b - 1) for a, b in zip(ours['losses'], theirs['losses'], strict=True)):.1e}")
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=TOLERANCE)


def test_a_golden_loss_is_kept_for_each_schedule_and_no_other() -> None:
    assert json.loads(GOLDEN.read_text()).keys() == RUNS.keys()
