"""The media cache: by content, whole or not at all, made again where damaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnimer_ray.errors import MachineError
from omnimer_ray.media.cache import check_file, keep, kept, source_hash
from omnimer_ray.media.container import Fault

ARRAYS: dict[str, Any] = {
    "frames": np.arange(48, dtype=np.uint8).reshape(2, 2, 4, 3),
    "mel": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    keep(place := tmp_path / "media" / "abc.safetensors", ARRAYS, {"sampled_fps": 1.5, "cut": False})
    return place


def test_a_stored_entry_is_loaded_unchanged(place: Path) -> None:
    entry = kept(place)
    assert entry is not None
    assert entry.about == {"sampled_fps": 1.5, "cut": False}
    for name, array in ARRAYS.items():
        assert np.array_equal(entry.arrays[name], array)
        assert entry.arrays[name].dtype == array.dtype
        assert entry.arrays[name].flags.writeable  # torch wants to own it
    assert [file.name for file in place.parent.iterdir()] == ["abc.safetensors"]  # no temporary is left


def test_an_absent_entry_is_none(tmp_path: Path) -> None:
    assert kept(tmp_path / "nothing.safetensors") is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "header", "scalar", "shape"])
def test_a_damaged_entry_is_none(place: Path, damage: str) -> None:
    data = bytearray(place.read_bytes())
    flipped = bytearray(data)
    flipped[-1] ^= 1
    header = bytearray(data)
    header[12] ^= 255
    damaged: dict[str, bytes] = {
        "cut": bytes(data[:-5]),
        "flip": bytes(flipped),
        "empty": b"",
        "text": b"not a tensor in sight",
        "header": bytes(header),
        "scalar": data.replace(b"1.5", b"1.7"),
        "shape": data.replace(b"[2,2,4,3]", b"[2,4,2,3]"),
    }
    assert damaged[damage] != data
    place.write_bytes(damaged[damage])
    assert kept(place) is None


def test_an_entry_without_its_checksum_is_none(place: Path) -> None:
    from safetensors.numpy import save_file

    for about in ("{}", "7"):
        save_file(ARRAYS, place, metadata={"about": about})
        assert kept(place) is None
    save_file(ARRAYS, place)
    assert kept(place) is None


def test_the_error_names_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "media").write_text("a file where the folder should be")
    with pytest.raises(MachineError, match=r"the media cache .*media cannot be written \(.*\); free space, or name another one"):
        keep(tmp_path / "media" / "abc.safetensors", ARRAYS, {})


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once."""
    monkeypatch.setattr("omnimer_ray.corpora.files.SETTLED_SEC", 0)


@pytest.mark.usefixtures("settled")
def test_a_source_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source := tmp_path / "a.mp4").write_bytes(b"first")
    os.utime(source, (1e9, 1e9))
    digest = source_hash(source, tmp_path / "cache")
    with monkeypatch.context() as patched:
        patched.setattr("hashlib.file_digest", lambda *_: pytest.fail("read again"))
        assert source_hash(source, tmp_path / "cache") == digest
    source.write_bytes(b"other")  # as long
    os.utime(source, (1e9, 1e9))  # and as old, as `cp -p` and rsync leave it
    assert source_hash(source, tmp_path / "cache") != digest


def test_a_source_that_may_still_change_is_not_remembered(tmp_path: Path) -> None:
    (source := tmp_path / "a.mp4").write_bytes(b"first")
    digest = source_hash(source, tmp_path / "cache")
    stamp = source.stat()
    source.write_bytes(b"other")
    os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as a coarse clock would
    assert source_hash(source, tmp_path / "cache") != digest


@pytest.mark.usefixtures("settled")
def test_a_damaged_memory_is_hashed_again(tmp_path: Path) -> None:
    (source := tmp_path / "a.mp4").write_bytes(b"first")
    digest = source_hash(source, tmp_path / "cache")
    (memo,) = (tmp_path / "cache" / "media" / "known").iterdir()
    memo.write_bytes(b"\xff\xfe" * 40)
    assert source_hash(source, tmp_path / "cache") == digest
    memo.write_text("f" * 10)
    assert source_hash(source, tmp_path / "cache") == digest


def test_a_source_that_fails_to_read_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source := tmp_path / "a.mp4").write_bytes(b"first")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("hashlib.file_digest", fail)
    with pytest.raises(Fault, match=r"a.mp4: it cannot be read \(Input/output error\)"):
        source_hash(source, tmp_path / "cache")


def test_a_file_that_may_not_be_read_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source := tmp_path / "a.mp4").write_bytes(b"first")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(Fault, match=r"a.mp4: it may not be read \(its permissions are -rw"):
        check_file(source)


@pytest.mark.parametrize("name", ["a\0b.mp4", "a" * 300 + ".mp4"])
def test_an_impossible_name_is_a_fault(tmp_path: Path, name: str) -> None:
    with pytest.raises(Fault, match="it cannot be looked at"):
        check_file(tmp_path / name)
