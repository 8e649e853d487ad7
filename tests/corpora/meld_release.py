"""A small corpus in MELD's layout with every quirk of its copies planted; the media only exist unless they are copied in."""

from __future__ import annotations

import csv
from pathlib import Path

HEADER = (
    "Sr No.",
    "Utterance",
    "Speaker",
    "Emotion",
    "Sentiment",
    "Dialogue_ID",
    "Utterance_ID",
    "Season",
    "Episode",
    "StartTime",
    "EndTime",
)
VIDEOS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
EMOTIONS = (
    ("joy", "positive"),
    ("surprise", "negative"),
    ("neutral", "neutral"),
    ("anger", "negative"),
    ("surprise", "positive"),
    ("sadness", "negative"),
    ("fear", "negative"),
    ("disgust", "negative"),
)
Rows = dict[str, list[list[str]]]


def rows() -> Rows:
    """Eight dialogues of four clips in train, two in dev, three in test; ids occur again in every part, and episodes in several."""
    made: Rows = {}
    for part, dialogues, first_episode in (("train", 8, 1), ("dev", 2, 20), ("test", 3, 2)):
        made[part] = []
        for dialogue in range(dialogues):
            for utterance in range(4):
                number = 4 * dialogue + utterance
                emotion, sentiment = EMOTIONS[number % len(EMOTIONS)]
                start = f"00:{number:02d}:10,500"
                times = (start, f"00:{number:02d}:13,000")
                row = (f"I said {part} {number}", "Ross", emotion, sentiment, dialogue, utterance, 1, first_episode + dialogue % 4, *times)
                made[part].append([str(number), *map(str, row)])
    train, dev, test = made["train"], made["dev"], made["test"]
    train[2][1] = "It\x92s \x93fine\x94"
    train[3][9:] = ["00:00:10,000", "00:00:10,000"]
    test[0][9:] = ["00:00:00,000", "00:05:05,000"]
    test[1][1] = train[1][1]
    train.append(["99", "Broken", "Ross", "neutral", "neutral", "125", "3", "1", "1", "00:00:01,000", "00:00:02,000"])
    dev.append(["98", "Gone", "Ross", "neutral", "neutral", "110", "7", "1", "21", "00:00:01,000", "00:00:02,000"])
    return made


def write(folder: Path, made: Rows, encoding: str = "utf-8") -> None:
    for part, lines in made.items():
        with (folder / f"{part}_sent_emo.csv").open("w", encoding=encoding, newline="") as file:
            csv.writer(file).writerows([HEADER, *lines])


def make(folder: Path) -> Path:
    """The corpus, with a test clip that exists twice, an extra clip, and a file as macOS leaves it."""
    folder.mkdir()
    made = rows()
    write(folder, made)
    for part, lines in made.items():
        place = folder / VIDEOS[part]
        place.mkdir()
        for row in lines:
            name = f"dia{row[5]}_utt{row[6]}.mp4"
            if name != "dia110_utt7.mp4":
                (place / name).write_bytes(f"{part} {name}".encode())
    test = folder / VIDEOS["test"]
    (test / "final_videos_testdia0_utt1.mp4").write_bytes(b"the right one")
    (test / "dia77_utt0.mp4").write_bytes(b"not annotated")
    (test / "._dia0_utt0.mp4").write_bytes(b"of macOS")
    return folder
