"""What one Ray Tune trial does: the next unit of a plan (a part of the ledger, a stage, an evaluation) and its record.

`run_unit` is the trial; it starts a Ray Train worker group whose workers all run `work`. Workers read and write the results
folder only: what they are told fits in one small dictionary.
"""

from __future__ import annotations

import json
import os
import platform
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnimer_ray.config import RECIPE_VERSION, Kind, RunConfig
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.select import splits_of
from omnimer_ray.instructions import PROMPTS_HASH, Style, main_answer
from omnimer_ray.machine import MachineProfile
from omnimer_ray.plan import Run, Stage, Unit
from omnimer_ray.results import predictions_schema, read_record, write_json, write_record, write_table
from omnimer_ray.schedule import Item, Schedule
from omnimer_ray.supervision import build, eligible, ledger_hash, missing, read_entries

if TYPE_CHECKING:
    from omnimer_ray.inputs import Encoder
    from omnimer_ray.thinker import Thinker

STORAGE = ("ResultsError", "No space left", "OSError")  # a fault of the place, not of the run: told, not recorded
FAILURES = {  # outcome -> what tells it in an error; these would fail again, so they are recorded
    "diverged": ("DivergedError",),
    "out_of_memory": ("OutOfMemoryError", "out of memory"),
    "bad_data": ("MediaError", "CorpusError"),
    "failed": ("ConfigError", "BaseModelError"),
}
PACKAGES = ("ray", "torch", "transformers", "peft", "deepspeed", "qwen-omni-utils")


@dataclass(frozen=True)
class Job:
    """What every unit of a sweep shares."""

    folder: Path  # of the results
    ledger: Path  # of the supervision's entries
    cache: Path
    base: str  # as the person named it: 'tiny', a folder, a hub name
    profile: MachineProfile
    session: str  # of the driver, for names that must not repeat

    @property
    def work(self) -> Path:
        """Where a running sweep keeps its own state; the analysis needs none of it."""
        return self.folder / ".sweep"

    @property
    def stop_file(self) -> Path:
        """Stands once somebody asked the sweep to stop."""
        return self.work / "stop"


def run_unit(config: dict[str, Any], job: Job, units: dict[str, Unit]) -> None:
    """The Tune trainable: one worker group for one unit; what became of it is the trial's one report.

    A failure that would come again becomes a record; a lost worker does not, and the plan's searcher hands its unit out again.
    """
    from ray import tune

    unit = units[config["unit"]]
    result = _fit(job, unit)
    if result["outcome"] in FAILURES:
        record_failure(job.folder, unit, result["outcome"], result["reason"])
    tune.report(result)


def _fit(job: Job, unit: Unit) -> dict[str, Any]:
    import ray.train
    import ray.train.torch

    profile = job.profile
    per_worker = {"CPU": profile.cpus_per_worker} | ({"GPU": profile.gpus_per_worker} if profile.gpus_per_worker else {})
    trainer = ray.train.torch.TorchTrainer(
        work,
        train_loop_config={"job": job, "unit": unit},
        scaling_config=ray.train.ScalingConfig(
            num_workers=profile.workers_per_run,
            use_gpu=profile.gpus_per_worker > 0 and profile.workers_per_run > 0,
            resources_per_worker=per_worker if profile.workers_per_run else None,
            accelerator_type=profile.accelerator_type,
        ),
        # Train would go on from whatever stands under the same name; recovery is by our own checkpoints.
        run_config=ray.train.RunConfig(
            name=f"{unit.id}-{job.session}-{time.time_ns()}",
            storage_path=str(job.work / "train"),
            failure_config=ray.train.FailureConfig(max_failures=0, controller_failure_limit=1),
        ),
        torch_config=ray.train.torch.TorchConfig(backend="nccl" if profile.gpus_per_worker else "gloo"),
    )
    try:
        return dict(trainer.fit().return_value)
    except Exception as error:  # whatever a worker raised, here or through Train: told by its kind, with the trace beside the results
        trace = job.work / "errors" / f"{unit.id}.txt"
        trace.parent.mkdir(parents=True, exist_ok=True)
        trace.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        return classify(error)


