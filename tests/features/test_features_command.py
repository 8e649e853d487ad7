"""The commands about features, as a person types them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from making import clip

from omnimer_ray.feature_config import CharNgrams, Feature
from omnimer_ray.features.kept import check_lines, kept_lines
from omnimer_ray.features.store import FeatureStore

ROOT = Path(__file__).parents[2]


def features(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "omnimer_ray.features", *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    made = FeatureStore(tmp_path / "features", Feature(encoder=CharNgrams(size=8), view="text"), tmp_path)
    made.fill([clip("a_0"), clip("a_1")], lambda one: np.ones((1, 8), np.float32), lambda done, total: None)
    return made


def test_list_and_check_say_what_is_there(store: FeatureStore, tmp_path: Path) -> None:
    (line,) = kept_lines(tmp_path)
    assert line == f"{store.folder.name}  char_ngrams on text: 2 entries, 0.0 MiB"
    assert check_lines(tmp_path) == ([f"{store.folder.name}  char_ngrams on text: 2 of 2 entries are whole"], 0)
    store.place(clip("a_0")).write_bytes(b"nonsense")
    (tmp_path / "features" / "other").mkdir()
    found = features("check", "--results", tmp_path)
    assert found.returncode == 4
    assert found.stdout.splitlines() == [
        f"{store.folder.name}  char_ngrams on text: 1 of 2 entries are whole; deleted 1",
        "other  unfinished, or of an unknown kind: 0 of 0 entries are whole",
    ]
    assert features("check", "--results", tmp_path).returncode == 0
    assert "1 entries" in features("list", "--results", tmp_path).stdout


def test_no_features_are_an_error_with_the_way_out(tmp_path: Path) -> None:
    found = features("list", "--results", tmp_path)
    assert found.returncode == 2
    assert "holds no features; a sweep of networks on features makes some, or `python -m omnimer_ray.features build`" in found.stderr


def test_a_pickle_is_imported(tmp_path: Path) -> None:
    (tmp_path / "f.pkl").write_bytes(pickle.dumps([{"id": "clip_1_Daily_0", "x": np.ones((2, 768), np.float32)}]))
    found = features("import-release", tmp_path / "f.pkl", "--out", tmp_path / "text")
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("1 clips of 768 values a step: IndoBERT of the text\nwritten to ")
    assert (tmp_path / "text" / "clip_1_Daily_0.safetensors").exists()


def test_building_is_planned_and_refused_where_nothing_is_needed(tmp_path: Path, shared_cache: Path) -> None:
    found = features("build", "--limit", 16, "--results", tmp_path, "--dry-run")
    assert found.returncode == 0, found.stderr
    assert "3 features; nothing is trained" in found.stdout
    found = features("build", "ablations", "--limit", 16, "--results", tmp_path, "--dry-run")
    assert found.returncode == 2
    assert "no run of the search space ablations needs features; name one with networks on features" in found.stderr
