"""A person's own features: each clip needs one whole file, and every fault is named at once before any worker starts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import clip, tiny_config
from safetensors.numpy import save_file

from omnimer_ray.errors import ConfigError
from omnimer_ray.feature_config import Feature, Files, OpenFaceCsv
from omnimer_ray.features.given import COLUMNS, check_contents, check_names, read, write
from omnimer_ray.features.locating import find_on_this_node, resolved
from omnimer_ray.fusion_config import FusionConfig, Linear, on_features
from omnimer_ray.planning.plan import make_run

CLIPS = [clip("a_0"), clip("a_1"), clip("b_0")]
OTHERS = ("frame", "face_id", "timestamp", "confidence", "success")


def files(folder: Path, **arrays: Any) -> Feature:
    folder.mkdir(exist_ok=True)
    for one in CLIPS:
        write(folder, one.id, arrays.get(one.id, np.arange(6, dtype=np.float32).reshape(2, 3)))
    return Feature(encoder=Files(folder=str(folder)), view="audio")


def openface(folder: Path, name: str = "a_0", *, success: tuple[int, ...] = (1, 1), without: str = "", value: str = "0.5") -> Feature:
    """A CSV as OpenFace writes it: other columns first, names after a space, its rows numbered."""
    header = [column for column in (*OTHERS, *reversed(COLUMNS)) if column != without]
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f" {column}" for column in header])
        for number, found in enumerate(success):
            row = {"frame": number + 1, "timestamp": number * 0.04, "success": found, "pose_Tx": value if number == 0 else 7}
            writer.writerow([row.get(column, 0.25) for column in header])
    return Feature(encoder=OpenFaceCsv(folder=str(folder)), view="frames")


def test_arrays_are_read_as_they_are(tmp_path: Path) -> None:
    feature = files(tmp_path / "audio")
    check_names(feature, CLIPS)
    check_contents(feature, CLIPS)
    assert read(feature, CLIPS[0]).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_openface_is_read_by_the_names_of_its_columns_where_there_is_a_face(tmp_path: Path) -> None:
    found = read(openface(tmp_path, success=(1, 0, 1)), CLIPS[0])
    assert found.shape == (2, 669)
    assert found[:, COLUMNS.index("pose_Tx")].tolist() == [0.5, 7.0]
    assert (np.delete(found, COLUMNS.index("pose_Tx"), axis=1) == 0.25).all()
    assert read(openface(tmp_path, success=(0, 0)), CLIPS[0]).tolist() == [[0.0] * 669]
    assert not set(COLUMNS) & set(OTHERS), "the number of a frame and its time are no features"


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("absent", r"audio: clips without a file: 1, a_1; each clip needs one file NAME\.safetensors, or list it under 'exclude'"),
        ("doubled", r"audio: clips with two files: 1, a_1; each clip needs"),
    ],
)
def test_a_clip_without_a_file_or_with_two_is_named(fault: str, text: str, tmp_path: Path) -> None:
    feature = files(tmp_path / "audio")
    path = tmp_path / "audio" / "a_1.safetensors"
    path.unlink() if fault == "absent" else path.with_name("A_1.safetensors").write_bytes(path.read_bytes())
    with pytest.raises(ConfigError, match=text):
        check_names(feature, CLIPS)


def test_every_bad_array_is_named(tmp_path: Path) -> None:
    bad = {"a_0": np.array([[1, np.nan, np.inf]], np.float32), "a_1": np.ones((2, 4), np.float32), "b_0": np.ones((2, 4), np.float32)}
    feature = files(tmp_path / "audio", **bad)
    save_file({"features": np.ones(3, np.float32)}, tmp_path / "audio" / "b_0.safetensors")
    more = [*CLIPS, clip("c_0"), clip("c_1"), clip("c_2")]
    for name in ("c_0", "c_1"):
        write(tmp_path / "audio", name, np.ones((2, 5), np.float32))
    (tmp_path / "audio" / "c_2.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ConfigError) as caught:
        check_contents(feature, more)
    text = str(caught.value)
    assert "a_0.safetensors holds 2 values that are not finite; extract it again, or list the clip under 'exclude'" in text
    assert "b_0.safetensors holds an array of shape (3,); it must be (T, D), neither of them 0" in text
    assert "c_2.safetensors cannot be read" in text
    assert "a_1.safetensors holds 4 values of a step, where most hold 5" in text


def test_many_bad_arrays_are_counted(tmp_path: Path) -> None:
    feature, clips = files(tmp_path / "audio"), [clip(f"z_{number}") for number in range(9)]
    with pytest.raises(ConfigError, match="; and 3 more files"):
        check_contents(feature, clips)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"without": "AU12_r"}, r"a_0\.csv lacks 1 of OpenFace's columns \(AU12_r\); run FeatureExtraction with all its outputs"),
        ({"without": "success"}, r"a_0\.csv lacks 1 of OpenFace's columns \(success\)"),
        ({"value": "none"}, r"a_0\.csv, line 2: it is no row of 674 numbers; extract it again"),
        ({"value": "nan"}, r"a_0\.csv holds 1 values that are not finite"),
    ],
)
def test_a_csv_that_is_not_openfaces_is_refused(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=text):
        read(openface(tmp_path, **changes), CLIPS[0])
    (tmp_path / "a_1.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"a_1\.csv cannot be read as CSV"):
        read(openface(tmp_path, "b_0"), CLIPS[1])


def test_files_enter_a_key_by_their_contents_and_not_by_their_place(tmp_path: Path) -> None:
    def run(folder: Path) -> FusionConfig:
        made = resolved(on_features(tiny_config(), Linear(), {"audio": Feature(encoder=Files(folder=str(folder)), view="audio")}), known)
        assert isinstance(made, FusionConfig)
        return made

    known: dict[str, Any] = {}
    files(tmp_path / "one")
    one = run(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    two = run(tmp_path / "two")
    assert make_run(one).signature == make_run(two).signature
    assert one.features["audio"].key == two.features["audio"].key
    located = known[str(two.features["audio"].encoder.revision)]  # type: ignore[union-attr]
    assert find_on_this_node(located) == tmp_path / "two"
    write(tmp_path / "two", "a_0", np.ones((2, 3), np.float32))
    assert make_run(run(tmp_path / "two")).signature != make_run(two).signature
    with pytest.raises(ConfigError, match=r"encoder 'files': .*/three is no folder; give the one that holds a file of each clip"):
        run(tmp_path / "three")
    with pytest.raises(ValueError, match="encoder 'files' takes no media settings"):
        Feature(encoder=Files(folder="x"), view="audio", media=tiny_config().media)
