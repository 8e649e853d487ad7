"""MMEF-Net's ensemble (sections III-C and D): chi-square selection of the fused features, then nine support vector machines that vote.

scikit-learn fits; what it found is kept as arrays, and answers come from these. Shapes: N clips, P fused features, K labels of train, S support vectors.
"""

from __future__ import annotations

import hashlib
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.errors import ConfigError
from omnimer_ray.fusion.network import read_artifact, write_artifact
from omnimer_ray.fusion_config import FusionConfig, SvmEnsemble

Array = NDArray[np.float64]
KERNELS = ("linear", "rbf", "poly")
DEGREE = 3  # of the polynomial kernel, scikit-learn's


class Machine(NamedTuple):
    """A fitted support vector machine."""

    kernel: str
    columns: NDArray[np.int64]  # of the selected features, its subset
    vectors: Array  # (S, columns), in the order of their labels
    dual: Array  # (K - 1, S)
    bias: Array  # (K (K - 1) / 2,)
    counts: NDArray[np.int64]  # (K,) support vectors of each label
    gamma: float

    def votes(self, values: Array) -> NDArray[np.int64]:
        """Place of the label that wins most of the pairs, (N,); of equals the first, as libsvm has it."""
        similar = self._similar(values[:, self.columns])  # (N, S)
        ends = np.cumsum(self.counts)
        own = [slice(end - count, end) for end, count in zip(ends, self.counts, strict=True)]
        wins, pair = np.zeros((len(values), len(self.counts)), np.int64), 0
        for one in range(len(self.counts)):
            for other in range(one + 1, len(self.counts)):
                score = (
                    similar[:, own[one]] @ self.dual[other - 1, own[one]]
                    + similar[:, own[other]] @ self.dual[one, own[other]]
                    + self.bias[pair]
                )
                wins[np.arange(len(values)), np.where(score > 0, one, other)] += 1
                pair += 1
        won: NDArray[np.int64] = wins.argmax(1)
        return won

    def _similar(self, values: Array) -> Array:
        products: Array = values @ self.vectors.T
        match self.kernel:
            case "linear":
                return products
            case "poly":
                cubed: Array = (self.gamma * products) ** DEGREE
                return cubed
            case _:
                near: Array = np.exp(-self.gamma * ((values**2).sum(1)[:, None] - 2 * products + (self.vectors**2).sum(1)))
                return near


class Ensemble(NamedTuple):
    """Scaling to [0, 1] by train, the selected features, and the machines."""

    low: Array  # (P,)
    span: Array  # (P,)
    selected: NDArray[np.int64]
    labels: tuple[str, ...]  # of train, in label order
    machines: tuple[Machine, ...]

    def scaled(self, values: Array) -> Array:
        """(N, selected) of (N, P), cut to [0, 1]."""
        return np.clip((values - self.low) / self.span, 0, 1)[:, self.selected]

    def probabilities(self, values: Array, labels: tuple[str, ...]) -> Array:
        """The share of the machines that vote for each of `labels`, (N, labels)."""
        scaled, found = self.scaled(values), np.zeros((len(values), len(labels)))
        places = np.array([labels.index(label) for label in self.labels])
        for machine in self.machines:
            found[np.arange(len(values)), places[machine.votes(scaled)]] += 1 / len(self.machines)
        return found


def fit(config: FusionConfig, values: Array, golds: list[str]) -> Ensemble:
    """Fit on the fused features of the training clips. Raises ConfigError if they have one label only."""
    from sklearn.feature_selection import SelectKBest, chi2
    from sklearn.svm import SVC

    settings = config.ensemble
    assert settings is not None
    labels = tuple(label for label in LABELS[config.task] if label in golds)
    if len(labels) < 2:
        raise ConfigError(f"an ensemble needs training clips of two labels, and all are {labels[0]}; take more clips")
    places = [labels.index(gold) for gold in golds]
    low, high = values.min(0), values.max(0)
    span = np.where(high > low, high - low, 1.0)
    chosen = max(1, round(settings.selected * values.shape[1]))
    scaled = np.clip((values - low) / span, 0, 1)
    with np.errstate(invalid="ignore"):  # of a feature that is 0 everywhere
        selected = np.sort(SelectKBest(chi2, k=chosen).fit(scaled, places).get_support(indices=True)).astype(np.int64)
    balance = "balanced" if config.class_balance == "inverse_frequency" else None
    machines = []
    for subset, kernel in product(range(settings.subsets), KERNELS):
        columns = _subset(config.seed, subset, len(selected), settings)
        model = SVC(kernel=kernel, C=settings.strength, gamma="scale", degree=DEGREE, class_weight=balance)
        model.fit(scaled[:, selected][:, columns], places)
        sign = -1.0 if len(labels) == 2 else 1.0  # of two classes scikit-learn turns the sign
        machines.append(
            Machine(
                kernel,
                columns,
                np.asarray(model.support_vectors_, np.float64),
                sign * np.asarray(model.dual_coef_, np.float64),
                sign * np.asarray(model.intercept_, np.float64),
                np.asarray(model.n_support_, np.int64),
                float(model._gamma),
            )
        )
    return Ensemble(low, span, selected, labels, tuple(machines))


def _subset(seed: int, subset: int, size: int, settings: SvmEnsemble) -> NDArray[np.int64]:
    """A share of the selected features, drawn by hash: scikit-learn's machines have no seed of their own."""
    order = sorted(range(size), key=lambda column: hashlib.sha256(f"{seed}|{subset}|{column}".encode()).digest())
    return np.sort(np.array(order[: max(1, round(settings.share * size))], np.int64))


def save(ensemble: Ensemble, folder: Path) -> None:
    """Write an ensemble as arrays."""
    arrays: dict[str, NDArray[np.generic]] = {"low": ensemble.low, "span": ensemble.span, "selected": ensemble.selected}
    everywhere = tuple(dict.fromkeys(label for labels in LABELS.values() for label in labels))
    arrays["labels"] = np.array([everywhere.index(label) for label in ensemble.labels], np.int64)
    for place, machine in enumerate(ensemble.machines):
        about = {**machine._asdict(), "kernel": np.array([KERNELS.index(machine.kernel)], np.int64), "gamma": np.array([machine.gamma])}
        arrays |= {f"{place}.{name}": value for name, value in about.items()}
    write_artifact({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}, folder)


def load(folder: Path) -> Ensemble:
    """Read an ensemble. Raises as `read_artifact`."""
    stored = {name: value.numpy() for name, value in read_artifact(folder).items()}
    everywhere = tuple(dict.fromkeys(label for labels in LABELS.values() for label in labels))
    number = sum(name.endswith(".kernel") for name in stored)
    machines = tuple(
        Machine(
            kernel=KERNELS[int(stored[f"{place}.kernel"][0])],
            columns=stored[f"{place}.columns"],
            vectors=stored[f"{place}.vectors"],
            dual=stored[f"{place}.dual"],
            bias=stored[f"{place}.bias"],
            counts=stored[f"{place}.counts"],
            gamma=float(stored[f"{place}.gamma"][0]),
        )
        for place in range(number)
    )
    return Ensemble(stored["low"], stored["span"], stored["selected"], tuple(everywhere[place] for place in stored["labels"]), machines)