def classify(error: BaseException) -> dict[str, Any]:
    """A failed worker group -> its kind and reason. Workers that died without raising were killed or lost."""
    causes = list(getattr(error, "worker_failures", {}).values()) or [error]
    for cause in causes:
        cause = getattr(cause, "cause", None) or cause
        text = str(cause).strip().splitlines()[-1] if str(cause).strip() else type(cause).__name__
        for kind, marks in FAILURES.items():
            if any(mark in f"{type(cause).__name__}: {cause}" for mark in marks):
                return {"outcome": kind, "reason": text}
    if any(mark in f"{type(cause).__name__}: {cause}" for cause in causes for mark in STORAGE):
        return {"outcome": "storage", "reason": str(causes[0]).strip().splitlines()[-1]}
    lost = all(any(mark in repr(cause) for mark in ("ActorDied", "ActorUnavailable", "NodeDied", "WorkerCrashed")) for cause in causes)
    return {"outcome": "lost_worker" if lost else "failed", "reason": str(causes[0]).strip().splitlines()[-1]}


def record_failure(folder: Path, unit: Unit, outcome: str, reason: str) -> None:
    """A failure that would come again, kept so that the sweep goes on and the tables show the gap."""
    if unit.run is not None:
        config = unit.run.config
        place = folder / "runs" / unit.run.signature
        about = {
            "signature": unit.run.signature,
            "method": config.method,
            "task": config.task,
            "fold": config.corpus.fold,
            "seed": config.seed,
        }
    elif unit.stage is not None:
        place, about = folder / "stages" / unit.stage.key, {"key": unit.stage.key}
    else:
        return
    place.mkdir(parents=True, exist_ok=True)
    write_record(place, {**about, "outcome": outcome, "reason": reason, "stages": []})


def work(config: dict[str, Any]) -> dict[str, Any]:
    """One worker's part of a unit. Every rank runs every line; rank 0 writes."""
    import torch
    import torch.distributed as dist

    from omnimer_ray.training import join_alone

    job, unit = config["job"], config["unit"]
    join_alone("nccl" if torch.cuda.is_available() else "gloo")
    torch.set_num_threads(job.profile.threads_per_worker)
    os.environ.update(job.profile.environment)
    worker = Worker(job, unit, dist.get_rank(), dist.get_world_size())
    if unit.ledger is not None:
        return worker.supervise(unit.ledger)
    return worker.train_and_evaluate()


