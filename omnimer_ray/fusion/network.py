"""The fusion networks behind one form: features of a batch -> logits; loss of each item; artifact and initial values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from omnimer_ray.config import Modality
from omnimer_ray.corpora.clips import LABELS, Clip
from omnimer_ray.errors import ResultsError
from omnimer_ray.fusion.mfn import MfnNetwork
from omnimer_ray.fusion.misa import MisaNetwork
from omnimer_ray.fusion.mmef import MmefNetwork
from omnimer_ray.fusion.mult import MultNetwork
from omnimer_ray.fusion.reader import Reader, Standard
from omnimer_ray.fusion.sequences import Inputs, Sequences
from omnimer_ray.fusion.tfn import TfnNetwork
from omnimer_ray.fusion_config import FusionConfig, Mfn, Misa, Mmef, Mult, Tfn
from omnimer_ray.records import check_recorded, write_atomically
from omnimer_ray.training.feed import Batch
from omnimer_ray.training.schedule import Item

ARTIFACT = "network.safetensors"


def build(config: FusionConfig, widths: dict[Modality, int]) -> torch.nn.Module:
    """A network with initial values that depend on the seed alone."""
    labels = len(LABELS[config.task])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(hashlib.sha256(f"{config.seed}|initial".encode()).digest()[:8], "big") >> 1)
        match config.network:
            case Tfn():
                return TfnNetwork(config.network, widths, labels)
            case Mfn():
                return MfnNetwork(config.network, widths, labels)
            case Mult():
                return MultNetwork(config.network, widths, labels)
            case Misa():
                return MisaNetwork(config.network, widths, labels)
            case Mmef():
                return MmefNetwork(config.network, widths, labels)
            case _:
                raise AssertionError(f"{config.network.name} is not trained by steps")


class LabelLoss(torch.nn.Module):
    """Cross-entropy of each item, and a network's own loss of the batch shared out over its items."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Inputs, targets: torch.Tensor) -> torch.Tensor:
        """Return (B,); `targets` (B,) are places of labels."""
        losses = F.cross_entropy(self.model(inputs), targets, reduction="none")
        extra = getattr(self.model, "extra_loss", None)
        return losses if extra is None else losses + extra


class FeatureFeed(NamedTuple):
    """Items of a fusion network."""

    reader: Reader
    clips: Mapping[str, Clip]
    config: FusionConfig
    device: str

    def batch(self, items: Sequence[Item]) -> Batch:
        """Modalities are hidden by torch's generator, which the loop seeds before every step."""
        seen = [self._seen() for _ in items]
        inputs = {
            modality: Sequences(*(part.to(self.device) for part in sequences))
            for modality, sequences in self.reader.inputs([self.clips[item.clip] for item in items], seen).items()
        }
        targets = torch.tensor([LABELS[self.config.task].index(item.answer) for item in items], device=self.device)
        return Batch(inputs, targets, torch.ones_like(targets))

    def num_tokens(self, item: Item) -> int:
        """An item is one label."""
        return 1

    def _seen(self) -> list[Modality]:
        if not self.config.hide_rate:
            return list(self.config.modalities)
        shares = torch.rand(len(self.config.modalities)).tolist()
        kept = [name for name, share in zip(self.config.modalities, shares, strict=True) if share >= self.config.hide_rate]
        return kept or [self.config.modalities[shares.index(max(shares))]]


def probabilities(
    model: torch.nn.Module, reader: Reader, clips: Sequence[Clip], seen: Sequence[Sequence[Modality]], batch: int, device: str
) -> list[list[float]]:
    """The probability of every label for each clip, of what is `seen` of it."""
    model.eval()
    rows: list[list[float]] = []
    with torch.no_grad():
        for start in range(0, len(clips), batch):
            part = reader.inputs(clips[start : start + batch], seen[start : start + batch])
            inputs = {modality: Sequences(*(one.to(device) for one in sequences)) for modality, sequences in part.items()}
            rows += torch.softmax(model(inputs).double(), 1).tolist()
    return rows


def representations(
    model: MmefNetwork, reader: Reader, clips: Sequence[Clip], seen: Sequence[Sequence[Modality]], batch: int, device: str
) -> NDArray[np.float64]:
    """The fused features of each clip, (N, P)."""
    model.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(clips), batch):
            part = reader.inputs(clips[start : start + batch], seen[start : start + batch])
            inputs = {modality: Sequences(*(one.to(device) for one in sequences)) for modality, sequences in part.items()}
            parts.append(model.represent(inputs).double().cpu().numpy())
    return np.concatenate(parts)


def saliency(model: torch.nn.Module, reader: Reader, clips: Sequence[Clip], batch: int, device: str) -> dict[Modality, float]:
    """Share of each modality in what the likeliest logit owes to the standardised input: |gradient x input|, summed over clips."""
    model.eval()
    sums = dict.fromkeys(reader.stores, 0.0)
    for start in range(0, len(clips), batch):
        part = clips[start : start + batch]
        inputs = {
            modality: Sequences(values.to(device).requires_grad_(), lengths.to(device), present.to(device))
            for modality, (values, lengths, present) in reader.inputs(part, [list(reader.stores)] * len(part)).items()
        }
        gradients = torch.autograd.grad(model(inputs).max(1).values.sum(), [inputs[name].values for name in inputs])
        for name, gradient in zip(inputs, gradients, strict=True):
            sums[name] += float((gradient * inputs[name].values.detach()).abs().sum())
    return {name: value / (sum(sums.values()) or 1.0) for name, value in sums.items()}


def save(tensors: dict[str, torch.Tensor], reader: Reader, folder: Path) -> None:
    """Save trained parameters by name, with the standards of their inputs."""
    stored = {f"network.{name}": value for name, value in tensors.items()}
    for modality, standard in reader.standards.items():
        stored |= {f"mean.{modality}": standard.mean, f"scale.{modality}": standard.scale}
    write_artifact(stored, folder)


def load(config: FusionConfig, reader: Reader, folder: Path) -> torch.nn.Module:
    """The network of a stage; the reader gets its standards. Raises ResultsError if the file cannot be read or fits another network."""
    stored = read_artifact(folder)
    parameters = {name.removeprefix("network."): value for name, value in stored.items() if name.startswith("network.")}
    standards = [f"{part}.{name}" for name in reader.stores for part in ("mean", "scale")]
    mismatched = set(standards) - set(stored)
    if not mismatched:
        reader.standards = {name: Standard(stored[f"mean.{name}"], stored[f"scale.{name}"]) for name in reader.stores}
        model = build(config, reader.widths)
        expected = model.state_dict()
        mismatched = set(expected) ^ set(parameters) or {name for name, value in expected.items() if parameters[name].shape != value.shape}
    if mismatched:
        raise ResultsError(
            f"{folder / ARTIFACT} does not fit the run's {config.network.name}: {min(mismatched)}; remove {folder}, and the same command makes it again"
        )
    model.load_state_dict(parameters)
    return model


def write_artifact(tensors: dict[str, Any], folder: Path) -> None:
    """Write tensors atomically."""
    stored = {name: value.contiguous() for name, value in tensors.items()}
    write_atomically(folder / ARTIFACT, lambda path: save_file(stored, path))


def read_artifact(folder: Path) -> dict[str, torch.Tensor]:
    """Tensors of a stage. Raises ResultsError if the file is absent, damaged or not the recorded one."""
    path = folder / ARTIFACT
    try:
        check_recorded(path)
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise ResultsError(f"{path} cannot be read ({error}); remove {folder}, and the same command makes it again") from None
