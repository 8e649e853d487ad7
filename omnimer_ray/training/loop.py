"""The training loop: train a stage's items with DeepSpeed; resuming from a checkpoint is bit-equal.

All parameters with requires_grad are trained. Shapes: B items in a micro-batch, L tokens, A answer tokens, D width, V vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, assert_never

import torch
import torch.distributed as dist
import torch.nn.functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from omnimer_ray.config import LossAverage, OptimizerConfig
from omnimer_ray.errors import DivergedError
from omnimer_ray.model.inputs import IGNORED
from omnimer_ray.model.lora import trainable
from omnimer_ray.records import read_history, write_atomically
from omnimer_ray.training import checkpoints
from omnimer_ray.training.feed import Feed
from omnimer_ray.training.placement import Placement
from omnimer_ray.training.schedule import Item, Schedule, micro_batches


class AnswerLoss(torch.nn.Module):
    """Token negative log-likelihood of the answers (paper eq. 7); only answer positions are projected onto the vocabulary."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        """Return the summed loss of each item, (B,) float32; `targets` (B, L) come from `inputs.labels`."""
        thinker = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        hidden = thinker.model(**inputs, use_cache=False).last_hidden_state  # (B, L, D)
        answered = targets[:, 1:] != IGNORED  # (B, L-1)
        logits = thinker.lm_head(hidden[:, :-1][answered]).float()  # (A, V)
        losses = F.cross_entropy(logits, targets[:, 1:][answered], reduction="none")  # (A,)
        rows = answered.nonzero()[:, 0]
        return torch.zeros(len(targets), device=losses.device).index_add(0, rows, losses)


class StepReport(NamedTuple):
    """Entry of one optimizer step in a stage's history; older histories have no `grad_norm`."""

    step: int  # steps taken so far
    num_steps: int
    loss: float  # over the global batch, averaged as configured
    learning_rate: float
    sec: float  # duration of the step
    grad_norm: float  # L2 norm of the whole gradient, before clipping


class StepResult(NamedTuple):
    """Loss and gradient norm of one optimizer step, equal on all ranks."""

    loss: float  # over the global batch, averaged as configured
    grad_norm: float  # L2 norm of the whole gradient, before clipping; inf if it is not finite


def learning_rate(settings: OptimizerConfig, step: int, num_steps: int) -> float:
    """Learning rate of step `step` (from 0): linear warm-up, then a cosine decay to zero at the end of the curve's `num_steps`."""
    warmup = round(settings.warmup_fraction * num_steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def init_single_process_group(backend: str = "gloo") -> None:
    """Initialise a single-process group if none is initialised."""
    if not dist.is_initialized():
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]


def leave_single_process_group() -> None:
    """Destroy the group, and what DeepSpeed remembers of it: an engine on a new group would use groups that are gone."""
    if "deepspeed" in sys.modules and sys.modules["deepspeed"].comm.is_initialized():
        sys.modules["deepspeed"].comm.destroy_process_group()


def start_engine(loss: Any, settings: OptimizerConfig, schedule: Schedule, placement: Placement) -> Any:
    """Return a DeepSpeed engine around a module that returns the loss of each item, of its `model`; the process group must be initialised.

    DeepSpeed's bf16 mode is off: the adapter, its gradients and their sums are fp32 for every precision of the frozen base.
    """
    import deepspeed

    workers = dist.get_world_size()
    os.environ.setdefault("LOCAL_RANK", "0")  # normally set by a launcher; DeepSpeed requires it
    if shutil.which("ninja") is None:  # torch builds DeepSpeed's op with ninja, and this interpreter's environment may not be activated
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    deepspeed.init_distributed(dist_backend=dist.get_backend(), auto_mpi_discovery=False, verbose=False)
    if placement.recompute is not None:
        loss.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    parameters = list(trainable(loss.model).values())
    count = sum(parameter.numel() for parameter in parameters)
    optimizer = torch.optim.AdamW(
        parameters,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
    )
    config = {
        "train_batch_size": schedule.global_batch,
        "train_micro_batch_size_per_gpu": placement.micro_batch,
        "gradient_accumulation_steps": schedule.global_batch // (placement.micro_batch * workers),
        "gradient_clipping": settings.max_grad_norm,
        # Buckets of the adapter's size: DeepSpeed's defaults take 1.9 GiB of GPU memory. The allgather bucket size must be even.
        "zero_optimization": {
            "stage": placement.zero_stage,
            "overlap_comm": False,
            "reduce_bucket_size": count,
            "allgather_bucket_size": count + count % 2,
        },
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }
    engine, *_ = deepspeed.initialize(
        model=loss,
        model_parameters=parameters,
        optimizer=optimizer,
        config=config,
        dist_init_required=False,
    )
    return engine


def stop_engine(engine: Any) -> None:
    """Destroy an engine, whose parameters another engine may then train.

    DeepSpeed destroys it again when Python collects it. That would cut its parameters off from the later engine, which reads them as zeros,
    so it forgets them here.
    """
    engine.destroy()
    for parameters in engine.optimizer.bit16_groups:
        parameters.clear()


