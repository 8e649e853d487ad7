"""CH-SIMS in the forms that it is handed around in, made from the Chinese generated corpus; every fault names file, row and way out."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from omnimer_ray.corpora import ch_sims, load
from omnimer_ray.corpora.assembly import Reading
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.corpora.generated import ch_sims_layout, mini
from omnimer_ray.corpora.generated.plan import plan
from omnimer_ray.corpora.generated.recipe import MiniRecipe, SplitSize
from omnimer_ray.errors import CorpusError

SMALL = MiniRecipe(
    language="zh",
    train=SplitSize(num_clips=12, num_videos=3),
    validation=SplitSize(num_clips=3, num_videos=3),
    test=SplitSize(num_clips=6, num_videos=3),
)
SHARED = (
    "6 of 6 test clips share their source video with train, so the same people and scenes are in both; --folds 5 splits by source video",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """21 clips in v1's layout; the media only exist."""
    place = tmp_path / "CH-SIMS"
    clips = plan(SMALL)
    for clip in clips:
        path = place / "Raw" / ch_sims_layout.video_of(clip) / f"{clip.number:04d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip.id.encode())
    ch_sims_layout.write_annotations(clips, place)
    return place


def read(folder: Path, **how: object) -> Corpus:
    return ch_sims.read(folder, Reading(folder.parent / "cache", **how))  # type: ignore[arg-type]


def rows_of(folder: Path, name: str = "label.csv") -> list[list[str]]:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def edit(folder: Path, change: Callable[[list[list[str]]], object], name: str = "label.csv") -> None:
    rows = rows_of(folder, name)
    change(rows)
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def set_cell(row: int, column: str, value: str) -> Callable[[Path], None]:
    return lambda folder: edit(folder, lambda rows: rows[row - 1].__setitem__(rows[0].index(column), value))


def test_clips_have_three_classes_by_sign_and_the_corpus_its_own_parts(folder: Path) -> None:
    corpus = read(folder)
    first, planned = corpus.clips[0], plan(SMALL)[0]
    assert (first.id, first.source_video, first.split, first.text) == ("video_0001_0001", "video_0001", "train", planned.text)
    assert [clip.text_sentiment for clip in corpus.clips] == [clip.sentiments["text"] for clip in plan(SMALL)]
    assert {clip.emotion for clip in corpus.clips} == {None}
    assert (corpus.name, corpus.reported, corpus.development) == ("ch_sims", "test", "validation")
    assert [len(corpus.split(name)) for name in ("train", "validation", "test")] == [12, 3, 6]
    assert first.video_path == folder / "Raw" / "video_0001" / "0001.mp4"
    assert (corpus.notes, corpus.shared_videos, corpus.warnings) == ((), SHARED, ())


def test_the_folder_above_and_the_command_lines_name_are_enough(folder: Path) -> None:
    assert read(folder.parent).fingerprint == read(folder).fingerprint
    assert load(f"ch_sims:{folder}", cache=folder.parent / "cache").fingerprint == read(folder).fingerprint


def test_a_file_without_header_says_which_order_it_took(folder: Path) -> None:
    before = read(folder)
    edit(folder, lambda rows: rows.pop(0))
    after = read(folder)
    assert after.clips == before.clips
    assert after.warnings == (
        "label.csv has no header line; its columns are taken as video_id, clip_id, text, label, label_T, label_A, label_V, annotation, mode",
    )


def test_ids_that_lost_their_zeros_are_matched_by_number(folder: Path) -> None:
    before = read(folder)
    edit(folder, lambda rows: [row.__setitem__(1, row[1].lstrip("0")) for row in rows[1:]])
    assert read(folder).clips == before.clips


@pytest.mark.parametrize("name", ["ch-simsv2s", "CH-SIMS v2(s)"])
def test_both_folders_of_v2_with_their_clip_names_and_extra_clips(folder: Path, name: str) -> None:
    place = folder.with_name(name)
    folder.rename(place)
    (place / "label.csv").rename(place / "meta.csv")
    for path in sorted((place / "Raw").glob("*/*.mp4")):
        path.rename(path.with_name(f"0{path.name}"))
    (place / "Raw" / "video_0001").rename(place / "Raw" / "aqgy3_0001")
    edit(place, lambda rows: [row.__setitem__(0, "aqgy3_0001") for row in rows if row[0] == "video_0001"], "meta.csv")
    (place / "Raw" / "video_0002" / "00099.mp4").write_bytes(b"not annotated")
    corpus = read(place.parent)
    assert {corpus.clips[0].id, corpus.clips[-1].id} == {"aqgy3_0001_00001", "video_0003_00007"}
    assert corpus.warnings == ("media files that belong to no clip and are not read: 1, '00099.mp4'",)


