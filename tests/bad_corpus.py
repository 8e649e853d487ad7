"""Prints what is said of every bad or odd file that the tests know, as the Markdown of docs/bad_corpus.md.

Run:  PYTHONPATH=.:tests:tests/corpora python tests/bad_corpus.py > docs/bad_corpus.md
"""

import re
import shutil
import tempfile
from pathlib import Path

import bad_media
from releases import SMALL, remarks
from test_bad_annotations import BAD
from test_odd_releases import ODD

from omnimer_ray.config import MediaConfig
from omnimer_ray.corpora import indomer
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.generated import mini
from omnimer_ray.errors import CorpusError, MediaError
from omnimer_ray.media.load import load_media


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        print(
            "# The bad corpus\n\nWhat is said of each file; `tests/bad_corpus.py` prints this page, and the tests hold every line of it.\n"
        )
        print("## Annotations\n\n| spoilt | said |\n|---|---|")
        for case in BAD:
            print(f"| {case} | {_cell(_said_of_annotations(place / 'release', case), place)} |")
        print("\n## Releases that can be read\n\n| odd | said |\n|---|---|")
        for case in ODD:
            print(f"| {case} | {_cell(_said_of_release(place / 'odd', case), place)} |")
        print("\n## Media\n\n| file | said |\n|---|---|")
        (place / "media").mkdir()
        for odd in bad_media.make(place / "media"):
            print(f"| {odd.name} | {_cell(_said_of_media(odd, place), place)} |")


def _said_of_annotations(folder: Path, case: str) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    clips = mini.plan(SMALL)
    mini.write_annotations(clips, folder)
    for room, suffix in (("videos", "mp4"), ("audio", "wav")):
        (folder / room).mkdir()
        for clip in clips:
            (folder / room / f"{clip.id}.{suffix}").write_bytes(b"media")
    spoil, said = BAD[case]
    spoil(folder)
    try:
        indomer.read(folder, cache=folder.parent / "cache")
    except CorpusError as error:
        return next(line for line in str(error).splitlines() if re.search(said, line))
    return "accepted"


def _said_of_release(folder: Path, case: str) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(mini.make(SMALL, folder.parent / "small_mini", workers=1), folder)
    spoil, said = ODD[case]
    spoil(folder)
    return next(line for line in remarks(folder) if re.search(said, line))


def _said_of_media(odd: bad_media.Odd, place: Path) -> str:
    labels = dict.fromkeys(("sentiment", "emotion", "text_sentiment", "video_sentiment", "audio_sentiment"))
    clip = Clip(odd.name, "1", "Sharing", "train", "", **labels, video_path=odd.video, audio_path=odd.audio)
    try:
        media = load_media(clip, MediaConfig(max_sec=30), place / "cache")
    except MediaError as error:
        return str(error)
    return f"{len(media.frames)} frames at {media.sampled_fps:.2f}, {media.audio_sec:.2f} s of sound" + (", cut" if media.cut else "")


def _cell(text: str, place: Path) -> str:
    told = re.sub(f"{re.escape(str(place))}/(media/)?", "", text).strip().removeprefix("- ")
    return told[:240].replace("|", "\\|").replace("<", "&lt;").encode("utf-8", "replace").decode()


if __name__ == "__main__":
    main()
