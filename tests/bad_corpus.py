"""Print the error or warning for each bad or odd file of the tests, as the Markdown of docs/bad_corpus.md.

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
from omnimer_ray.corpora.assembly import Reading
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.generated import indomer_layout, mini
from omnimer_ray.errors import CorpusError, MediaError
from omnimer_ray.media.load import load_media


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        print(
            "# The bad corpus\n\nThe error or warning for each file. `tests/bad_corpus.py` prints this page; the tests check the error of each file.\n"
        )
        print("## Annotations\n\n| fault | message |\n|---|---|")
        for case in BAD:
            print(f"| {case} | {_cell(_annotations_message(place / 'release', case), place)} |")
        print("\n## Releases that can be read\n\n| fault | message |\n|---|---|")
        for case in ODD:
            print(f"| {case} | {_cell(_release_message(place / 'odd', case), place)} |")
        print("\n## Media\n\n| file | message |\n|---|---|")
        (place / "media").mkdir()
        for odd in bad_media.make(place / "media"):
            print(f"| {odd.name} | {_cell(_media_message(odd, place), place)} |")


def _annotations_message(folder: Path, case: str) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    clips = mini.plan(SMALL)
    indomer_layout.write_annotations(clips, folder)
    for room, suffix in (("videos", "mp4"), ("audio", "wav")):
        (folder / room).mkdir()
        for clip in clips:
            (folder / room / f"{clip.id}.{suffix}").write_bytes(b"media")
    spoil, pattern = BAD[case]
    spoil(folder)
    try:
        indomer.read(folder, Reading(cache=folder.parent / "cache"))
    except CorpusError as error:
        return next(line for line in str(error).splitlines() if re.search(pattern, line))
    return "accepted"


def _release_message(folder: Path, case: str) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(mini.make(SMALL, folder.parent / "small_mini", workers=1), folder)
    spoil, pattern = ODD[case]
    spoil(folder)
    return next(line for line in remarks(folder) if re.search(pattern, line))


def _media_message(odd: bad_media.Odd, place: Path) -> str:
    labels = dict.fromkeys(("sentiment", "emotion", "text_sentiment", "video_sentiment", "audio_sentiment"))
    clip = Clip(odd.name, "1", "Sharing", "train", "", **labels, video_path=odd.video, audio_path=odd.audio)
    try:
        media = load_media(clip, MediaConfig(max_sec=30), place / "cache")
    except MediaError as error:
        return str(error)
    return f"{len(media.frames)} frames at {media.sampled_fps:.2f}, {media.audio_sec:.2f} s of sound" + (", cut" if media.cut else "")


def _cell(text: str, place: Path) -> str:
    message = re.sub(f"{re.escape(str(place))}/(media/)?", "", text).strip().removeprefix("- ")
    return message[:240].replace("|", "\\|").replace("<", "&lt;").encode("utf-8", "replace").decode()


if __name__ == "__main__":
    main()
