"""The linear probe is scikit-learn's logistic regression on means and SDs, its C chosen inside train; what is hidden is the mean of train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import clip, tiny_config
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from omnimer_ray.errors import ConfigError, ResultsError
from omnimer_ray.feature_config import CharNgrams, Feature
from omnimer_ray.features.store import FeatureStore
from omnimer_ray.fusion import linear
from omnimer_ray.fusion_config import FusionConfig, Linear, on_features

SENTIMENTS = ["negative", "neutral", "positive"]
VIDEOS = [f"v{number // 4}" for number in range(60)]


def config(**changes: Any) -> FusionConfig:
    return on_features(tiny_config(), Linear(**{"strengths": (0.1,), **changes}))


def data(labels: list[str], seed: int = 0) -> tuple[linear.Array, list[str]]:
    """60 clips of 6 values, the first of which tells about the label."""
    draw = np.random.default_rng(seed)
    golds = [labels[number % len(labels)] for number in range(60)]
    values = draw.normal(size=(60, 6)) * np.array([1, 5, 1, 0.1, 1, 2]) + 3
    values[:, 0] += [labels.index(gold) for gold in golds]
    return values, golds


@pytest.mark.parametrize("labels", [SENTIMENTS, ["negative", "positive"]])
def test_it_is_that_of_scikit_learn(labels: list[str]) -> None:
    values, golds = data(labels)
    fitted = linear.fit(config(), values, golds, VIDEOS)
    scaler = StandardScaler().fit(values)
    theirs = LogisticRegression(C=0.1, max_iter=2000).fit(scaler.transform(values), golds)
    found = fitted.probabilities(values, np.ones_like(values, bool))
    columns = [SENTIMENTS.index(name) for name in theirs.classes_]
    assert np.allclose(found[:, columns], theirs.predict_proba(scaler.transform(values)), atol=1e-9)
    assert np.allclose(found.sum(1), 1)
    assert all(found[:, place].max() == 0 for place in set(range(3)) - set(columns))  # a label that train does not have


def test_hidden_values_are_those_of_the_mean_of_train() -> None:
    values, golds = data(SENTIMENTS)
    fitted = linear.fit(config(), values, golds, VIDEOS)
    shown = np.ones_like(values, bool)
    shown[:, :2] = False
    means = np.where(shown, values, values.mean(0))
    assert np.allclose(fitted.probabilities(values, shown), fitted.probabilities(means, np.ones_like(shown)))
    assert not np.allclose(fitted.probabilities(values, shown), fitted.probabilities(values, np.ones_like(shown)))


def test_the_strength_is_chosen_inside_train_and_by_the_seed_alone() -> None:
    values, golds = data(SENTIMENTS)
    noise = np.random.default_rng(1).normal(size=(60, 200))
    many = np.concatenate([values, noise], axis=1)
    chosen = config(strengths=(1e-4, 1e-2, 100.0))
    first, again = (linear.fit(chosen, many, golds, VIDEOS) for _ in range(2))
    assert first.strength < 100  # so strong a probe learns the noise
    assert np.array_equal(first.weights, again.weights)


def test_rare_labels_weigh_more_with_a_balance() -> None:
    values, _ = data(SENTIMENTS)
    golds = ["negative"] * 50 + ["positive"] * 10
    plain, balanced = (
        linear.fit(config().model_copy(update={"class_balance": balance}), values, golds, VIDEOS)
        for balance in ("none", "inverse_frequency")
    )
    shown = np.ones_like(values, bool)
    assert balanced.probabilities(values, shown)[:, 2].mean() > plain.probabilities(values, shown)[:, 2].mean() + 0.1


@pytest.mark.parametrize(("golds", "videos"), [(["negative"] * 60, VIDEOS), (None, ["v0"] * 60)])
def test_too_little_to_choose_on_is_refused(golds: list[str] | None, videos: list[str]) -> None:
    values, usual = data(SENTIMENTS)
    with pytest.raises(ConfigError, match="a linear probe needs clips of two labels and of 3 source videos, and train has"):
        linear.fit(config(), values, golds or usual, videos)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    values, golds = data(["negative", "positive"])
    fitted = linear.fit(config(), values, golds, VIDEOS)
    linear.save(fitted, tmp_path)
    read = linear.load(tmp_path)
    assert all(np.array_equal(one, other) for one, other in zip(fitted, read, strict=True))
    (tmp_path / "network.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ResultsError, match=r"network.safetensors cannot be read .*; remove .*, and the same command makes it again"):
        linear.load(tmp_path)


def test_summaries_are_means_and_deviations_of_each_modality(tmp_path: Path) -> None:
    clips = [clip("a_0"), clip("a_1")]
    store = FeatureStore(tmp_path, Feature(encoder=CharNgrams(), view="text"), tmp_path)
    store.fill(clips, lambda one: np.array([[0, 1], [2, 1]], np.float32) + (one.id == "a_1"), lambda done, total: None)
    values, owners = linear.summaries({"text": store}, clips)
    assert values.tolist() == [[1, 1, 1, 0], [2, 2, 1, 0]]
    assert owners == ["text"] * 4
    other = FeatureStore(tmp_path, Feature(encoder=CharNgrams(size=8), view="text"), tmp_path)
    other.fill(clips, lambda one: np.ones((1, 2 + (one.id == "a_1")), np.float32), lambda done, total: None)
    with pytest.raises(ResultsError, match="holds features of different widths: 2, 3; delete it, and the same command makes it again"):
        linear.summaries({"text": other}, clips)
