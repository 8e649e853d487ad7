"""Small made-up configs, clips and spaces for tests of what needs no model."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from omnimer_ray.config import BaseConfig, CorpusConfig, ThinkerConfig, changed
from omnimer_ray.corpora.clips import Clip, Corpus
from omnimer_ray.machine.profile import load_profile
from omnimer_ray.model.bases import Base
from omnimer_ray.planning.plan import make_plan
from omnimer_ray.planning.setup import Request, Sweep
from omnimer_ray.planning.space_files import find_space
from omnimer_ray.planning.units import RunUnit, Unit, record_folder, trained_stage
from omnimer_ray.recipes import omnimer_qwen7b, omnimer_tiny
from omnimer_ray.records import predictions_schema, write_record, write_table
from search_spaces.ablations import space as ablations

CORPUS = CorpusConfig(name="mini", fingerprint="c0ffee")
BASE = BaseConfig(name="tiny", revision="beef", precision="fp32")
ALL = ("audio", "text", "video")
ROOT = Path(__file__).parent.parent


# Another valid value of every field of a run that uses them all; `method` has one value yet.
OTHER_VALUE: dict[str, Any] = {
    "corpus.name": "indomer",
    "corpus.fingerprint": "decaf",
    "corpus.limit": 100,
    "corpus.folds": 4,
    "corpus.fold": 1,
    "corpus.reported": "test",
    "corpus.unfixed": ("surprise",),
    "base.name": "Qwen2.5-Omni-7B",
    "base.revision": "f00d",
    "base.precision": "bf16",
    "task": "sentiment",
    "training": False,
    "modalities": ("text", "video"),
    "paraphrase": 2,
    "train_fraction": 0.5,
    "observed.modalities": ("audio", "text"),
    "observed.missing_rate": 0.3,
    "observed.draw": 1,
    "auxiliaries": ("text",),
    "schedule": "multi_stage",
    "epochs": 5.5,
    "steps": 40,
    "mixture": {"emotion": 2.0, "text_keywords": 1.0, "facial_expression": 1.0, "prosody": 1.0},
    "loss_average": "tokens",
    "class_balance": "inverse_frequency",
    "global_batch": 32,
    "block": 16,
    "optimizer.learning_rate": 1e-3,
    "optimizer.beta1": 0.8,
    "optimizer.beta2": 0.99,
    "optimizer.epsilon": 1e-7,
    "optimizer.weight_decay": 0.1,
    "optimizer.warmup_fraction": 0.2,
    "optimizer.max_grad_norm": 2.0,
    "lora.rank": 4,
    "lora.alpha": 32,
    "lora.placement": "all",
    "media.frames_per_second": 1.0,
    "media.min_frames": 6,
    "media.max_frames": 18,
    "media.min_pixels": 28 * 28,
    "media.max_pixels": 224 * 224,
    "media.max_sec": 9.0,
    "media.audio_source": "track",
    "hierarchy": "none",
    "answer_language": "id",
    "supervision.max_new_tokens": 65,
    "supervision.retries": 2,
    "supervision.temperature": 0.7,
    "supervision.keywords_must_occur": True,
    "supervision.leak_guard": True,
    "supervision.gold": "fused",
    "evaluation.max_new_tokens": 49,
    "auxiliary_answers": "shuffled",
    "auxiliary_clips": "mixed",
    "evaluation.scoring": "generate",
    "evaluation.also": ({"name": "mini_zh", "fingerprint": "beef", "tasks": ("sentiment", "emotion"), "num_clips": 3},),
    "evaluation.decoding": "constrained",
    "seed": 1,
}


def tiny_config(**changes: Any) -> ThinkerConfig:
    """The tiny recipe with changed fields; a dotted name is written with two underscores."""
    return changed(omnimer_tiny(CORPUS, BASE), {name.replace("__", "."): value for name, value in changes.items()})


def paper_config(**changes: Any) -> ThinkerConfig:
    """The paper's recipe with changed fields."""
    return changed(omnimer_qwen7b(CORPUS, BASE), {name.replace("__", "."): value for name, value in changes.items()})


