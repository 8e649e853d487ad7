"""The ensemble's own arrays answer as scikit-learn's machines do; chi-square sees scaled values; subsets make the machines differ."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from making import tiny_config
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC

from omnimer_ray.errors import ConfigError
from omnimer_ray.fusion import ensemble
from omnimer_ray.fusion_config import FusionConfig, Mmef, SvmEnsemble, on_features

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")


def config(**settings: float) -> FusionConfig:
    return on_features(tiny_config(task="emotion"), Mmef(), ensemble=SvmEnsemble(**settings)).model_copy(update={"task": "emotion"})  # type: ignore[arg-type]


def data(labels: tuple[str, ...], number: int = 90) -> tuple[ensemble.Array, list[str]]:
    draw = np.random.default_rng(0)
    golds = [labels[place % len(labels)] for place in range(number)]
    values = draw.normal(size=(number, 12))
    values[:, 0] += [2 * labels.index(gold) for gold in golds]
    values[:, 3] = 0.0  # never changes
    return values, golds


@pytest.mark.parametrize("labels", [("happiness", "anger"), ("neutral", "sadness", "fear"), EMOTIONS])
def test_each_machine_answers_as_that_of_scikit_learn(labels: tuple[str, ...]) -> None:
    values, golds = data(labels)
    fitted = ensemble.fit(config(), values, golds)
    order = [label for label in EMOTIONS if label in labels]
    places = [order.index(gold) for gold in golds]
    scaler = MinMaxScaler(clip=True).fit(values)
    scaled = scaler.transform(values)
    with np.errstate(invalid="ignore"):
        selected = SelectKBest(chi2, k=6).fit(scaled, places).get_support(indices=True)
    assert fitted.selected.tolist() == selected.tolist()
    assert fitted.labels == tuple(order)
    fresh = np.random.default_rng(1).normal(size=(200, 12)) * 3
    assert np.allclose(fitted.scaled(fresh), scaler.transform(fresh)[:, selected])
    for machine, (_, kernel) in zip(fitted.machines, product(range(3), ("linear", "rbf", "poly")), strict=True):
        theirs = SVC(kernel=kernel).fit(scaled[:, selected][:, machine.columns], places)
        own = fitted.scaled(fresh)
        assert machine.kernel == kernel
        assert machine.votes(own).tolist() == theirs.predict(own[:, machine.columns]).tolist()


def test_probabilities_are_shares_of_the_votes(tmp_path: Path) -> None:
    values, golds = data(("neutral", "sadness", "fear"))
    fitted = ensemble.fit(config(), values, golds)
    found = fitted.probabilities(values, EMOTIONS)
    assert np.allclose(found.sum(1), 1)
    assert set(np.round(found * 9, 6).ravel()) <= set(range(10))
    assert (found[:, [1, 2, 4, 5]] == 0).all()  # labels that train does not have
    right = np.mean([EMOTIONS[place] == gold for place, gold in zip(found.argmax(1), golds, strict=True)])
    assert right > 0.7
    ensemble.save(fitted, tmp_path)
    read = ensemble.load(tmp_path)
    assert read.labels == fitted.labels
    assert np.array_equal(read.probabilities(values, EMOTIONS), found)


def test_subsets_differ_and_depend_on_the_seed_alone() -> None:
    values, golds = data(("neutral", "sadness", "fear"))
    one, again = (ensemble.fit(config(), values, golds) for _ in range(2))
    other = ensemble.fit(config().model_copy(update={"seed": 1}), values, golds)
    columns = [tuple(machine.columns) for machine in one.machines]
    assert len(set(columns)) > 1
    assert columns == [tuple(machine.columns) for machine in again.machines]
    assert columns != [tuple(machine.columns) for machine in other.machines]
    assert all(len(machine.columns) == 4 for machine in one.machines)  # .67 of 6


def test_one_label_is_refused() -> None:
    values, _ = data(("neutral",))
    with pytest.raises(ConfigError, match="an ensemble needs training clips of two labels, and all are neutral; take more clips"):
        ensemble.fit(config(), values, ["neutral"] * 90)


def test_an_ensemble_goes_with_mmef_alone() -> None:
    from omnimer_ray.fusion_config import Tfn

    with pytest.raises(ValueError, match="ensemble does not go with network 'tfn', only with 'mmef'"):
        on_features(tiny_config(), Tfn(), ensemble=SvmEnsemble())
    with pytest.raises(ValueError, match="width 9 is not a multiple of heads 2"):
        Mmef(width=9)
