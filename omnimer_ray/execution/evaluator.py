"""Answers of a unit's model: each rank answers its share of the clips, and receives all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from omnimer_ray.config import AUXILIARY_OF, ThinkerConfig
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.select import evaluated_split

if TYPE_CHECKING:
    from omnimer_ray.model.inputs import Encoder
    from omnimer_ray.model.thinker import Thinker


class Evaluator(NamedTuple):
    """A model with what it answers."""

    thinker: Thinker
    encoder: Encoder
    config: ThinkerConfig
    clips: Sequence[Clip]  # of the corpus
    batch: int
    rank: int
    num_workers: int
    progress: Callable[[str], Callable[[int, int], None]]  # by what is counted

    def predictions(self, what: str, auxiliaries: bool = False) -> list[dict[str, Any]]:
        """Return the predictions on the run's evaluation split in corpus order, those of the main task first."""
        return self.answers([clip for clip in self.clips if clip.split == evaluated_split(self.config)], what, auxiliaries)

    def answers(self, clips: Sequence[Clip], what: str, auxiliaries: bool = False) -> list[dict[str, Any]]:
        """Return the answers to the clips in their order."""
        import torch.distributed as dist

        from omnimer_ray.training.evaluation import evaluate, evaluate_auxiliaries

        own = clips[self.rank :: self.num_workers]
        rows = evaluate(self.thinker, self.encoder, own, self.config, self.batch, self.progress(what))
        if auxiliaries:
            rows += evaluate_auxiliaries(self.thinker, self.encoder, own, self.config, self.batch, self.progress("auxiliary answers"))
        gathered: list[list[dict[str, Any]]] = [[] for _ in range(self.num_workers)]
        dist.all_gather_object(gathered, rows)
        order = {clip.id: index for index, clip in enumerate(clips)}
        instructions = [self.config.task, *AUXILIARY_OF]
        return sorted(
            (row for part in gathered for row in part), key=lambda row: (instructions.index(row["instruction"]), order[row["clip"]])
        )

    def check_inputs(self) -> dict[str, float]:
        """How far the logits of an evaluated clip move without the adapter, without its sound and without its pictures."""
        from omnimer_ray.model.scoring import logit_changes

        config = self.config
        clip = next(clip for clip in self.clips if clip.split == evaluated_split(config) and clip.label(config.task) is not None)
        return logit_changes(self.thinker, self.encoder, self.encoder.encode(clip, config.task))
