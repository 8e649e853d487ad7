"""A release is read as it is, and the released labels as PAPER.md, section 3, counts them."""

import csv
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from releases import CSV, SMALL, TRAIN3, TRAIN7, edit_csv, edit_json, read

from omnimer_ray.corpora import indomer
from omnimer_ray.corpora.assembly import Reading
from omnimer_ray.corpora.clips import MODALITIES, Corpus
from omnimer_ray.corpora.generated import mini
from omnimer_ray.corpora.indomer_join import mended


def test_clips_are_in_order_with_labels_and_groups(release: Path) -> None:
    corpus = read(release)
    assert (corpus.name, corpus.stand_in, corpus.warnings, corpus.excluded) == ("indomer", None, (), ())
    for clip, wanted in zip(corpus.clips, mini.plan(SMALL), strict=True):
        assert (clip.id, clip.source_video, clip.topic, clip.split) == (wanted.id, str(wanted.video), wanted.topic, wanted.split)
        assert (clip.emotion, clip.text) == (wanted.emotion, wanted.text)
        assert {name: clip.modality_sentiment(name) for name in MODALITIES} == wanted.sentiments
        assert clip.video_path == release / "videos" / f"{clip.id}.mp4"
        assert clip.audio_path == release / "audio" / f"{clip.id}.wav"


def test_media_may_lie_flat_or_elsewhere(release: Path, tmp_path: Path) -> None:
    whole = read(release)
    for path in [*(release / "videos").iterdir(), *(release / "audio").iterdir()]:
        shutil.move(path, release / path.name)
    flat = read(release)
    assert flat.clips[0].video_path == release / f"{flat.clips[0].id}.mp4"
    elsewhere = tmp_path / "media" / "videos"
    elsewhere.mkdir(parents=True)
    for path in release.glob("*.mp4"):
        shutil.move(path, elsewhere / path.name)
    for path in release.glob("*.wav"):
        shutil.move(path, tmp_path / "media" / path.name)
    given = read(release, media=tmp_path / "media")
    assert given.clips[0].video_path == elsewhere / f"{flat.clips[0].id}.mp4"
    assert whole.fingerprint == flat.fingerprint == given.fingerprint


def test_absent_wavs_leave_the_videos_own_track(release: Path) -> None:
    next((release / "audio").glob("clip_1_*_1.wav")).unlink()
    corpus = read(release)
    assert corpus.clips[0].audio_path is None
    assert corpus.warnings == ("1 of 24 clips have no wav; their videos' own tracks are used",)


def test_annotations_alone_can_be_read(release: Path) -> None:
    shutil.rmtree(release / "videos")
    corpus = read(release, need_media=False)
    assert len(corpus.clips) == 24
    assert all(clip.video_path is None for clip in corpus.clips)


def test_mojibake_is_mended(release: Path) -> None:
    text = "Tidak atau bisa ya？"
    edit_csv(release, lambda rows: rows[1].__setitem__(7, text.encode("gb18030").decode("latin-1")))
    for name in (TRAIN3, TRAIN7):
        edit_json(release, name, lambda entries: entries[0].__setitem__("text", text))
    corpus = read(release)
    assert corpus.clips[0].text == text
    assert corpus.warnings == (
        "Annotations.csv: 1 texts are mojibake (GBK punctuation read as Latin-1); mended, as the JSON files have them",
    )
    assert mended("it¡¯s not good") == "it’s not good"
    assert mended("café ¡") == "café ¡"


def test_new_values_of_a_later_release_are_reported(release: Path) -> None:
    edit_csv(release, lambda rows: [row.append("speaker" if index == 0 else "s1") for index, row in enumerate(rows)])
    edit_json(release, TRAIN3, lambda entries: [entry.__setitem__("label_id", 3) for entry in entries])
    (release / "7_Class" / "7_class_dev.json").write_text("[]")
    edit_csv(release, lambda rows: rows[1].__setitem__(7, "Lain sekali."))
    corpus = read(release)
    assert corpus.warnings[:3] == (
        "Annotations.csv: new columns: speaker",
        "3_Class/3_class_train.json: new keys: label_id",
        "7_Class: new files, which are not read: 7_class_dev.json",
    )
    assert corpus.warnings[3].startswith(
        "Annotations.csv, row 2: text 'Lain sekali.' is not used; 3_Class/3_class_train.json, entry 1 (clip_1_"
    )
    assert corpus.clips[0].text != "Lain sekali."


