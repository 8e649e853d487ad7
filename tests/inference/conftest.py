"""A finished run of a sentiment model on the tiny base, and of an emotion model, with adapters that were never trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omnimer_ray.config import ThinkerConfig, changed
from omnimer_ray.inference.model import about_adapter
from omnimer_ray.model import adapters
from omnimer_ray.model.bases import Base
from omnimer_ray.model.lora import place_lora, trainable
from omnimer_ray.model.thinker import load_thinker
from omnimer_ray.planning.plan import make_run
from omnimer_ray.records import INFERENCE, write_json, write_record
from omnimer_ray.tasks.instructions import Style, prompts_hash


@pytest.fixture(scope="session")
def finished(recipe: ThinkerConfig, tiny_base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """results/ with one run of each task, a zero-shot run, and a first stage that was trained on auxiliary instructions alone."""
    results = tmp_path_factory.mktemp("finished") / "results"
    folder = results / "ablations" / "mini-tiny"
    model, _ = place_lora(load_thinker(tiny_base, "fp32").model, recipe.lora, seed=0)
    generator = torch.Generator().manual_seed(1)
    tensors = {name: torch.empty(p.shape).normal_(0, 0.02, generator=generator) for name, p in trainable(model).items()}
    configs = [changed(recipe, {"task": task}) for task in ("sentiment", "emotion")]
    configs += [changed(recipe, {"training": False}), changed(recipe, {"auxiliaries": {"audio"}, "schedule": "multi_stage"})]
    for config in configs:
        run = make_run(config)
        for stage in run.stages:
            place = folder / "stages" / stage.key
            adapters.save(model, tensors, place, tiny_base)
            write_json(place / INFERENCE, about_adapter(stage.config, stage.kinds))
            write_record(place, {"outcome": "done", "config": stage.config.model_dump(mode="json"), "kinds": list(stage.kinds)})
        place = folder / "runs" / run.signature
        write_json(place / "config.json", run.config.model_dump(mode="json"))
        prompts = prompts_hash([run.config.task], Style.of(run.config))
        write_record(place, {"outcome": "done", "reason": None, "stages": [stage.key for stage in run.stages], "prompts": prompts})
    return results


def signature_of(recipe: ThinkerConfig, **changes: object) -> str:
    return make_run(changed(recipe, {name.replace("__", "."): value for name, value in changes.items()})).signature
