"""Workers of the Thinker: build supervision, train a stage, evaluate a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnimer_ray.config import Kind, ThinkerConfig, of_thinker, stage_kinds
from omnimer_ray.corpora.clips import LABELS, Clip
from omnimer_ray.doctor.host import available_gib
from omnimer_ray.execution.evaluator import Evaluator
from omnimer_ray.execution.handout import read_clips
from omnimer_ray.execution.unit_records import run_record, stage_record
from omnimer_ray.execution.unit_worker import UnitWorker, barrier
from omnimer_ray.inference.model import about_adapter
from omnimer_ray.machine.memory import GIB, recompute_rule
from omnimer_ray.machine.profile import MachineProfile
from omnimer_ray.metrics import scores
from omnimer_ray.model.dimensions import is_vision_frozen
from omnimer_ray.planning.items import ledger_hash, make_schedule, on_one_cosine, unit_clips
from omnimer_ray.planning.pruning import PRUNED, Judge
from omnimer_ray.planning.units import LedgerUnit, Run, RunUnit, Stage, StageUnit
from omnimer_ray.records import INFERENCE, read_record, write_json, write_record
from omnimer_ray.tasks.supervision import build, missing
from omnimer_ray.training.ranks import broadcast_from_rank_0
from omnimer_ray.training.schedule import Schedule, fitting

if TYPE_CHECKING:
    from omnimer_ray.model.inputs import Encoder
    from omnimer_ray.model.thinker import Thinker
    from omnimer_ray.training.checkpoints import Carried
    from omnimer_ray.training.loop import StepReport


class ThinkerWorker(UnitWorker):
    """A worker of one unit of the Thinker, with its base."""

    judge: Judge | None = None

    @property
    def config(self) -> ThinkerConfig:
        """Of the unit."""
        return of_thinker(self.unit.config)

    def execute(self) -> dict[str, Any]:
        """Do the unit's work; returns its outcome."""
        match self.unit:
            case LedgerUnit():
                return self.supervise(self.unit)
            case StageUnit():
                return self.train_and_evaluate(self.unit.stage, None)
            case RunUnit():
                return self.train_and_evaluate(self.unit.stage, self.unit.run)
            case _:
                raise AssertionError(f"{self.unit.id} is no unit of the Thinker")

    def supervise(self, unit: LedgerUnit) -> dict[str, Any]:
        """Build a shard of one instruction's part of the ledger: each worker answers its share into a file of its own."""
        kind, ledger = unit.part.kind, self.job.ledgers / unit.part.key
        clips = unit_clips(unit, self.clips)
        todo = broadcast_from_rank_0(lambda: missing(ledger, kind, clips))
        if todo:
            self._answer_auxiliary(kind, todo, ledger / f"{kind}.{unit.shard}.{self.rank}.jsonl")
        barrier()
        return {"outcome": broadcast_from_rank_0(lambda: "stopped" if missing(ledger, kind, clips) else "done")}

    def _answer_auxiliary(self, kind: Kind, todo: Sequence[Clip], path: Path) -> None:
        """Generate the answers of this rank's share of `todo`."""
        from omnimer_ray.training.evaluation import auxiliary_answerer

        answer = auxiliary_answerer(*self._load(), kind, self.config.supervision)
        batch, report = self.job.profile.evaluation_batch, self.progress("answers")
        build(answer, todo[self.rank :: self.num_workers], kind, self.config, batch, path, report, self.job.stop_file.exists)

    def train_and_evaluate(self, stage: Stage | None, run: Run | None) -> dict[str, Any]:
        """Train the stage unless it is recorded, then evaluate the run; write the records of both."""
        thinker, encoder = self._load()
        if stage is not None:
            thinker, finished = self._trained(thinker, encoder, stage)
            if self.judge is not None and self.judge.pruned:
                return self._prune(self.judge)
            if not finished:
                return {"outcome": "stopped"}
        if run is not None:
            self._evaluate(thinker, encoder, run)
        return {"outcome": "done"}

    def _load(self) -> tuple[Thinker, Encoder]:
        from omnimer_ray.model.inputs import Encoder
        from omnimer_ray.model.thinker import load_thinker

        thinker = load_thinker(self.job.base, self.config.base.precision, self.device)
        encoder = Encoder(thinker.processor, self.config, self.job.cache, int(self.job.profile.cache_gib * 2**30))
        if self.job.keeps_outputs and is_vision_frozen(self.config.lora):
            self._use_kept_outputs(thinker, encoder)
        self.started()
        return thinker, encoder

    def _use_kept_outputs(self, thinker: Thinker, encoder: Encoder) -> None:
        """Let the vision tower see each clip that it has not seen yet, each rank its share; then the tower is not needed any more."""
        from omnimer_ray.features.vision_outputs import VisionOutputs, use

        outputs, write = VisionOutputs(self.job.feature_store, self.config, self.job.cache), self.progress("clips seen by the vision tower")

        def report(done: int, total: int) -> None:
            self.beat()
            write(done, total)

        others = [read_clips(self.job.other_file(other.fingerprint)) for other in self.config.evaluation.also]
        clips = [clip for part in (self.clips, *others) for clip in part]
        outputs.fill_from(thinker, encoder, clips[self.rank :: self.num_workers], report)
        self.show_history()
        barrier()
        use(outputs, thinker, encoder)

    def _trained(self, thinker: Thinker, encoder: Encoder, stage: Stage) -> tuple[Thinker, bool]:
        """Return the base with the stage's adapter, trained now or loaded if it is recorded, and whether the training finished."""
        from omnimer_ray.model import adapters
        from omnimer_ray.model.lora import place_lora
        from omnimer_ray.training import checkpoints

        folder = self.job.folder / "stages" / stage.key
        model, matched = place_lora(thinker.model, self.config.lora, self.config.seed)
        thinker = thinker._replace(model=model)
        if broadcast_from_rank_0(lambda: read_record(folder) is not None):
            adapters.load(model, folder)
            return thinker, True
        if stage.predecessor is not None:
            adapters.load(model, self.job.folder / "stages" / stage.predecessor)
        if self.rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
        schedule = make_schedule(stage, self.clips, self.job.ledgers)
        if self.config.optimizer.one_cosine:
            schedule = on_one_cosine(stage, schedule, self.clips, self.job.ledgers)
        ledger = ledger_hash(stage, self.clips, self.job.ledgers)
        identity = stage.key if ledger is None else f"{stage.key} with ledger {ledger}"
        tensors = self._train(thinker, encoder, stage, schedule, folder, identity)
        if tensors is None:
            return thinker, False
        if self.rank == 0:
            adapters.save(model, tensors, folder, self.job.base)
            write_json(folder / INFERENCE, about_adapter(self.config, stage.kinds))
            self.write_cost(folder)
            write_record(folder, stage_record(stage, schedule, str(matched), ledger, self.num_workers))
            checkpoints.delete(folder)
        barrier()
        adapters.load(model, folder)
        return thinker, True

    def _train(
        self, thinker: Thinker, encoder: Encoder, stage: Stage, schedule: Schedule, folder: Path, identity: str
    ) -> dict[str, Any] | None:
        from omnimer_ray.training import checkpoints
        from omnimer_ray.training.feed import PromptFeed
        from omnimer_ray.training.loop import AnswerLoss, start_engine, stop_engine, train
        from omnimer_ray.training.placement import Placement

        profile, config = self.job.profile, self.config
        micro_batch = fitting(profile.micro_batch, config.block, self.num_workers)
        off_card = ("vision",) if encoder.reads_outputs else ()
        recompute = recompute_rule(profile, _memory_gib(profile), self.job.base.shape, config, off_card)
        placement = Placement(micro_batch, profile.zero_stage, recompute, profile.checkpoint_every, str(self.device))
        engine = start_engine(AnswerLoss(thinker.model), config.optimizer, schedule, placement)
        clips = {clip.id: clip for clip in self.clips}
        if self.job.pruning is not None and isinstance(self.unit, RunUnit):  # the run's last stage, which has main items
            score = partial(self._development_f1, thinker, encoder, self.config)
            self.judge = Judge(self.job.pruning, self.job.folder, self.unit.run, schedule.num_steps, score)
            if self.judge.pruned:
                return None  # it was killed between the decision and the record
        self.started()

        def add_timings(step: StepReport) -> None:
            self.timings["items"] += schedule.global_batch
            self.timings["training_sec"] += step.sec

        finished = train(
            engine,
            PromptFeed(encoder, clips, placement),
            schedule,
            config.optimizer,
            config.loss_average,
            placement,
            folder,
            identity,
            add_timings,
            self.should_stop,
            self.beat,
            self._carried(stage),
        )
        tensors = checkpoints.parameters(engine) if finished else None
        if finished and config.optimizer.carry_over and stage.position + 1 < len(stage_kinds(config)):
            checkpoints.save_carried(engine, folder)
        stop_engine(engine)
        return tensors

    def _carried(self, stage: Stage) -> Carried | None:
        """The optimizer state that the stage starts from, if it is carried over."""
        from omnimer_ray.training.checkpoints import CARRIED, Carried

        if not self.config.optimizer.carry_over or stage.predecessor is None:
            return None
        before = self.job.folder / "stages" / stage.predecessor
        return Carried(before / CARRIED, (read_record(before) or {})["num_steps"])

    def should_stop(self, step: int) -> bool:
        """Whether the sweep is being stopped, or the trial was pruned."""
        pruned = self.judge is not None and self.judge(step)
        return pruned or super().should_stop(step)

    def _prune(self, judge: Judge) -> dict[str, Any]:
        """Write the record of a pruned trial and delete its checkpoints."""
        from omnimer_ray.training import checkpoints

        run, verdict = judge.run, judge.pruned
        assert verdict is not None
        if self.rank == 0:
            record = run_record(run, self.job.folder, self.num_workers)
            steps = record["num_steps"] + judge.step_of(verdict)
            folder = self.job.folder / "runs" / run.signature
            write_json(folder / "config.json", run.config.model_dump(mode="json"))
            write_record(folder, {**record, "outcome": PRUNED, "reason": verdict.reason, "num_steps": steps})
            checkpoints.delete(self.job.folder / "stages" / run.stages[-1].key)
        return {"outcome": PRUNED, "reason": verdict.reason}

    def _development_f1(self, thinker: Thinker, encoder: Encoder, config: ThinkerConfig) -> float:
        """Return the macro F1 of the adapter in its present state; the training continues unchanged."""
        thinker.model.eval()
        rows = self._evaluator(thinker, encoder, config).predictions("development clips")
        thinker.model.train()
        self.show_history()
        return scores(
            gold=[row["gold"] for row in rows], predicted=[row["prediction"] for row in rows], labels=LABELS[config.task]
        ).macro_f1

    def _evaluator(self, thinker: Thinker, encoder: Encoder, config: ThinkerConfig) -> Evaluator:
        batch = self.job.profile.evaluation_batch
        return Evaluator(thinker, encoder, config, self.clips, batch, self.rank, self.num_workers, self.progress)

    def _evaluate(self, thinker: Thinker, encoder: Encoder, run: Run) -> None:
        began = time.monotonic()
        thinker.model.eval()
        evaluator = self._evaluator(thinker, encoder, self.config)
        rows = evaluator.predictions("clips", self.config.evaluation.auxiliaries)
        for other in self.config.evaluation.also:
            answered = evaluator.answers(read_clips(self.job.other_file(other.fingerprint)), f"clips of {other.name}")
            rows += [{**row, "evaluation_corpus": other.name} for row in answered]
        checks = evaluator.check_inputs()
        if self.rank == 0:
            self.write_run(run, rows, began, {"checks": checks})


def _memory_gib(profile: MachineProfile) -> float:
    """This worker's memory, of its card or of the machine."""
    import torch

    return min(1.0, profile.gpus_per_worker) * torch.cuda.mem_get_info()[1] / GIB if torch.cuda.is_available() else available_gib()