def test_a_new_topic_is_reported_and_opinions_becomes_opinion(release: Path) -> None:
    topic = mini.plan(SMALL)[0].topic
    for new, warnings in (("Astronomy", ("Annotations.csv: new topics: Astronomy",)), ("Opinions", ())):
        for path in (release / CSV, release / TRAIN3, release / TRAIN7):
            path.write_bytes(path.read_bytes().replace(f"clip_1_{topic}_".encode(), f"clip_1_{new}_".encode()))
        corpus = read(release, need_media=False)
        assert corpus.warnings[: len(warnings)] == warnings
        topic = new
    assert corpus.clips[0].topic == "Opinion"


def test_a_test_split_and_other_capitals_load(release: Path) -> None:
    for kind in ("3", "7"):
        entries = json.loads((release / f"{kind}_Class" / f"{kind}_class_val.json").read_text())
        last = entries[-1]["sample_id"].split("_")[1]
        moved = [entry for entry in entries if entry["sample_id"].split("_")[1] == last]
        (release / f"{kind}_Class" / f"{kind}_class_test.json").write_text(json.dumps(moved))
        (release / f"{kind}_Class" / f"{kind}_class_val.json").write_text(json.dumps([entry for entry in entries if entry not in moved]))
        (release / f"{kind}_Class").rename(release / f"{kind}_class")
    corpus = read(release)
    assert [len(corpus.split(name)) for name in ("train", "validation", "test")] == [14, 8, 2]


def test_fingerprint_covers_labels_media_exclusions_and_stand_ins(release: Path) -> None:
    first = read(release).fingerprint
    assert read(release).fingerprint == first
    seen = {first, read(release, exclude=[read(release).clips[3].id]).fingerprint}
    (release / "STAND_IN.json").write_text('{"stand_in": "drawn"}')
    marked = read(release)
    assert marked.stand_in == "drawn"
    seen.add(marked.fingerprint)
    path = marked.clips[0].video_path
    assert path is not None
    path.write_bytes(b"other contents")
    seen.add(read(release).fingerprint)
    assert len(seen) == 4


def test_media_overwritten_under_their_old_size_and_time_are_another_corpus(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnimer_ray.corpora.files.SETTLED_SEC", 0)
    corpus = read(release)
    path = corpus.clips[0].video_path
    assert path is not None
    before = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = read(release).fingerprint
    assert changed != corpus.fingerprint
    (memo,) = (release.parent / "cache" / "hashes").iterdir()
    memo.write_text("[broken")
    assert read(release).fingerprint == changed


def test_the_marker_of_a_media_folder_counts(release: Path, tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    for name in ("videos", "audio"):
        shutil.move(release / name, media / name)
    (media / "STAND_IN.json").write_text('{"stand_in": "drawn"}')
    assert read(release, media=media).stand_in == "drawn"


@pytest.fixture(scope="module")
def released(indomer_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return indomer.read(indomer_release, Reading(cache=tmp_path_factory.mktemp("cache"), need_media=False))


def test_the_release_has_the_published_partition(released: Corpus) -> None:
    train, validation = released.split("train"), released.split("validation")
    assert (len(train), len({clip.source_video for clip in train})) == (1588, 173)
    assert (len(validation), len({clip.source_video for clip in validation})) == (356, 34)
    assert len({clip.topic for clip in released.clips}) == 13
    assert Counter(clip.emotion for clip in validation) == Counter(
        neutral=262, happiness=39, sadness=32, anger=13, disgust=5, fear=4, surprise=1
    )
    assert Counter(clip.emotion for clip in train) == Counter(
        neutral=1054, happiness=278, sadness=142, anger=69, disgust=33, fear=5, surprise=7
    )


def test_the_release_has_the_published_modality_labels(released: Corpus) -> None:
    for name, counts in (("text", (281, 1320, 343)), ("audio", (252, 1009, 683)), ("video", (298, 996, 650))):
        found = Counter(clip.modality_sentiment(name) for clip in released.clips)
        assert (found["negative"], found["neutral"], found["positive"]) == counts
    assert Counter(clip.sentiment for clip in released.clips) == Counter(negative=303, neutral=1316, positive=325)


def test_the_release_has_fifteen_mended_texts_and_no_fault(released: Corpus, indomer_release: Path) -> None:
    assert released.warnings == (
        "Annotations.csv: 15 texts are mojibake (GBK punctuation read as Latin-1); mended, as the JSON files have them",
    )
    with (indomer_release / CSV).open(encoding="utf-8", newline="") as file:
        written = {row["video_name"].removesuffix(".mp4"): row["text"] for row in csv.DictReader(file)}
    assert sum(clip.text != written[clip.id] for clip in released.clips) == 15
    case = next(clip for clip in released.clips if clip.id == "clip_179_Blogger_8")
    assert "galau" in case.text
    assert (case.split, case.text_sentiment, case.audio_sentiment, case.video_sentiment) == (
        "validation",
        "negative",
        "neutral",
        "positive",
    )
    assert (case.sentiment, case.emotion) == ("negative", "sadness")
