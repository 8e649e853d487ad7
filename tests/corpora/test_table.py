"""A plain table of clips: what its columns and words may be, the split that is made for it, and every fault with its way out."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from omnimer_ray.corpora import load, table
from omnimer_ray.corpora.assembly import Reading
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import CorpusError

HEADER = ("clip", "video", "text", "sentiment", "emotion", "source_video")
ROWS = [
    (
        f"c{index}",
        f"media/c{index}.mp4",
        f"Text {index}",
        ("negative", "neutral", "positive")[index % 3],
        ("sad", "neutral", "joy")[index % 3],
        f"v{index % 5}",
    )
    for index in range(15)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """15 clips of 5 source videos; the media only exist."""
    folder = tmp_path / "own"
    (folder / "media").mkdir(parents=True)
    for row in ROWS:
        (folder / row[1]).write_bytes(row[0].encode())
    write(folder / "My Clips.csv")
    return folder / "My Clips.csv"


def write(path: Path, header: tuple[str, ...] = HEADER, rows: list[tuple[str, ...]] | None = None, **how: str) -> None:
    with path.open("w", encoding=how.get("encoding", "utf-8"), newline="") as file:
        csv.writer(file, delimiter=how.get("delimiter", ",")).writerows([header, *(ROWS if rows is None else rows)])


def without(*columns: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    kept = [place for place, name in enumerate(HEADER) if name not in columns]
    return tuple(HEADER[place] for place in kept), [tuple(row[place] for place in kept) for row in ROWS]


def changed(row: int, column: str, value: str) -> list[tuple[str, ...]]:
    """The rows with one cell changed; `row` as the errors count them."""
    rows = [list(one) for one in ROWS]
    rows[row - 2][HEADER.index(column)] = value
    return [tuple(one) for one in rows]


def read(path: Path, **how: object) -> Corpus:
    return table.read(path, Reading(path.parent / "cache", **how))  # type: ignore[arg-type]


def test_columns_by_name_are_clips(path: Path) -> None:
    corpus = read(path)
    first = corpus.clips[0]
    assert (corpus.name, corpus.reported, corpus.development, corpus.notes) == ("table-my-clips", "validation", None, ())
    assert (first.id, first.text, first.sentiment, first.emotion, first.source_video) == ("c0", "Text 0", "negative", "sadness", "v0")
    assert (first.video_path, first.audio_path, first.text_sentiment) == (path.parent / "media" / "c0.mp4", None, None)
    assert load(f"table:{path}", cache=path.parent / "cache").fingerprint == corpus.fingerprint


def test_a_split_by_source_video_is_made_once_and_written_down(path: Path) -> None:
    corpus = read(path)
    assert {len({clip.split for clip in corpus.clips if clip.source_video == video}) for video in ("v0", "v1", "v2", "v3", "v4")} == {1}
    assert len(corpus.split("validation")) == 3
    assert corpus.warnings == ("the table has no split; one by source video was made from seed 0 and written to My Clips.split.csv",)
    write(path, rows=[("c99", "media/c0.mp4", "New", "neutral", "neutral", "v9"), *ROWS])
    with pytest.raises(
        CorpusError, match=r"My Clips\.split\.csv: 1 clips of My Clips\.csv have no part in it, as 'c99'; add them, or remove"
    ):
        read(path)
    with (path.parent / "My Clips.split.csv").open("a") as file:
        file.write("c99,train\n")
    again = {clip.id: clip.split for clip in read(path).clips}
    assert again == {**{clip.id: clip.split for clip in corpus.clips}, "c99": "train"}


def test_another_seed_makes_another_split(path: Path) -> None:
    first = [clip.split for clip in read(path).clips]
    (path.parent / "My Clips.split.csv").unlink()
    found = set()
    for seed in range(1, 6):
        path.with_suffix(".yaml").write_text(f"split_seed: {seed}\n")
        found.add(tuple(clip.split for clip in read(path).clips))
        (path.parent / "My Clips.split.csv").unlink()
    assert len(found | {tuple(first)}) > 1


def test_without_source_videos_every_clip_is_its_own_and_the_tables_say_so(path: Path) -> None:
    write(path, *without("source_video"))
    corpus = read(path)
    assert {clip.source_video for clip in corpus.clips} == {clip.id for clip in corpus.clips}
    assert corpus.notes == (table.UNKNOWN_VIDEOS,)
    write(path, ("clip", "video", "text", "sentiment", "emotion", "group"))
    assert {clip.source_video for clip in read(path).clips} == {"v0", "v1", "v2", "v3", "v4"}


@pytest.mark.parametrize(
    ("parts", "reported", "development"),
    [
        (("train", "val", "train"), "validation", None),
        (("Training", "TEST", "train"), "test", None),
        (("train", "dev", "test"), "test", "validation"),
    ],
)
def test_the_parts_decide_what_is_reported(path: Path, parts: tuple[str, ...], reported: str, development: str | None) -> None:
    write(path, (*HEADER, "split"), [(*row, parts[int(row[0][1:]) % 3]) for row in ROWS])
    corpus = read(path)
    assert (corpus.reported, corpus.development) == (reported, development)
    assert not path.with_name("My Clips.split.csv").exists()
    assert any("share their source video with train" in note for note in corpus.shared_videos)


def test_a_mapping_names_columns_words_separator_and_encoding(path: Path) -> None:
    header = ("Fichier", "video", "Texte", "Sentiment", "Émotion", "Vidéo")
    french = {"sad": "tristesse", "joy": "joie", "neutral": "neutre", "negative": "négatif", "positive": "positif"}
    rows = [(*row[:3], french.get(row[3], row[3]), french[row[4]], row[5]) for row in ROWS]
    write(path, header, rows, delimiter=";", encoding="cp1252")
    path.with_suffix(".yaml").write_text(
        "columns: {clip: Fichier, text: Texte, sentiment: Sentiment, emotion: Émotion, source_video: Vidéo}\n"
        "labels: {sentiment: {négatif: negative, neutre: neutral}, emotion: {tristesse: sadness, joie: happiness, neutre: neutral}}\n"
        "separator: ';'\nencoding: cp1252\n",
        encoding="utf-8",
    )
    assert [(clip.sentiment, clip.emotion) for clip in read(path).clips[:3]] == [
        ("negative", "sadness"),
        ("neutral", "neutral"),
        ("positive", "happiness"),
    ]


@pytest.mark.parametrize(
    ("word", "label"), [("Joy", "happiness"), (" SAD ", "sadness"), ("kemarahan", "anger"), ("害怕", "fear"), ("惊讶", "surprise")]
)
def test_english_indonesian_and_chinese_words_are_known(path: Path, word: str, label: str) -> None:
    write(path, rows=changed(2, "emotion", word))
    assert read(path).clips[0].emotion == label


def test_sentiment_from_numbers_by_thresholds(path: Path) -> None:
    scores = {"negative": "-0,4", "neutral": "0.1", "positive": "2"}
    write(path, rows=[(*row[:3], scores[row[3]], *row[4:]) for row in ROWS])
    with pytest.raises(
        CorpusError, match=r"sentiment: 15 numbers, as '-0,4'; write in My Clips\.yaml: thresholds: \{negative: 0, positive: 0\}"
    ):
        read(path)
    path.with_suffix(".yaml").write_text("thresholds: {negative: -0.2, positive: 0.2}\n")
    assert [clip.sentiment for clip in read(path).clips[:3]] == ["negative", "neutral", "positive"]


def test_parquet_is_read_as_the_csv_is(path: Path) -> None:
    frame = pl.DataFrame(ROWS, schema=HEADER, orient="row")
    other = path.with_suffix(".parquet")
    frame.write_parquet(other)
    assert read(other).fingerprint == read(path).fingerprint


def test_clips_without_a_main_label_are_left_out_with_the_reason(path: Path) -> None:
    rows = changed(2, "sentiment", "")
    rows[0] = (*rows[0][:4], "", rows[0][5])
    write(path, rows=rows)
    corpus = read(path)
    assert (len(corpus.clips), corpus.excluded, corpus.reasons) == (14, ("c0",), {"c0": "it has neither a sentiment nor an emotion"})
    assert corpus.warnings[0] == "1 clips have neither a sentiment nor an emotion and are left out, as 'c0' (row 2)"


def test_without_a_column_of_videos_files_are_called_like_clips(path: Path) -> None:
    before = read(path)
    write(path, *without("video"))
    (path.parent / "media" / "c0.wav").write_bytes(b"sound")
    corpus = read(path, media=path.parent / "media")
    assert [clip.video_path for clip in corpus.clips] == [clip.video_path for clip in before.clips]
    assert [clip.audio_path for clip in corpus.clips][:2] == [path.parent / "media" / "c0.wav", None]


def test_new_columns_are_told(path: Path) -> None:
    write(path, (*HEADER, "mood"), [(*row, "x") for row in ROWS])
    assert read(path).warnings[0] == "My Clips.csv: new columns, which are not read: mood"


def as_yaml(text: str) -> Callable[[Path], None]:
    return lambda path: path.with_suffix(".yaml").write_text(text, encoding="utf-8") and None


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "unknown words": (
        lambda path: write(path, rows=[(*row[:4], "triste" if row[4] == "sad" else row[4], row[5]) for row in ROWS]),
        r"emotion: 1 words that are no known labels: 'triste' 5 times; write in My Clips\.yaml: labels: \{emotion: \{triste: LABEL\}\}, each with one of",
    ),
    "no such column": (
        lambda path: write(path, ("Name", *HEADER[1:])),
        r"row 1: column 'clip' is missing; if it has another name, write in My Clips\.yaml: columns: \{clip: THEIRS\} \(theirs: Name\)",
    ),
    "a word that resembles one": (
        lambda path: write(path, rows=changed(2, "sentiment", "neutre")),
        r"sentiment: 1 words that are no known labels: 'neutre' 1 times \(perhaps neutral\); write in",
    ),
    "videos of other names": (
        lambda path: write(path, *without("video")),
        r"no video in .*own is called like a clip for 15, c0, c1, c2, c3, c4, c5 and 9 more; name the folder of the media with --media, or add",
    ),
    "no labels": (
        lambda path: write(path, *without("sentiment", "emotion")),
        r"neither 'sentiment' nor 'emotion' holds a label; fill one in",
    ),
    "semicolons": (
        lambda path: write(path, delimiter=";"),
        r"row 1: fields are separated by ';', not by ','; save the file with ',', or write in My Clips\.yaml: separator: ';'",
    ),
    "another encoding": (
        lambda path: write(path, rows=changed(3, "text", "C'est gâté"), encoding="cp1252"),
        r"line 3: byte b'\\xe2' is no UTF-8; save the file as UTF-8, or name its encoding in My Clips\.yaml, as: encoding: cp1252",
    ),
    "an id that Excel rewrote": (lambda path: write(path, rows=changed(3, "clip", "1E+05")), r"row 3: clip '1E\+05' is a number that a"),
    "an id twice": (lambda path: write(path, rows=changed(3, "clip", "c0")), r"row 3: 'c0' is in row 2 already; keep one of the two"),
    "no text": (lambda path: write(path, rows=changed(3, "text", " ")), r"row 3: text is empty; give the transcript, or exclude c1"),
    "no video": (lambda path: write(path, rows=changed(3, "video", "")), r"row 3: video is empty, and a video is needed for every clip"),
    "an absent video": (lambda path: write(path, rows=changed(3, "video", "media/x.mp4")), r"row 3: 'x\.mp4' is not in .*media; fetch it"),
    "a URL": (lambda path: write(path, rows=changed(3, "video", "http://a/b.mp4")), r"row 3: video 'http://a/b\.mp4' is a URL, or leaves"),
    "a path upwards": (
        lambda path: write(path, rows=changed(3, "video", "../x.mp4")),
        r"row 3: video '\.\./x\.mp4' is a URL, or leaves its",
    ),
    "a short row": (lambda path: write(path, rows=[ROWS[0], ROWS[1][:4]]), r"row 3: 4 fields where the header has 6"),
    "an unknown part": (
        lambda path: write(path, (*HEADER, "split"), [(*row, "trian") for row in ROWS]),
        r"row 2: split 'trian' is unknown; did you mean 'train'",
    ),
    "one part": (
        lambda path: write(path, (*HEADER, "split"), [(*row, "train") for row in ROWS]),
        r"no clip is left in validation; exclude fewer",
    ),
    "too few source videos": (
        lambda path: write(path, rows=[(*row[:5], "v") for row in ROWS]),
        r"a split of 5 parts needs as many source videos; add clips, a column 'split', or a larger validation_share",
    ),
    "a mapping that is no YAML": (as_yaml("columns: [\n"), r"My Clips\.yaml is no mapping of a table: "),
    "a misspelt setting": (as_yaml("colums: {}\n"), r"My Clips\.yaml is no mapping of a table: My Clips\.yaml: unknown field 'colums'"),
    "a column that we do not know": (as_yaml("columns: {clips: a}\n"), r"columns: unknown name 'clips'; did you mean 'clip'\?"),
    "a label that we do not have": (as_yaml("labels: {emotion: {joie: joy}}\n"), r"labels of emotion: 'joy' is no label; known: 'anger', "),
    "an encoding that nobody knows": (
        as_yaml("encoding: latin-99\n"),
        r"encoding 'latin-99' is unknown; write one as utf-8, cp1252 or gb18030",
    ),
    "a separator that is none": (as_yaml("separator: '#'\n"), r"separator: Input should be ',', ';', '\\t' or '\|'"),
    "two videos of one name": (
        lambda path: [
            write(path, *without("video")),
            (path.parent / "c0.mp4").write_bytes(b"a"),
            (path.parent / "c0.mkv").write_bytes(b"b"),
        ],
        r"row 2: the video may be 'c0\.mkv' or 'c0\.mp4' in .*own; keep one, or add a column 'video'",
    ),
    "thresholds the wrong way round": (as_yaml("thresholds: {negative: 1, positive: 0}\n"), r"negative 1\.0 must not exceed positive 0\.0"),
    "a damaged split": (
        lambda path: path.with_name("My Clips.split.csv").write_text("clip,part\n"),
        r"My Clips\.split\.csv, row 1: column 'split' is missing",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_fault_is_named(path: Path, name: str) -> None:
    spoil, message = BAD[name]
    spoil(path)
    with pytest.raises(CorpusError, match=message):
        read(path)


def test_a_sheet_in_another_format_is_refused(path: Path) -> None:
    with pytest.raises(CorpusError, match=r"x\.xlsx is no \.csv and no \.parquet file; save the sheet as CSV in UTF-8"):
        read(path.with_name("x.xlsx"))
    with pytest.raises(CorpusError, match=r"My Clip\.csv is not in .*own; did you mean 'My Clips\.csv'\?"):
        read(path.with_name("My Clip.csv"))
    path.with_suffix(".parquet").write_bytes(b"no table")
    with pytest.raises(CorpusError, match=r"My Clips\.parquet: no readable Parquet table of plain columns \("):
        read(path.with_suffix(".parquet"))


def test_a_split_that_cannot_be_written_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omnimer_ray.corpora import table_split
    from omnimer_ray.errors import StorageError

    def refuse(*args: object) -> None:
        raise StorageError("cannot write it")

    monkeypatch.setattr(table_split, "write_atomically", refuse)
    assert read(path).warnings == ("the table has no split; the one made from seed 0 is not written down: cannot write it",)
