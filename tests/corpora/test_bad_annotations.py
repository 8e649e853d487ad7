"""A release with one thing wrong, many times over: each is a fault that names file, row, value and way out."""

import csv
import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from releases import CSV, TRAIN3, TRAIN7, VAL3, edit_csv, edit_json, read, set_cell, set_key, write

from omnimer_ray.errors import CorpusError


def move_entry(folder: Path) -> None:
    """The first validation clip of the sentiment task goes to train, in both tasks."""
    for kind in ("3", "7"):
        taken: list[dict[str, Any]] = []
        edit_json(folder, f"{kind}_Class/{kind}_class_val.json", lambda entries, taken=taken: taken.append(entries.pop(0)))
        edit_json(folder, f"{kind}_Class/{kind}_class_train.json", lambda entries, taken=taken: entries.append(taken[0]))


def copy_entry(folder: Path) -> None:
    entries = json.loads((folder / VAL3).read_text())
    edit_json(folder, TRAIN3, lambda train: train.append(entries[0]))


def rename_clip(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for path in (CSV, TRAIN3, TRAIN7):
            write(folder, path, (folder / path).read_bytes().replace(old.encode(), new.encode()))

    return change


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no Annotations.csv": (lambda f: (f / CSV).unlink(), r"Annotations\.csv: missing in .*release; known: "),
    "misnamed Annotations.csv": (
        lambda f: (f / CSV).rename(f / "Anotations.csv"),
        r"Annotations\.csv: missing .*did you mean 'Anotations.csv'\?",
    ),
    "a folder called Annotations.csv": (
        lambda f: [(f / CSV).unlink(), (f / CSV).mkdir()],
        r"Annotations\.csv: no file in .*release; known: '3_Class', '7_Class', 'audio', 'videos'$",
    ),
    "no JSON": (lambda f: (f / VAL3).unlink(), r"3_class_val\.json: missing in .*did you mean '3_class_train.json'"),
    "no 7_Class": (lambda f: shutil.rmtree(f / "7_Class"), r"7_class_train\.json: missing in .*7_Class; known: none"),
    "empty CSV": (lambda f: write(f, CSV, b""), r"Annotations\.csv: empty; fetch the file again"),
    "header alone": (lambda f: edit_csv(f, lambda rows: rows.__delitem__(slice(1, None))), r"Annotations\.csv: no clips"),
    "empty JSON list": (lambda f: write(f, VAL3, b"[]"), r"3_Class/3_class_val\.json: no clips; fetch the file again"),
    "missing column": (
        lambda f: edit_csv(f, lambda rows: [row.pop(3) for row in rows]),
        r"Annotations\.csv, row 1: column 'sentiment' is missing; known: none",
    ),
    "misspelt column": (set_cell(1, 4, "text_sentimen"), r"row 1: column 'text_sentiment' is missing; did you mean 'text_sentimen'\?"),
    "column twice": (set_cell(1, 3, "emotion"), r"row 1: column 'emotion' is there twice; keep one"),
    "short row": (lambda f: edit_csv(f, lambda rows: rows[4].pop()), r"Annotations\.csv, row 5: 7 fields where the header has 8"),
    "open quote": (
        lambda f: write(f, CSV, (f / CSV).read_bytes() + b'"open'),
        r"Annotations\.csv: no readable CSV \(.*\); mend its quotes",
    ),
    "endless field": (
        lambda f: write(f, CSV, (f / CSV).read_bytes() + b'"' + b"x" * 200_000 + b'"'),
        r"no readable CSV \(field larger than",
    ),
    "unknown label": (
        set_cell(3, 3, "negatip"),
        r"Annotations\.csv, row 3: unknown label 'negatip' in 'sentiment'; did you mean 'negatif'\?",
    ),
    "label in capitals": (set_cell(3, 2, "Jijik"), r"row 3: unknown label 'Jijik' in 'emotion'; did you mean 'jijik'\?"),
    "empty label": (set_cell(3, 5, ""), r"row 3: unknown label '' in 'audio_sentiment'; known: 'negatif', 'netral', 'positif'"),
    "label with a space": (set_cell(3, 6, "netral "), r"row 3: unknown label 'netral ' in 'video_sentiment'; did you mean 'netral'\?"),
    "duplicate id": (
        lambda f: edit_csv(f, lambda rows: rows.append(rows[1])),
        r"Annotations\.csv, row 26: 'clip_1_\w+_1' is in row 2 already; keep one of the two",
    ),
    "duplicate entry": (
        lambda f: edit_json(f, TRAIN3, lambda entries: entries.append(entries[0])),
        r"3_class_train\.json, entry 15 \(clip_1_\w+_1\): 'clip_1_\w+_1' is in entry 1 \(.*\) already",
    ),
    "clip on both sides": (
        copy_entry,
        r"3_class_val\.json, entry 1 .*: is in 3_Class/3_class_train\.json too, so validation and train overlap",
    ),
    "video on both sides": (
        move_entry,
        r"source video 5 is in both splits: 1 clips in train, 1 clips in validation; move its clips to one split, or exclude them",
    ),
    "splits differ by task": (
        lambda f: edit_json(
            f, TRAIN7, lambda entries: edit_json(f, "7_Class/7_class_val.json", lambda other: other.append(entries.pop(0)))
        ),
        r"7_class_val\.json, entry 11 .*: is in validation here and in train in 3_Class/3_class_train\.json; choose one split for both tasks",
    ),
    "entry without a row": (
        lambda f: edit_csv(f, lambda rows: rows.pop(2)),
        r"3_class_train\.json, entry 2 .* is not in Annotations\.csv; add its row",
    ),
    "row without an entry": (
        lambda f: edit_json(f, TRAIN7, lambda entries: entries.pop(2)),
        r"Annotations\.csv, row 4: 'clip_1_\w+_3' is in no file of 7_Class; add it to a split, or exclude it",
    ),
    "labels differ": (
        lambda f: [set_cell(row, 4, "positif")(f) for row in range(2, 26)],
        r"3_class_train\.json, entry 1 .*: text_label '\w+' is 'positif' in Annotations\.csv, row 2; correct one, or exclude clip_1_",
    ),
    "media names differ": (
        set_key(TRAIN3, 1, "video", "other.mp4"),
        r"entry 1 .*: video 'other\.mp4' is 'clip_1_\w+_1\.mp4' in Annotations\.csv, row 2",
    ),
    "texts differ by task": (set_key(TRAIN7, 1, "text", "Lain."), r"7_class_train\.json, entry 1 .*: text 'Lain\.' is '.*' in 3_Class"),
    "emotion against sentiment": (
        lambda f: [set_cell(2, 2, "jijik")(f), set_cell(2, 3, "positif")(f)],
        r"row 2: emotion 'jijik' does not go with sentiment 'positif'; correct one, or exclude clip_1_",
    ),
    "empty text": (
        lambda f: [set_cell(2, 7, " ")(f), set_key(TRAIN3, 1, "text", " ")(f), set_key(TRAIN7, 1, "text", " ")(f)],
        r"3_class_train\.json, entry 1 .*: text is empty; give the transcript, or exclude the clip",
    ),
    "no source video in the name": (
        rename_clip("clip_1_", "clip_x_"),
        r"video_name 'clip_x_\w+_1\.mp4' is not clip_<video>_<Topic>_<number>",
    ),
    "not UTF-8": (
        lambda f: write(f, CSV, (f / CSV).read_bytes() + b"caf\xe9"),
        r"Annotations\.csv, line 26: byte b'\\xe9' is no UTF-8; save",
    ),
    "UTF-16": (
        lambda f: write(f, CSV, (f / CSV).read_text().encode("utf-16")),
        r"Annotations\.csv: UTF-16 or binary, not UTF-8; save the file as UTF-8",
    ),
    "UTF-16 without its mark": (
        lambda f: write(f, TRAIN3, (f / TRAIN3).read_text().encode("utf-16-le")),
        r"3_class_train\.json: UTF-16 or binary",
    ),
    "a pickle": (lambda f: write(f, CSV, pickle.dumps([1])), r"Annotations\.csv: a Python pickle, which can run code when loaded"),
    "an old pickle": (lambda f: write(f, TRAIN7, pickle.dumps([{"a": 1}], 0)), r"7_class_train\.json: a Python pickle, which can run code"),
    "an HTML page": (
        lambda f: write(f, TRAIN3, b"\n<!DOCTYPE html><html>404</html>"),
        r"3_class_train\.json: an HTML page, not annotations",
    ),
    "broken JSON": (
        lambda f: write(f, TRAIN3, (f / TRAIN3).read_bytes()[:-9]),
        r"3_Class/3_class_train\.json: no valid JSON \(.*line .*\); mend it",
    ),
    "NaN": (lambda f: write(f, TRAIN3, b'[{"sample_id": NaN}]'), r"3_class_train\.json: no valid JSON \(NaN is no JSON value\)"),
    "a key twice": (
        lambda f: write(f, TRAIN3, b'[{"label": "a", "label": "b"}]'),
        r"no valid JSON \(key 'label' occurs twice in one object",
    ),
    "deep nesting": (
        lambda f: write(f, TRAIN3, b"[" * 100_000 + b"]" * 100_000),
        r"3_class_train\.json: nested too deeply to be a list of clips",
    ),
    "endless number": (lambda f: write(f, TRAIN3, b"[" + b"9" * 5000 + b"]"), r"3_class_train\.json: no valid JSON \(Exceeds the limit"),
    "an object": (
        lambda f: write(f, TRAIN3, b'{"clips": []}'),
        r"3_class_train\.json: must be a list of objects, one per clip; it is an object",
    ),
    "a list of numbers": (
        lambda f: write(f, TRAIN3, b"[1, 2]"),
        r"3_class_train\.json: must be a list of objects, one per clip; it is a list",
    ),
    "missing key": (
        lambda f: edit_json(f, TRAIN3, lambda entries: entries[0].__setitem__("labels", entries[0].pop("label"))),
        r"3_class_train\.json, entry 1 \(clip_1_.*\): key 'label' is missing; did you mean 'labels'\?",
    ),
    "a number for a label": (set_key(TRAIN3, 2, "label", 1), r"3_class_train\.json, entry 2 .*: 'label' must be text; it is a number"),
    "null text": (set_key(TRAIN7, 2, "text", None), r"7_class_train\.json, entry 2 .*: 'text' must be text; it is null"),
    "half a character": (
        set_key(TRAIN3, 2, "text", "a\ud800"),
        r"3_class_train\.json, entry 2 .*: 'text' holds half a character \('a\\ud800'\)",
    ),
    "a name that leaves the folder": (
        set_cell(2, 1, "../../etc/passwd"),
        r"row 2: audio_name '\.\./\.\./etc/passwd' would leave the corpus folder",
    ),
    "an absolute name": (
        set_cell(2, 0, "/etc/passwd"),
        r"row 2: video_name '/etc/passwd' would leave the corpus folder; give a plain file name",
    ),
    "a Windows path": (set_cell(2, 1, "C:\\a.wav"), r"row 2: audio_name 'C:\\\\a\.wav' would leave the corpus folder"),
    "a URL": (
        set_cell(2, 0, "https://example.org/a.mp4"),
        r"row 2: video_name 'https://example\.org/a\.mp4' is a URL; fetch the file and give its name",
    ),
    "a name with a line break": (set_cell(2, 1, "a\n.wav"), r"row 2: audio_name 'a\\n\.wav' is empty, or holds control characters"),
    "an absent video": (
        lambda f: next((f / "videos").glob("clip_1_*_1.mp4")).unlink(),
        r"row 2: 'clip_1_\w+_1\.mp4' is not in .*/videos or .*release; fetch it, or exclude clip_1_",
    ),
    "no media at all": (
        lambda f: [shutil.rmtree(f / "videos"), shutil.rmtree(f / "audio")],
        r"no media: none of 24 videos is in .*/videos or .*; name the folder that holds them, or make stand-ins: python -m",
    ),
    "a broken marker": (
        lambda f: write(f, "STAND_IN.json", b"[]"),
        r"STAND_IN\.json: must hold a text under 'stand_in'; make the stand-ins again",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_the_error_names_the_fault(release: Path, case: str) -> None:
    spoil, pattern = BAD[case]
    spoil(release)
    with pytest.raises(CorpusError, match=pattern):
        read(release)


def test_all_faults_at_once(release: Path) -> None:
    for case in ("unknown label", "label in capitals", "broken JSON", "a URL", "empty JSON list", "a broken marker"):
        BAD[case][0](release)
    with pytest.raises(CorpusError) as caught:
        read(release)
    first, *faults = str(caught.value).splitlines()
    assert re.fullmatch(r".*/release: \d+ faults", first)
    assert first.endswith(f" {len(faults)} faults")
    for case in ("unknown label", "label in capitals", "broken JSON", "empty JSON list", "a broken marker"):
        assert sum(bool(re.search(BAD[case][1], fault)) for fault in faults) == 1, case


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"absent is no folder; give the folder that holds Annotations\.csv"):
        read(tmp_path / "absent")


def test_excluded_clips_take_their_faults_along(release: Path) -> None:
    set_cell(2, 3, "negatip")(release)
    set_cell(3, 2, "Jijik")(release)
    names = [row[0].removesuffix(".mp4") for row in csv.reader((release / CSV).open(encoding="utf-8", newline=""))][1:]
    corpus = read(release, exclude=names[:2])
    assert len(corpus.clips) == 22
    assert corpus.excluded == tuple(sorted(names[:2]))
    with pytest.raises(CorpusError, match=r"exclude names 'clip_99_Book_1', which is no clip of .*; "):
        read(release, exclude=["clip_99_Book_1"])


def test_a_side_without_clips(release: Path) -> None:
    with pytest.raises(CorpusError, match="no clip is left in validation; exclude fewer"):
        read(release, exclude=[clip.id for clip in read(release).split("validation")])


def test_a_file_that_cannot_be_read(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(CorpusError, match=r"Annotations\.csv: cannot be read \(Permission denied\); look at its permissions"):
        read(release)
