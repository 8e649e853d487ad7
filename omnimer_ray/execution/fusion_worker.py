"""Workers of networks on features: train one, or fit a probe or an ensemble, and evaluate runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from omnimer_ray.config import Modality, RunConfig
from omnimer_ray.corpora.clips import LABELS, Clip
from omnimer_ray.corpora.select import evaluated_split, seen_modalities
from omnimer_ray.execution.unit_records import fusion_record
from omnimer_ray.execution.unit_worker import UnitWorker, barrier
from omnimer_ray.features.store import FeatureStore
from omnimer_ray.fusion_config import FusionConfig, Linear, Mmef
from omnimer_ray.metrics import scores
from omnimer_ray.planning.fusion_items import fusion_schedule, labelled, with_choice
from omnimer_ray.planning.units import Run, RunUnit, Stage, StageUnit
from omnimer_ray.records import prediction_row, read_history, read_record, write_json, write_record
from omnimer_ray.training.ranks import broadcast_from_rank_0

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from omnimer_ray.fusion.choice import Choice
    from omnimer_ray.fusion.reader import Reader
    from omnimer_ray.training.loop import StepReport
    from omnimer_ray.training.schedule import Schedule


class FusionWorker(UnitWorker):
    """A worker of one stage or run of fusion."""

    def execute(self) -> dict[str, Any]:
        """Do the unit's work; returns its outcome."""
        match self.unit:
            case StageUnit() | RunUnit():
                assert self.unit.stage is not None
                if not self._trained(self.unit.stage):
                    return {"outcome": "stopped"}
                if isinstance(self.unit, RunUnit):
                    self._evaluate(self.unit.run)
                return {"outcome": "done"}
            case _:
                raise AssertionError(f"{self.unit.id} is no stage or run of fusion")

    def _stores(self, config: FusionConfig) -> dict[Modality, FeatureStore]:
        return {name: FeatureStore(self.job.feature_store, feature, self.job.cache) for name, feature in config.features.items()}

    def _trained(self, stage: Stage) -> bool:
        """Train the stage unless it is recorded; whether it is finished."""
        folder = self.job.folder / "stages" / stage.key
        if broadcast_from_rank_0(lambda: read_record(folder) is not None):
            return True
        if self.rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
        barrier()
        config = stage.config
        assert isinstance(config, FusionConfig)
        if stage.predecessor is not None:
            self._fit_ensemble(stage, config, folder)
            return True
        if isinstance(config.network, Linear):
            self._fit(stage, config, folder)
            return True
        return self._train(stage, config, folder)

    def _fit(self, stage: Stage, config: FusionConfig, folder: Path) -> None:
        from omnimer_ray.fusion import linear

        self.started()
        began, training = time.monotonic(), labelled(config, self.clips)
        if self.rank == 0:
            values, _ = linear.summaries(self._stores(config), training)
            labels = self._refined(config, training, folder)
            golds = [labels.get(clip.id, str(clip.label(config.task))) for clip in training]
            fitted = linear.fit(config, values, golds, [clip.source_video for clip in training])
            linear.save(fitted, folder)
            self.timings |= {"training_sec": time.monotonic() - began, "items": len(training)}
            self.write_cost(folder)
            about = f"{values.shape[1]} values of a clip, C {fitted.strength:g}"
            write_record(folder, fusion_record(stage, len(training), len(training), 0, about, self.num_workers))
        barrier()

    def _refined(self, config: FusionConfig, training: Sequence[Clip], folder: Path) -> dict[str, str]:
        """Refined labels by clip, and labels.json with every vote; empty without refinement."""
        from omnimer_ray.fusion.refinement import refined

        if not config.refine_labels:
            return {}
        found = refined(config, self._stores(config), training)
        if self.rank == 0:
            write_json(folder / "labels.json", [{**one._asdict(), "flagged": one.is_flagged} for one in found])
        return {one.clip: one.label for one in found}

    def _fit_ensemble(self, stage: Stage, config: FusionConfig, folder: Path) -> None:
        """Fit the ensemble to the fused features of the training clips, by the network of the stage before."""
        from omnimer_ray.fusion import ensemble

        self.started()
        began, training = time.monotonic(), labelled(config, self.clips)
        if self.rank == 0:
            labels = self._refined(config, training, folder)
            golds = [labels.get(clip.id, str(clip.label(config.task))) for clip in training]
            fitted = ensemble.fit(config, self._fused(stage, config, training, [config.modalities] * len(training)), golds)
            ensemble.save(fitted, folder)
            self.timings |= {"training_sec": time.monotonic() - began, "items": len(training)}
            self.write_cost(folder)
            about = f"{len(fitted.machines)} support vector machines on {len(fitted.selected)} of {len(fitted.low)} fused features"
            write_record(folder, fusion_record(stage, len(training), 0, 0, about, self.num_workers))
        barrier()

    def _fused(self, stage: Stage, config: FusionConfig, clips: Sequence[Clip], seen: Sequence[Sequence[Modality]]) -> NDArray[Any]:
        """Fused features by the network that an ensemble continues."""
        from omnimer_ray.fusion import network
        from omnimer_ray.fusion.mmef import MmefNetwork
        from omnimer_ray.fusion.reader import Reader

        reader = Reader(self._stores(config), config.max_steps)
        model = network.load(config, reader, self.job.folder / "stages" / str(stage.predecessor)).to(self.device)
        assert isinstance(model, MmefNetwork)
        return network.representations(model, reader, clips, seen, self.job.profile.evaluation_batch, str(self.device))

    def _train(self, stage: Stage, config: FusionConfig, folder: Path) -> bool:
        from omnimer_ray.fusion import network
        from omnimer_ray.fusion.reader import Reader
        from omnimer_ray.model.lora import trainable
        from omnimer_ray.training import checkpoints
        from omnimer_ray.training.loop import start_engine, stop_engine, train
        from omnimer_ray.training.placement import Placement

        clips = with_choice(config, self.clips)
        training = labelled(config, clips)
        schedule = fusion_schedule(config, clips, self._refined(config, training, folder))
        reader = Reader(self._stores(config), config.max_steps, config.standardise)
        reader.fit(training)
        model = network.build(config, reader.widths).to(self.device)
        placement = Placement(
            config.global_batch, self.job.profile.zero_stage, checkpoint_every=self.job.profile.checkpoint_every, device=str(self.device)
        )
        engine = start_engine(network.LabelLoss(model), config.optimizer, schedule, placement)
        feed = network.FeatureFeed(reader, {clip.id: clip for clip in clips}, config, str(self.device))
        choice = self._choice(config, model, engine, reader, clips, schedule, folder)
        self.started()
        self.show_history()

        def add_timings(step: StepReport) -> None:
            self.timings["items"] += schedule.global_batch
            self.timings["training_sec"] += step.sec

        def should_stop(step: int) -> bool:
            return (choice is not None and choice(step)) or self.should_stop(step)

        finished = train(
            engine, feed, schedule, config.optimizer, "items", placement, folder, stage.key, add_timings, should_stop, self.beat
        )
        steps = len(read_history(folder))
        if finished or (choice is not None and choice.is_over(steps)):
            best = choice.best() if choice else None
            network.save(choice.take() if choice and best else checkpoints.parameters(engine), reader, folder)
            number = sum(parameter.numel() for parameter in trainable(model).values())
            self.write_cost(folder)
            about = f"{config.network.name}: {number:,} parameters" + (f", of epoch {best['epoch']}" if best else "")
            items = len(schedule.items[config.task])
            write_record(folder, fusion_record(stage, items, steps * schedule.global_batch, steps, about, self.num_workers))
            checkpoints.delete(folder)
            finished = True
        stop_engine(engine)
        return finished

    def _choice(
        self, config: FusionConfig, model: Any, engine: Any, reader: Reader, clips: Sequence[Clip], schedule: Schedule, folder: Path
    ) -> Choice | None:
        """What chooses the epoch; None if the last one counts."""
        from omnimer_ray.fusion import network
        from omnimer_ray.fusion.choice import Choice
        from omnimer_ray.training import checkpoints

        if config.choose == "last":
            return None
        split = "development" if config.choose == "development" else evaluated_split(config)
        held_out = [clip for clip in clips if clip.split == split and clip.label(config.task) is not None]
        seen, labels = [list(config.modalities)] * len(held_out), LABELS[config.task]

        def score() -> float:
            found = network.probabilities(model, reader, held_out, seen, self.job.profile.evaluation_batch, str(self.device))
            model.train()
            predictions = [labels[row.index(max(row))] for row in found]
            return scores(gold=[str(clip.label(config.task)) for clip in held_out], predicted=predictions, labels=labels).macro_f1

        return Choice(folder, schedule.num_items, schedule.global_batch, config.patience, score, lambda: checkpoints.parameters(engine))

    def _evaluate(self, run: Run) -> None:
        """Answer the clips with the mean of the probabilities of the run's stages; one that sees nothing of a clip is left out."""
        began, config = time.monotonic(), run.config
        split = evaluated_split(config)
        clips = [clip for clip in self.clips if clip.split == split and clip.label(config.task) is not None]
        if self.rank == 0:
            continued = {stage.predecessor for stage in run.stages}
            members = [stage for stage in run.stages if stage.key not in continued]
            modalities = sorted(
                {name for member in members if isinstance(member.config, FusionConfig) for name in member.config.modalities}
            )
            seen = [seen_modalities(clip, modalities, config.observed) for clip in clips]
            answers = [self._probabilities(stage, clips, seen) for stage in members]
            rows = []
            for clip, given in zip(clips, zip(*answers, strict=True), strict=True):
                there = [one for one in given if one is not None]
                rows.append(_row(config, clip, [fmean(shares) for shares in zip(*there, strict=True)]))
            opened = {"validation_opened": OPTIMISTIC} if any(_chooses_on_reported(stage) for stage in run.stages) else {}
            self.write_run(run, rows, began, {"checks": {}, **opened, **self._saliency(members, clips)})
        barrier()

    def _saliency(self, members: Sequence[Stage], clips: Sequence[Clip]) -> dict[str, Any]:
        """Share of each modality in MMEF-Net's answers, for the record; empty for any other run."""
        from omnimer_ray.fusion import network
        from omnimer_ray.fusion.reader import Reader

        stage, config = members[0], members[0].config
        if len(members) > 1 or not isinstance(config, FusionConfig) or not isinstance(config.network, Mmef):
            return {}
        reader = Reader(self._stores(config), config.max_steps)
        folder = self.job.folder / "stages" / (stage.predecessor or stage.key)
        model = network.load(config, reader, folder).to(self.device)
        return {"saliency": network.saliency(model, reader, clips, self.job.profile.evaluation_batch, str(self.device))}

    def _probabilities(self, stage: Stage, clips: Sequence[Clip], seen: Sequence[Sequence[Modality]]) -> list[list[float] | None]:
        """Of every label for each clip; None for a clip of which nothing that the stage reads is `seen`."""
        from omnimer_ray.fusion import ensemble, linear, network
        from omnimer_ray.fusion.reader import Reader

        config, folder = stage.config, self.job.folder / "stages" / stage.key
        assert isinstance(config, FusionConfig)
        mine = [[name for name in shown if name in config.modalities] for shown in seen]
        chosen = [place for place, shown in enumerate(mine) if shown]
        some, shown_of = [clips[place] for place in chosen], [mine[place] for place in chosen]
        if stage.predecessor is not None:
            fused = self._fused(stage, config, some, shown_of)
            found = ensemble.load(folder).probabilities(fused, LABELS[config.task]).tolist()
        elif isinstance(config.network, Linear):
            import numpy as np

            values, owners = linear.summaries(self._stores(config), some)
            shown = np.array([[owner in one for owner in owners] for one in shown_of])
            found = linear.load(folder).probabilities(values, shown).tolist()
        else:
            reader = Reader(self._stores(config), config.max_steps)
            model = network.load(config, reader, folder).to(self.device)
            found = network.probabilities(model, reader, some, shown_of, self.job.profile.evaluation_batch, str(self.device))
        answers: list[list[float] | None] = [None] * len(clips)
        for place, one in zip(chosen, found, strict=True):
            answers[place] = one
        return answers


OPTIMISTIC = "after every epoch, to choose the best one: its scores are optimistic"


def _chooses_on_reported(stage: Stage) -> bool:
    return isinstance(stage.config, FusionConfig) and stage.config.choose == "held_out"


def _row(config: RunConfig, clip: Clip, probabilities: list[float]) -> dict[str, Any]:
    labels = LABELS[config.task]
    prediction = labels[probabilities.index(max(probabilities))]
    return prediction_row(
        evaluation_corpus=config.corpus.name,
        clip=clip.id,
        instruction=config.task,
        gold=clip.label(config.task),
        prediction=prediction,
        predicted_sentiment=prediction if config.task == "sentiment" else None,
        probabilities=probabilities,
    )