def train(
    engine: Any,
    feed: Feed,
    schedule: Schedule,
    settings: OptimizerConfig,
    loss_average: LossAverage,
    placement: Placement,
    folder: Path,
    identity: str,
    report: Callable[[StepReport], None],
    should_stop: Callable[[int], bool],
    beat: Callable[[], None] = lambda: None,
    carried: checkpoints.Carried | None = None,
) -> bool:
    """Train a stage from its last checkpoint in `folder`; return True at the end of the stage, False if `should_stop` ended it early.

    Without a checkpoint it starts with a new optimizer state, or with the one that is carried over from the stage before.
    Every rank runs every line, calls `beat` after every micro-batch and `should_stop` after every step. Raises DivergedError on all
    ranks if a loss, a gradient or a trained parameter is not finite, because DeepSpeed skips such a step without an error.
    """
    step = checkpoints.load(engine, folder, identity, placement.device, carried)
    _cut_history(folder, step)
    engine.train()
    for step_items in schedule.from_step(step):  # one entry = one optimizer step: all its blocks
        began = time.monotonic()
        torch.manual_seed(seed_of_step(identity, step, dist.get_rank()))
        rate = learning_rate(settings, schedule.first_step + step, schedule.all_steps or schedule.num_steps)
        loss, grad_norm = train_step(engine, feed, step_items, loss_average, placement, rate, beat)
        step += 1
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise DivergedError(_divergence_message(step, loss, grad_norm, step_items))
        stop = _any(should_stop(step), placement.device)
        if dist.get_rank() == 0:
            entry = StepReport(step, schedule.num_steps, loss, rate, round(time.monotonic() - began, 3), grad_norm)
            with (folder / "history.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry._asdict()) + "\n")
            report(entry)
        if stop or step % placement.checkpoint_every == 0:  # after the history is written: resuming truncates it at the checkpoint
            checkpoints.save(engine, folder, identity, step)
        if stop and step < schedule.num_steps:
            return False
    return True


def train_step(
    engine: Any,
    feed: Feed,
    step_items: Sequence[tuple[Item, ...]],
    loss_average: LossAverage,
    placement: Placement,
    rate: float,
    beat: Callable[[], None] = lambda: None,
) -> StepResult:
    """Take one optimizer step over the global batch; the loss is averaged by items or by answer tokens as configured."""
    for group in engine.optimizer.param_groups:
        group["lr"] = rate
    rank, workers = dist.get_rank(), dist.get_world_size()
    total = _total_weight(loss_average, feed, [item for block in step_items for item in block])
    loss_sum = torch.zeros((), device=placement.device)
    for block in step_items:
        for items in micro_batches(block, placement.micro_batch, rank, workers):
            batch = feed.batch(items)
            if batch.recompute is not None:
                set_recompute(engine, batch.recompute)
            losses = engine(batch.inputs, batch.targets)  # (B,)
            weights = torch.tensor([item.weight for item in items], device=losses.device)
            loss = _averaged(loss_average, losses * weights, batch.num_tokens).sum() / total
            # DeepSpeed averages over accumulation steps and workers. Undo both, because `loss` is a share of the sum over the global batch.
            engine.backward(loss * engine.gradient_accumulation_steps() * workers)
            engine.step()
            loss_sum += loss.detach()
            beat()
    dist.all_reduce(loss_sum)
    return StepResult(float(loss_sum), math.inf if engine.optimizer.overflow else float(engine.get_global_grad_norm()))


def set_recompute(model: torch.nn.Module, on: bool) -> None:
    """Whether the layers compute their activations again in the backward pass; the gradient is the same."""
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.gradient_checkpointing = on


def seed_of_step(identity: str, step: int, rank: int) -> int:
    """Seed of dropout in a step of a stage: a resumed stage draws what it would have drawn."""
    return int.from_bytes(hashlib.sha256(f"{identity}|{step}|{rank}".encode()).digest()[:8], "big") >> 1


def _averaged(loss_average: LossAverage, losses: torch.Tensor, num_tokens: torch.Tensor) -> torch.Tensor:
    """Return the share of each item in the sum over the global batch, (B,); `losses` (B,) are sums over the `num_tokens` (B,) of an answer."""
    match loss_average:
        case "items":
            return losses / num_tokens
        case "tokens":
            return losses
        case unknown:
            assert_never(unknown)


def _total_weight(loss_average: LossAverage, feed: Feed, items: Sequence[Item]) -> float:
    """Return the denominator of the loss average over the global batch."""
    match loss_average:
        case "items":
            return sum(item.weight for item in items)
        case "tokens":
            return sum(item.weight * feed.num_tokens(item) for item in items)
        case unknown:
            assert_never(unknown)


def _any(flag: bool, device: str) -> bool:
    """Return whether `flag` is set on any rank, because all ranks must stop after the same step."""
    value = torch.tensor(float(flag), device=device)
    dist.all_reduce(value)
    return bool(value > 0)


def _divergence_message(step: int, loss: float, grad_norm: float, step_items: Sequence[tuple[Item, ...]]) -> str:
    """Message for a step whose loss or gradient is not finite."""
    fault = f"the loss of step {step} is {loss}"
    if math.isfinite(loss):
        fault = f"the gradient norm of step {step} is {grad_norm} (loss {loss:.6g})"
    names = sorted({item.clip for block in step_items for item in block})
    return f"{fault}; its clips: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}; try a smaller optimizer.learning_rate"


def _cut_history(folder: Path, step: int) -> None:
    """Delete history entries after the checkpoint, so that a resumed stage logs each step once."""
    path = folder / "history.jsonl"
    if dist.get_rank() or not path.exists():
        return
    kept = "".join(json.dumps(entry) + "\n" for entry in read_history(folder) if entry["step"] <= step)
    write_atomically(path, lambda temporary: temporary.write_text(kept, encoding="utf-8"))
