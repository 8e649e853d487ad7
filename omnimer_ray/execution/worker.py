"""One worker of a unit: supervises, trains and evaluates, and writes the records. Every rank runs every line; rank 0 writes.

Workers read and write the results folder only: what they are told fits in a Job and a Unit.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from omnimer_ray.config import RECIPE_VERSION, Kind, RunConfig
from omnimer_ray.corpora.clips import LABELS, Clip
from omnimer_ray.corpora.select import evaluated_split
from omnimer_ray.execution.handout import Job, read_manifest
from omnimer_ray.execution.watchdog import Watchdog
from omnimer_ray.machine.profile import pace
from omnimer_ray.metrics import scores
from omnimer_ray.planning.items import ledger_hash, make_schedule
from omnimer_ray.planning.pruning import PRUNED, Judge
from omnimer_ray.planning.units import LedgerPart, LedgerUnit, Run, RunUnit, Stage, StageUnit, Unit, trained_stage
from omnimer_ray.records import predictions_schema, read_record, write_json, write_record, write_table
from omnimer_ray.tasks.instructions import Style, prompts_hash
from omnimer_ray.tasks.supervision import build, freeze, missing
from omnimer_ray.training.ranks import broadcast_from_rank_0
from omnimer_ray.training.schedule import Schedule

if TYPE_CHECKING:
    from omnimer_ray.model.inputs import Encoder
    from omnimer_ray.model.thinker import Thinker
    from omnimer_ray.training.loop import StepReport

PACKAGES = ("ray", "torch", "transformers", "peft", "deepspeed", "qwen-omni-utils")


def work(config: dict[str, Any]) -> dict[str, Any]:
    """One worker's part of a unit. Every rank runs every line; rank 0 writes."""
    job, unit = config["job"], config["unit"]
    stage = trained_stage(unit)
    signs = [job.progress_file(unit), *([job.folder / "stages" / stage.key / "history.jsonl"] if stage else [])]
    with Watchdog(signs, job.profile.startup_timeout_sec, job.profile.step_timeout_sec, job.hung_file(unit)) as watchdog:
        return _work(job, unit, config["tried"], config["began"], watchdog.beat)


def _work(job: Job, unit: Unit, tried: Sequence[dict[str, Any]], began: float, beat: Callable[[], None]) -> dict[str, Any]:
    import torch
    import torch.distributed as dist

    from omnimer_ray.training.loop import init_single_process_group

    init_single_process_group("nccl" if torch.cuda.is_available() else "gloo")
    torch.set_num_threads(job.profile.threads_per_worker)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()  # a process may do several units
    worker = Worker(job, unit, dist.get_rank(), dist.get_world_size(), tried, began, beat)
    return worker.execute()