def wrong_order(folder: Path) -> None:
    """The header is lost, and the fused label stands last of the four."""
    edit(folder, lambda rows: (rows.pop(0), [row.insert(6, row.pop(3)) for row in rows]))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (lambda f: (f / "label.csv").unlink(), r"label\.csv: missing in .*CH-SIMS; known: 'Raw'"),
    "no number": (set_cell(3, "clip_id", "one"), r"label\.csv, row 3: clip_id 'one' is no number; correct it, or exclude the clip"),
    "an empty id": (set_cell(3, "clip_id", " "), r"row 3: 'clip_id' is empty; give every clip an id"),
    "a rewritten id": (set_cell(3, "clip_id", "1E+05"), r"row 3: clip_id '1E\+05' is a number that a spreadsheet program rewrote; format"),
    "a path as id": (set_cell(3, "video_id", "../x"), r"row 3: video_id '\.\./x' would leave the corpus folder"),
    "a clip twice": (lambda f: edit(f, lambda rows: rows.append(rows[1])), r"row 23: 'video_0001_0001' is in row 2 already"),
    "an unknown part": (set_cell(3, "mode", "dev"), r"row 3: unknown label 'dev' in 'mode'; known: 'test', 'train', 'valid'"),
    "no score": (set_cell(3, "label_T", "high"), r"row 3: label_T 'high' is no number from -1 to 1"),
    "a score of another scale": (set_cell(3, "label_A", "3"), r"row 3: label_A '3' is no number from -1 to 1"),
    "a score against its annotation": (
        lambda f: edit(f, lambda rows: rows[2].__setitem__(7, "Neutral" if rows[2][7] != "Neutral" else "Positive")),
        r"row 3: annotation '\w+' does not go with label '-?[01]\.\d'; correct one, or exclude the clip",
    ),
    "columns in another order": (
        wrong_order,
        r"'annotation' agrees with 'label_V' in 21 of 21 rows, and with 'label' in \d+; the columns are in another order: write the header",
    ),
    "no transcript": (set_cell(3, "text", ""), r"row 3: text is empty; give the transcript, or exclude video_0001_0002"),
    "an absent video": (
        lambda f: (f / "Raw" / "video_0001" / "0002.mp4").unlink(),
        r"row 3: '0002\.mp4' is not in .*Raw/video_0001; fetch it, or exclude video_0001_0002",
    ),
    "two files of one number": (
        lambda f: shutil.copy(f / "Raw" / "video_0001" / "0002.mp4", f / "Raw" / "video_0001" / "2.mp4"),
        r"Raw/video_0001: '0002\.mp4' and '2\.mp4' have one number; keep one",
    ),
    "no videos": (lambda f: shutil.rmtree(f / "Raw"), r"no media: none of 21 videos is in .*video_0001; name the folder that holds them"),
    "no valid part": (
        lambda f: edit(f, lambda rows: [row.__setitem__(8, "train") for row in rows if row[8] == "valid"]),
        r"no clip is left in validation; exclude fewer",
    ),
    "semicolons": (
        lambda f: (f / "label.csv").write_text((f / "label.csv").read_text(encoding="utf-8").replace(",", ";"), encoding="utf-8"),
        r"label\.csv, row 1: fields are separated by ';', not by ','; save the file with ','",
    ),
    "another encoding": (
        lambda f: (f / "label.csv").write_text((f / "label.csv").read_text(encoding="utf-8"), encoding="gb18030"),
        r"label\.csv, line 2: byte .* is no UTF-8; save the file as UTF-8",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_fault_is_named(folder: Path, name: str) -> None:
    spoil, message = BAD[name]
    spoil(folder)
    with pytest.raises(CorpusError, match=message):
        read(folder)


def test_all_faults_are_raised_together(folder: Path) -> None:
    set_cell(3, "label_T", "high")(folder)
    set_cell(4, "mode", "dev")(folder)
    with pytest.raises(CorpusError, match=r"CH-SIMS: 2 faults\n"):
        read(folder)


def test_excluded_clips_are_left_out(folder: Path) -> None:
    assert len(read(folder, exclude=("video_0001_0002",)).clips) == 20
    with pytest.raises(CorpusError, match=r"exclude names 'video_9', which is no clip of "):
        read(folder, exclude=("video_9",))


def test_two_copies_in_one_folder_are_not_chosen_between(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("ch-simsv2s"))
    with pytest.raises(CorpusError, match=r"holds CH-SIMS and ch-simsv2s; name one of them"):
        read(folder.parent)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"nowhere is no folder; give the folder that holds label.csv or meta.csv"):
        read(tmp_path / "nowhere")


def test_the_generated_corpus_is_read_from_its_own_files(corpus_cache: Path) -> None:
    corpus = mini.load(SMALL, cache=corpus_cache, workers=1)
    assert (corpus.name, len(corpus.clips), corpus.reported, corpus.shared_videos) == ("mini_zh", 21, "test", SHARED)
    assert corpus.stand_in == "generated faces and synthesised speech (mini_zh corpus)"
    path = corpus.clips[0].video_path
    assert path is not None
    assert path.stat().st_size > 1000
    copied = ch_sims.read(path.parents[2], Reading(corpus_cache))
    assert (copied.name, copied.stand_in) == ("ch_sims", corpus.stand_in), "a copy of generated media is still a stand-in"
    planned = mini.load(SMALL, cache=corpus_cache.with_name("none"), need_media=False)
    assert [clip.text for clip in planned.clips] == [clip.text for clip in corpus.clips]
    assert planned.fingerprint == corpus.fingerprint != mini.load(need_media=False, cache=corpus_cache).fingerprint