class Worker:
    """A worker of one unit: the base, the clips, and where to write."""

    def __init__(self, job: Job, unit: Unit, rank: int, workers: int) -> None:
        self.job, self.unit, self.rank, self.workers = job, unit, rank, workers
        self.began = time.monotonic()
        self.device = _device()
        self.config = _config(job, unit)
        self.clips = read_manifest(job.work / "manifest.json", self.config)

    def supervise(self, kind: Kind) -> dict[str, Any]:
        """One instruction's part of the ledger, shared out over the workers, each with a file of its own."""
        from omnimer_ray.generation import generate

        thinker, encoder = self._load()

        def ask(clips: Sequence[Clip], given: Sequence[str | None]) -> list[str]:
            items = [encoder.encode(clip, kind, given=label) for clip, label in zip(clips, given, strict=True)]
            return generate(thinker, encoder, items, self.config.supervision.max_new_tokens)

        todo = missing(self.job.ledger, kind, self.clips)
        _barrier()  # every worker has the same list before one of them makes it shorter
        path = self.job.ledger / f"{kind}.{self.rank}.jsonl"
        batch, report = self.job.profile.evaluation_batch, self._progress("answers")
        build(ask, todo[self.rank :: self.workers], kind, Style.of(self.config), batch, path, report, self.job.stop_file.exists)
        _barrier()
        return {"outcome": "stopped" if missing(self.job.ledger, kind, self.clips) else "done"}

    def train_and_evaluate(self) -> dict[str, Any]:
        """The unit's stage, unless it is recorded, then its run's evaluation and record."""
        thinker, encoder = self._load()
        stage, run = self.unit.stage, self.unit.run
        if stage is not None:
            thinker, whole = self._trained(thinker, encoder, stage)
            if not whole:
                return {"outcome": "stopped"}
        if run is not None:
            self._evaluate(thinker, encoder, run)
        return {"outcome": "done"}

    def _load(self) -> tuple[Thinker, Encoder]:
        from omnimer_ray.bases import locate
        from omnimer_ray.inputs import Encoder
        from omnimer_ray.thinker import load_thinker

        thinker = load_thinker(locate(self.job.base), self.config.base.precision, self.device)
        return thinker, Encoder(thinker.processor, self.config, self.job.cache, int(self.job.profile.cache_gib * 2**30))

    def _trained(self, thinker: Thinker, encoder: Encoder, stage: Stage) -> tuple[Thinker, bool]:
        """The base with the stage's adapter, trained now or read from its record; and whether the stage is whole."""
        from omnimer_ray import adapters, checkpoints
        from omnimer_ray.thinker import place_lora

        folder = self.job.folder / "stages" / stage.key
        model, matched = place_lora(thinker.model, stage.config.lora, stage.config.seed)
        thinker = thinker._replace(model=model)
        if read_record(folder) is not None:
            adapters.load(model, folder)
            return thinker, True
        if stage.predecessor is not None:
            adapters.load(model, self.job.folder / "stages" / stage.predecessor)
        if self.rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
        schedule = make_schedule(stage, self.clips, self.job.ledger)
        tensors = self._train(thinker, encoder, stage, schedule, folder)
        if tensors is None:
            return thinker, False
        if self.rank == 0:
            adapters.save(model, tensors, folder)
            write_record(folder, self._stage_record(stage, schedule, str(matched)))
            checkpoints.forget(folder)
        _barrier()
        adapters.load(model, folder)
        return thinker, True

    def _train(self, thinker: Thinker, encoder: Encoder, stage: Stage, schedule: Schedule, folder: Path) -> dict[str, Any] | None:
        from omnimer_ray import checkpoints
        from omnimer_ray.training import Placement, start_engine, train

        profile, config = self.job.profile, stage.config
        placement = Placement(
            profile.micro_batch, profile.zero_stage, profile.recompute, profile.checkpoint_every, config.base.precision, str(self.device)
        )
        engine = start_engine(thinker.model, config.optimizer, schedule, placement)
        clips = {clip.id: clip for clip in self.clips}
        whole = train(
            engine,
            encoder,
            clips,
            schedule,
            config.optimizer,
            config.loss_average,
            placement,
            folder,
            stage.key,
            lambda step: None,
            self.job.stop_file.exists,
        )
        tensors = checkpoints.parameters(engine) if whole else None
        engine.destroy()
        return tensors

    def _evaluate(self, thinker: Thinker, encoder: Encoder, run: Run) -> None:
        import polars as pl
        import torch.distributed as dist

        from omnimer_ray.evaluation import evaluate

        thinker.model.eval()
        validation = [clip for clip in self.clips if clip.split == "validation"]
        mine = evaluate(
            thinker, encoder, validation[self.rank :: self.workers], run.config, self.job.profile.evaluation_batch, self._progress("clips")
        )
        gathered: list[list[dict[str, Any]]] = [[] for _ in range(self.workers)]
        dist.all_gather_object(gathered, mine)
        if self.rank:
            return
        order = {clip.id: place for place, clip in enumerate(validation)}
        rows = sorted((row for part in gathered for row in part), key=lambda row: order[row["clip"]])
        folder = self.job.folder / "runs" / run.signature
        write_json(folder / "config.json", run.config.model_dump(mode="json"))
        write_table(folder / "predictions.parquet", pl.DataFrame(rows, schema=predictions_schema()))
        write_json(folder / "cost.json", {"sec": round(time.monotonic() - self.began, 1), "workers": self.workers})
        write_record(folder, self._run_record(run))
        self._progress("clips")(len(rows), len(rows))

    def _progress(self, what: str) -> Callable[[int, int], None]:
        """Writes how far the unit is, for the driver to read; plain files, since a cluster shares the folder and nothing else."""

        def report(done: int, total: int) -> None:
            if self.rank == 0:
                write_json(self.job.work / "progress" / f"{self.unit.id}.json", {"done": done, "total": total, "what": what})

        return report

    def _stage_record(self, stage: Stage, schedule: Schedule, matched: str) -> dict[str, Any]:
        kinds = [kind for kind in stage.kinds if kind != stage.config.task]
        return {
            "key": stage.key,
            "outcome": "done",
            "kinds": list(stage.kinds),
            "predecessor": stage.predecessor,
            "config": stage.config.model_dump(mode="json"),
            "num_items": {kind: len(items) for kind, items in schedule.items.items()},
            "num_steps": schedule.num_steps,
            "matched": matched,
            "ledger_hash": ledger_hash(self.job.ledger, kinds, self.clips) if kinds else None,
            **self._seen(),
        }

    def _run_record(self, run: Run) -> dict[str, Any]:
        config = run.config
        records = [read_record(self.job.folder / "stages" / stage.key) or {} for stage in run.stages]
        return {
            "signature": run.signature,
            "outcome": "done",
            "reason": None,
            "method": config.method,
            "task": config.task,
            "fold": config.corpus.fold,
            "seed": config.seed if config.training else None,
            "stages": [stage.key for stage in run.stages],
            "num_steps": sum(record.get("num_steps", 0) for record in records),
            "validation_opened": "once, to report",
            **self._seen(),
        }

    def _seen(self) -> dict[str, Any]:
        """What was seen while computing; no part of any identity."""
        import resource

        import torch

        return {
            "recipe_version": RECIPE_VERSION,
            "prompts": PROMPTS_HASH,
            "workers": self.workers,
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
            "threads": torch.get_num_threads(),
            "attention": "sdpa",
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        }


