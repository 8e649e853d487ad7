"""The linear probe: logistic regression by scikit-learn on mean and SD over time of every feature.

Shapes: N clips, P values of all modalities (two of each of a feature's), K labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from omnimer_ray.config import Modality
from omnimer_ray.corpora.clips import LABELS, Clip
from omnimer_ray.errors import ConfigError, ResultsError
from omnimer_ray.features.store import FeatureStore
from omnimer_ray.fusion.network import read_artifact, write_artifact
from omnimer_ray.fusion_config import FusionConfig, Linear
from omnimer_ray.metrics import scores

Array = NDArray[np.float64]


class Fitted(NamedTuple):
    """A fitted probe; of a hidden modality it sees the mean of the training clips."""

    mean: Array  # (P,)
    scale: Array  # (P,)
    weights: Array  # (K, P)
    bias: Array  # (K,), minus infinity for a label without a training clip
    strength: float  # the chosen C

    def probabilities(self, values: Array, shown: NDArray[np.bool_]) -> Array:
        """(N, K) of summaries (N, P), of which those not `shown` (N, P) are hidden."""
        standardised = np.where(shown, (values - self.mean) / self.scale, 0.0)
        logits = standardised @ self.weights.T + self.bias
        powers = np.exp(logits - logits.max(1, keepdims=True))
        found: Array = powers / powers.sum(1, keepdims=True)
        return found


def summaries(stores: Mapping[Modality, FeatureStore], clips: Sequence[Clip]) -> tuple[Array, list[Modality]]:
    """Mean and SD over time, (N, P), and the modality of each value."""
    parts, owners = [], list[Modality]()
    for modality in sorted(stores):
        arrays = [stores[modality].read(clip).astype(np.float64) for clip in clips]
        if len(widths := {array.shape[1] for array in arrays}) > 1:
            raise ResultsError(
                f"{stores[modality].folder} holds features of different widths: {', '.join(map(str, sorted(widths)))}; "
                "delete it, and the same command makes it again"
            )
        part = np.stack([np.concatenate([array.mean(0), array.std(0)]) for array in arrays])
        parts.append(part)
        owners += [modality] * part.shape[1]
    return np.concatenate(parts, axis=1), owners


def fit(config: FusionConfig, values: Array, golds: Sequence[str], videos: Sequence[str]) -> Fitted:
    """Fit on the training clips' summaries; C is the one with the best macro F1 over folds of whole source videos."""
    from sklearn.model_selection import StratifiedGroupKFold

    network = config.network
    assert isinstance(network, Linear)
    if len(set(golds)) < 2 or len(set(videos)) < network.folds:
        raise ConfigError(
            f"a linear probe needs clips of two labels and of {network.folds} source videos, and train has {len(set(golds))} and {len(set(videos))}; "
            "take more clips"
        )
    gold = np.array(golds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a label with fewer clips than folds: its clips are then in fewer
        folds = list(StratifiedGroupKFold(network.folds, shuffle=True, random_state=config.seed).split(values, gold, np.array(videos)))
    best, strength = -1.0, network.strengths[0]
    for one in network.strengths if len(network.strengths) > 1 else ():
        guessed = gold.copy()
        for train, held_out in folds:
            fold = fit_once(config, values[train], gold[train], one)
            chosen = fold.probabilities(values[held_out], np.ones_like(values[held_out], bool)).argmax(1)
            guessed[held_out] = np.array(LABELS[config.task])[chosen]
        found = scores(gold=list(golds), predicted=guessed.tolist(), labels=LABELS[config.task]).macro_f1
        if found > best:
            best, strength = found, one
    return fit_once(config, values, gold, strength)


def fit_once(config: FusionConfig, values: Array, targets: NDArray[np.str_], strength: float) -> Fitted:
    """Fit with a given C."""
    from sklearn.linear_model import LogisticRegression

    labels = LABELS[config.task]
    mean, scale = values.mean(0), values.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    standardised = (values - mean) / scale
    weights, bias = np.zeros((len(labels), values.shape[1])), np.full(len(labels), -np.inf)
    present = sorted(set(targets.tolist()), key=labels.index)
    if len(present) == 1:
        bias[labels.index(present[0])] = 0.0
        return Fitted(mean, scale, weights, bias, strength)
    balance = "balanced" if config.class_balance == "inverse_frequency" else None
    model = LogisticRegression(C=strength, max_iter=2000, class_weight=balance).fit(standardised, [present.index(one) for one in targets])
    for place, label in enumerate(present):  # of two classes scikit-learn has the second's weights alone, against 0
        row = labels.index(label)
        binary = len(present) == 2
        weights[row] = (model.coef_[0] if place else 0.0) if binary else model.coef_[place]
        bias[row] = (model.intercept_[0] if place else 0.0) if binary else model.intercept_[place]
    return Fitted(mean, scale, weights, bias, strength)


def save(fitted: Fitted, folder: Path) -> None:
    """Write a fitted probe."""
    arrays = {name: np.atleast_1d(np.asarray(value, np.float64)) for name, value in fitted._asdict().items()}
    write_artifact({name: torch.from_numpy(array) for name, array in arrays.items()}, folder)


def load(folder: Path) -> Fitted:
    """Read a fitted probe. Raises as `read_artifact`."""
    stored = {name: value.numpy() for name, value in read_artifact(folder).items()}
    return Fitted(stored["mean"], stored["scale"], stored["weights"], stored["bias"], float(stored["strength"][0]))