def whole_config(**changes: Any) -> ThinkerConfig:
    """A run in which every setting has an effect."""
    needed = {
        "task": "emotion",
        "auxiliaries": ALL,
        "corpus__folds": 5,
        "corpus__fold": 0,
        "supervision__retries": 1,
        "observed__missing_rate": 0.5,
    }
    return tiny_config(**{**needed, **changes})


def clip(name: str, split: str = "train", **changes: Any) -> Clip:
    """One clip whose labels are all neutral, unless changed."""
    same: dict[str, Any] = {
        "source_video": name.rpartition("_")[0] or name,
        "topic": "Daily",
        "text": f"ini kalimat {name}",
        "sentiment": "neutral",
        "emotion": "neutral",
        "text_sentiment": "neutral",
        "video_sentiment": "neutral",
        "audio_sentiment": "neutral",
        "video_path": Path(f"/corpus/{name}.mp4"),
        "audio_path": None,
    }
    return Clip(**{**same, "id": name, "split": split, **changes})


def sweep_of(folder: Path, clips: Sequence[Clip]) -> Sweep:
    """`ablations` of the tiny recipe on these clips, with its results in `folder`."""
    request = Request(
        "ablations", "mini", "tiny", "laptop", folder, None, None, None, None, (), False, "python -m omnimer_ray.sweep ablations"
    )
    corpus = Corpus("mini", tuple(clips), CORPUS.fingerprint, stand_in="generated faces")
    recipe = tiny_config()
    plan = make_plan(ablations(recipe))
    base = Base("tiny", None, BASE.revision, None, 128)
    place = folder / "ablations" / "mini-tiny"
    return Sweep(request, find_space("ablations"), corpus, base, load_profile("laptop"), recipe, plan, place, folder / "ledgers")


class AnyUnit(NamedTuple):
    """A unit without contents, for tests of searchers."""

    id: str
    needs: tuple[str, ...] = ()
    title: str = ""


STAGE_RECORD = {"num_items": {"emotion": 160, "prosody": 150}, "num_steps": 96, "matched": "LoRA on 16 language projections"}


def step(number: int, loss: float, sec: float = 2.0) -> str:
    """A line of a stage's history."""
    return json.dumps({"step": number, "num_steps": 2, "loss": loss, "learning_rate": 0.5 / number, "sec": sec}) + "\n"


def finish(sweep: Sweep, unit: Unit, *steps: str, predicted: tuple[str | None, ...] = ("neutral", None), outcome: str = "done") -> None:
    """Write the files of a finished unit: the stage's history and record, then the run's predictions of the validation clips and its record."""
    if trained := trained_stage(unit):
        stage = sweep.folder / "stages" / trained.key
        stage.mkdir(parents=True, exist_ok=True)
        (stage / "history.jsonl").write_text("".join(steps))
        write_record(stage, {**STAGE_RECORD, "outcome": "done"})
    if isinstance(unit, RunUnit):
        run, task = record_folder(unit, sweep.folder), unit.run.config.task
        rows = [
            {"evaluation_corpus": corpus, "clip": one.id, "instruction": task, "gold": one.label(task), "prediction": answer}
            for corpus in ("mini", "elsewhere")
            for one, answer in zip(sweep.corpus.split("validation"), predicted, strict=True)
        ]
        write_table(run / "predictions.parquet", pl.DataFrame(rows, schema=predictions_schema()))
        write_record(run, {"outcome": outcome})


__all__ = [
    "ALL",
    "BASE",
    "CORPUS",
    "OTHER_VALUE",
    "STAGE_RECORD",
    "AnyUnit",
    "ablations",
    "clip",
    "finish",
    "paper_config",
    "step",
    "sweep_of",
    "tiny_config",
    "whole_config",
]


def make_command(*words: str) -> str:
    """Return the last command that `make WORDS` would run; also inside another make, whose variables and options are not inherited."""
    inherited = ("SEEDS", "KILLS", "PYTEST", "MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in inherited}
    ended = subprocess.run(["make", "-n", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return ended.stdout.splitlines()[-1].strip()