class Worker:
    """A worker of one unit: the base, the clips, and where to write."""

    def __init__(
        self,
        job: Job,
        unit: Unit,
        rank: int,
        workers: int,
        tried: Sequence[dict[str, Any]],
        began: float,
        beat: Callable[[], None] = lambda: None,  # called after every micro-batch of the training
    ) -> None:
        self.job, self.unit, self.rank, self.workers, self.tried = job, unit, rank, workers, tried
        self.began = began  # its trial, by the clock: starting processes counts as well
        self.beat = beat
        self.spent = dict.fromkeys(("startup_sec", "training_sec", "items", "evaluation_sec", "answers"), 0.0)
        self.device = _device()
        self.config = unit.config
        self.base = job.base
        self.clips = read_manifest(job.work / "manifest.json", self.config)
        self.judge: Judge | None = None

    def execute(self) -> dict[str, Any]:
        """Do the unit's work; returns its outcome."""
        match self.config.method:
            case "thinker":
                return self._execute_thinker(self.unit)
            case unknown:
                assert_never(unknown)

    def _execute_thinker(self, unit: Unit) -> dict[str, Any]:
        match unit:
            case LedgerUnit():
                return self.supervise(unit.part)
            case StageUnit():
                return self.train_and_evaluate(unit.stage, None)
            case RunUnit():
                return self.train_and_evaluate(unit.stage, unit.run)
            case unknown:
                assert_never(unknown)

    def supervise(self, part: LedgerPart) -> dict[str, Any]:
        """Build one instruction's part of the ledger, shared out over the workers, each with a file of its own; then freeze it."""
        kind, ledger = part.kind, self.job.ledgers / part.key
        todo = broadcast_from_rank_0(lambda: missing(ledger, kind, self.clips))
        if todo:
            self._answer_auxiliary(kind, todo, ledger / f"{kind}.{self.rank}.jsonl")
        _barrier()
        whole = broadcast_from_rank_0(lambda: not missing(ledger, kind, self.clips))
        if whole and self.rank == 0:
            freeze(ledger, kind)
        _barrier()
        return {"outcome": "done" if whole else "stopped"}

    def _answer_auxiliary(self, kind: Kind, todo: Sequence[Clip], path: Path) -> None:
        """Ask the base about this rank's share of `todo`."""
        from omnimer_ray.model.generation import generate

        thinker, encoder = self._load()

        def ask(clips: Sequence[Clip], given: Sequence[str | None]) -> list[str]:
            items = [encoder.encode(clip, kind, given=label) for clip, label in zip(clips, given, strict=True)]
            return generate(thinker, encoder, items, self.config.supervision.max_new_tokens)

        batch, report = self.job.profile.evaluation_batch, self._progress("answers")
        build(ask, todo[self.rank :: self.workers], kind, Style.of(self.config), batch, path, report, self.job.stop_file.exists)

    def train_and_evaluate(self, stage: Stage | None, run: Run | None) -> dict[str, Any]:
        """Train the unit's stage, unless it is recorded, then evaluate its run and write the records."""
        thinker, encoder = self._load()
        if stage is not None:
            thinker, whole = self._trained(thinker, encoder, stage)
            if self.judge is not None and self.judge.pruned:
                return self._prune(self.judge)
            if not whole:
                return {"outcome": "stopped"}
        if run is not None:
            self._evaluate(thinker, encoder, run)
        return {"outcome": "done"}

    def _load(self) -> tuple[Thinker, Encoder]:
        from omnimer_ray.model.inputs import Encoder
        from omnimer_ray.model.thinker import load_thinker

        thinker = load_thinker(self.base, self.config.base.precision, self.device)
        self.spent["startup_sec"] = time.time() - self.began
        return thinker, Encoder(thinker.processor, self.config, self.job.cache, int(self.job.profile.cache_gib * 2**30))

    def _trained(self, thinker: Thinker, encoder: Encoder, stage: Stage) -> tuple[Thinker, bool]:
        """The base with the stage's adapter, trained now or read from its record; and whether the stage is whole."""
        from omnimer_ray.model import adapters
        from omnimer_ray.model.lora import place_lora
        from omnimer_ray.training import checkpoints

        folder = self.job.folder / "stages" / stage.key
        model, matched = place_lora(thinker.model, stage.config.lora, stage.config.seed)
        thinker = thinker._replace(model=model)
        if broadcast_from_rank_0(lambda: read_record(folder) is not None):
            adapters.load(model, folder)
            return thinker, True
        if stage.predecessor is not None:
            adapters.load(model, self.job.folder / "stages" / stage.predecessor)
        if self.rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
        schedule = make_schedule(stage, self.clips, self.job.ledgers)
        used = ledger_hash(stage, self.clips, self.job.ledgers)
        tensors = self._train(thinker, encoder, stage, schedule, folder, stage.key if used is None else f"{stage.key} with ledger {used}")
        if tensors is None:
            return thinker, False
        if self.rank == 0:
            adapters.save(model, tensors, folder, self.base)
            self._write_cost(folder)
            write_record(folder, self._stage_record(stage, schedule, str(matched), used))
            checkpoints.delete(folder)
        _barrier()
        adapters.load(model, folder)
        return thinker, True

    def _train(
        self, thinker: Thinker, encoder: Encoder, stage: Stage, schedule: Schedule, folder: Path, identity: str
    ) -> dict[str, Any] | None:
        from omnimer_ray.training import checkpoints
        from omnimer_ray.training.loop import Placement, start_engine, train

        profile, config = self.job.profile, stage.config
        placement = Placement(profile.micro_batch, profile.zero_stage, profile.recompute, profile.checkpoint_every, str(self.device))
        engine = start_engine(thinker.model, config.optimizer, schedule, placement)
        clips = {clip.id: clip for clip in self.clips}
        if self.job.pruning is not None and isinstance(self.unit, RunUnit):  # its last stage, which has main items
            score = partial(self._development_f1, thinker, encoder, self.unit.run.config)
            self.judge = Judge(self.job.pruning, self.job.folder, self.unit.run, schedule.num_steps, score)
            if self.judge.pruned:
                return None  # a kill came between verdict and record
        self.spent["startup_sec"] = time.time() - self.began

        def stepped(step: StepReport) -> None:
            self.spent["items"] += schedule.global_batch
            self.spent["training_sec"] += step.sec

        whole = train(
            engine,
            encoder,
            clips,
            schedule,
            config.optimizer,
            config.loss_average,
            placement,
            folder,
            identity,
            stepped,
            self._should_stop,
            self.beat,
        )
        tensors = checkpoints.parameters(engine) if whole else None
        engine.destroy()
        return tensors

    def _should_stop(self, step: int) -> bool:
        """Whether somebody asked for it, or the trial was pruned."""
        pruned = self.judge is not None and self.judge(step)
        return pruned or self.job.stop_file.exists()

    def _prune(self, judge: Judge) -> dict[str, Any]:
        """A pruned trial's record; what it trained is dropped."""
        from omnimer_ray.training import checkpoints

        run, verdict = judge.run, judge.pruned
        assert verdict is not None
        if self.rank == 0:
            record = self._run_record(run)
            steps = record["num_steps"] + judge.step_of(verdict)
            folder = self.job.folder / "runs" / run.signature
            write_json(folder / "config.json", run.config.model_dump(mode="json"))
            write_record(folder, {**record, "outcome": PRUNED, "reason": verdict.reason, "num_steps": steps})
            checkpoints.delete(self.job.folder / "stages" / run.stages[-1].key)
        return {"outcome": PRUNED, "reason": verdict.reason}

    def _development_f1(self, thinker: Thinker, encoder: Encoder, config: RunConfig) -> float:
        """Macro F1 of the adapter as it stands, in the middle of its training, which goes on as if nothing had been asked."""
        thinker.model.eval()
        rows = self._answers(thinker, encoder, config, self._progress("development clips"))
        thinker.model.train()
        if self.rank == 0:
            self.job.progress_file(self.unit).unlink(missing_ok=True)  # what follows is told by the history again
        return scores(
            gold=[row["gold"] for row in rows], predicted=[row["prediction"] for row in rows], labels=LABELS[config.task]
        ).macro_f1

    def _answers(self, thinker: Thinker, encoder: Encoder, config: RunConfig, report: Callable[[int, int], None]) -> list[dict[str, Any]]:
        """Predictions on the split that the run is evaluated on, in corpus order; every rank answers its part and gets all."""
        import torch.distributed as dist

        from omnimer_ray.training.evaluation import evaluate

        asked = [clip for clip in self.clips if clip.split == evaluated_split(config)]
        mine = evaluate(thinker, encoder, asked[self.rank :: self.workers], config, self.job.profile.evaluation_batch, report)
        gathered: list[list[dict[str, Any]]] = [[] for _ in range(self.workers)]
        dist.all_gather_object(gathered, mine)
        order = {clip.id: place for place, clip in enumerate(asked)}
        return sorted((row for part in gathered for row in part), key=lambda row: order[row["clip"]])

    def _evaluate(self, thinker: Thinker, encoder: Encoder, run: Run) -> None:
        import polars as pl

        began = time.monotonic()
        thinker.model.eval()
        rows = self._answers(thinker, encoder, run.config, self._progress("clips"))
        if self.rank:
            return
        folder = self.job.folder / "runs" / run.signature
        write_json(folder / "config.json", run.config.model_dump(mode="json"))
        write_table(folder / "predictions.parquet", pl.DataFrame(rows, schema=predictions_schema()))
        self.spent |= {"answers": len(rows), "evaluation_sec": time.monotonic() - began}
        self._write_cost(folder)
        write_record(folder, self._run_record(run))
        self._progress("clips")(len(rows), len(rows))

    def _write_cost(self, folder: Path) -> None:
        """What this attempt took, and those that failed before it; no part of any identity or score."""
        spent = {name: round(value, 2) for name, value in self.spent.items()}
        sec = round(time.time() - self.began, 1)
        about = {"sec": sec, "workers": self.workers, "pace": pace(self.job.profile), "attempts": list(self.tried), **_place()}
        write_json(folder / "cost.json", {**about, **spent})

    def _progress(self, what: str) -> Callable[[int, int], None]:
        """Writes how far the unit is, for the driver to read; plain files, since a cluster shares the folder and nothing else."""

        def report(done: int, total: int) -> None:
            if self.rank == 0:
                write_json(self.job.progress_file(self.unit), {"done": done, "total": total, "what": what})

        return report

    def _stage_record(self, stage: Stage, schedule: Schedule, matched: str, used: str | None) -> dict[str, Any]:
        return {
            "key": stage.key,
            "outcome": "done",
            "kinds": list(stage.kinds),
            "predecessor": stage.predecessor,
            "config": stage.config.model_dump(mode="json"),
            "num_items": {kind: len(items) for kind, items in schedule.items.items()},
            "num_steps": schedule.num_steps,
            "matched": matched,
            "ledger_hash": used,
            "prompts": prompts_hash(stage.kinds, Style.of(stage.config)),
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
            "validation_opened": "once, to report" if evaluated_split(config) == "validation" else "none",
            "prompts": prompts_hash([config.task], Style.of(config)),
            **self._seen(),
        }

    def _seen(self) -> dict[str, Any]:
        """What was seen while computing; no part of any identity."""
        import torch

        return {
            "recipe_version": RECIPE_VERSION,
            "workers": self.workers,
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
            "threads": torch.get_num_threads(),
            "attention": "sdpa",
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            **peak_memory(),
        }


def _place() -> dict[str, str]:
    """Where rank 0 was: the machine, and Ray's node on it."""
    import ray

    return {"host": platform.node(), "node": ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""}


def peak_memory() -> dict[str, float | None]:
    """Return the peak memory of this process in GiB, of the host and of the device (None without a card); older records have the host's as `peak_memory_gib`."""
    import resource

    import torch

    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    card = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
    return {"peak_host_memory_gib": round(host, 2), "peak_device_memory_gib": None if card is None else round(card, 2)}


def _device() -> Any:
    import ray.train.torch
    import torch

    return ray.train.torch.get_device() if torch.cuda.is_available() else torch.device("cpu")


def _barrier() -> None:
    import torch.distributed as dist

    dist.barrier()
