"""A pickle of features is read in a process that knows arrays only, and what is no feature is left out and said."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import clip

from omnimer_ray.errors import ConfigError
from omnimer_ray.feature_config import Feature, Files
from omnimer_ray.features.given import check_contents, check_names, read
from omnimer_ray.features.release import import_release, not_features
from omnimer_ray.features.unpickle import Refusing, entries

NAMES = ("clip_1_Daily_0", "clip_1_Daily_1", "clip_2_Vlog_3")


def written(folder: Path, width: int = 18, **changes: Any) -> Path:
    """A file in the release's layout, as far as it is known: a list of dicts."""
    draw = np.random.default_rng(0)
    data = [{"sample_id": name, "feature": draw.normal(size=(4 + place, width)).astype(np.float32)} for place, name in enumerate(NAMES)]
    for place, entry in changes.get("entries", {}).items():
        data[place] = entry
    path = folder / "features.pkl"
    path.write_bytes(pickle.dumps(changes.get("data", data)))
    return path


def test_a_pickle_becomes_files_that_networks_read(tmp_path: Path) -> None:
    lines = import_release(written(tmp_path), tmp_path / "audio")
    assert lines[0] == "3 clips of 18 values a step: GeMAPS low-level descriptors of the audio"
    feature, clips = Feature(encoder=Files(folder=str(tmp_path / "audio")), view="audio"), [clip(name) for name in NAMES]
    check_names(feature, clips)
    check_contents(feature, clips)
    assert read(feature, clips[2]).shape == (6, 18)
    assert "written to" in lines[-1]


def test_columns_that_are_no_features_of_openface_are_left_out(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    data = []
    for place, name in enumerate(NAMES):
        array = draw.normal(size=(5 + place, 673)).astype(np.float32)
        array[:, 0], array[:, 1], array[:, 2], array[:, 3] = np.arange(5 + place) + 1, 0, np.arange(5 + place) * 0.04, 1
        data.append({"name": f"raw/{name}.mp4", "video": array})
    lines = import_release(written(tmp_path, data=data), tmp_path / "video")
    assert lines[1] == "left out 4 columns that are constant or rise evenly, such as frame numbers and times: 0, 1, 2, 3"
    assert read(Feature(encoder=Files(folder=str(tmp_path / "video")), view="frames"), clip(NAMES[0])).shape == (5, 669)
    assert not_features([np.array([[1.0, 2], [2, 1]], np.float32)]) == []


class Harmful:
    def __reduce__(self) -> Any:
        return os.system, ("touch harmed",)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data": [Harmful()]}, r"cannot be converted: UnpicklingError: it names (posix|nt)\.system, and only arrays are read"),
        ({"data": {"a": 1}}, "cannot be converted: ValueError: it is no list of dicts"),
        (
            {"entries": {1: {"name": "x", "label": 3}}},
            r"entry 1 has 0 arrays of two dimensions and 1 names of a clip, and needs one of each; its keys: name, label",
        ),
        (
            {"entries": {1: {"name": "x", "f": np.full((2, 18), np.nan)}}},
            r"entry 1 \(x\) holds float64 of shape \(2, 18\), or values that are not finite",
        ),
        ({"entries": {1: {"name": NAMES[0], "f": np.ones((2, 18))}}}, "holds clips twice: 1, clip_1_Daily_0"),
        (
            {"entries": {1: {"name": "x", "f": np.ones((2, 17))}}},
            "holds arrays of different widths: 17, 18; a file of one modality is needed",
        ),
    ],
)
def test_another_pickle_is_refused_and_nothing_of_it_runs(
    changes: dict[str, Any], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=text):
        import_release(written(tmp_path, **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "harmed").exists()


def test_a_file_that_is_no_pickle_or_a_folder_that_is_full_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.pkl is no file"):
        import_release(tmp_path / "none.pkl", tmp_path / "out")
    (tmp_path / "broken.pkl").write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=r"broken\.pkl cannot be converted: "):
        import_release(tmp_path / "broken.pkl", tmp_path / "out")
    with pytest.raises(ConfigError, match="is not empty; give a new folder"):
        import_release(written(tmp_path), tmp_path)


def test_only_four_globals_are_known() -> None:
    data = pickle.dumps([{"name": "a", "x": np.ones((2, 2), np.float32)}])
    assert entries(data)[0][0] == "a"
    for bad in (Path("x"), np.float64(3), [1.5].__iter__):
        with pytest.raises(pickle.UnpicklingError, match="and only arrays are read"):
            Refusing(__import__("io").BytesIO(pickle.dumps(bad))).load()