def make_schedule(stage: Stage, clips: Sequence[Clip], ledger: Path) -> Schedule:
    """The stage's items: main ones from gold labels, auxiliary ones from the ledger's accepted entries; training clips only."""
    config, style = stage.config, Style.of(stage.config)
    training = [clip for clip in clips if clip.split == "train"]
    items: dict[Kind, tuple[Item, ...]] = {}
    for kind in stage.kinds:
        if kind == config.task:
            labelled = [clip for clip in training if clip.label(kind) is not None]
            weights = _weights([str(clip.label(kind)) for clip in labelled], config.class_balance)
            items[kind] = tuple(Item(c.id, kind, main_answer(c, kind, style), w) for c, w in zip(labelled, weights, strict=True))
        else:
            entries = read_entries(ledger, kind)
            answers = [(clip.id, entries[clip.id]["answer"]) for clip in eligible(training, kind)]
            items[kind] = tuple(Item(clip, kind, answer) for clip, answer in answers if answer is not None)
    mixture = {kind: config.mixture[kind] for kind in stage.kinds} if config.mixture and len(stage.kinds) > 1 else None
    return Schedule(items, config.epochs, config.global_batch, config.block, config.seed, stage.position, mixture)


def write_manifest(path: Path, clips: Sequence[Clip]) -> None:
    """The clips with their media paths, for the workers."""
    write_json(path, [{name: str(value) if isinstance(value, Path) else value for name, value in vars(clip).items()} for clip in clips])


def read_manifest(path: Path, config: RunConfig) -> list[Clip]:
    """The clips of a run, with its fold's splits."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    for row in rows:
        for name in ("video_path", "audio_path"):
            row[name] = Path(row[name]) if row[name] else None
    return splits_of(config, [Clip(**row) for row in rows])


def _weights(golds: Sequence[str], balance: str) -> list[float]:
    """Of main items: 1, or the inverse of their class's share, so that every class weighs the same in an epoch."""
    if balance == "none":
        return [1.0] * len(golds)
    return [len(golds) / (len(set(golds)) * golds.count(gold)) for gold in golds]


def _config(job: Job, unit: Unit) -> RunConfig:
    if unit.run is not None:
        return unit.run.config
    if unit.stage is not None:
        return unit.stage.config
    return RunConfig.model_validate(json.loads((job.work / "recipe.json").read_text(encoding="utf-8")))


def _device() -> Any:
    import ray.train.torch
    import torch

    return ray.train.torch.get_device() if torch.cuda.is_available() else torch.device("cpu")


def _barrier() -> None:
    import torch.distributed as dist

    dist.barrier()
