"""The common form of every corpus: clips with labels, a source video and a split.

Labels are canonical English inside; a corpus maps from its own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SENTIMENTS = ("negative", "neutral", "positive")
EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")
SENTIMENT_OF = {
    "neutral": "neutral",
    "happiness": "positive",
    "surprise": "positive",
    "sadness": "negative",
    "anger": "negative",
    "disgust": "negative",
    "fear": "negative",
}
MODALITIES = ("text", "video", "audio")
TASKS = ("sentiment", "emotion")
LABELS = {"sentiment": SENTIMENTS, "emotion": EMOTIONS}
LABELLED = ("sentiment", "emotion", "text_sentiment", "video_sentiment", "audio_sentiment")  # fields of a clip
LONGEST_LIST = 6  # names in one line

Split = Literal["train", "validation", "test", "development"]  # development: carved out of train by `select`, never in a corpus


@dataclass(frozen=True)
class Clip:
    """One annotated segment. A label that the corpus does not give is None."""

    id: str
    source_video: str  # the group: all clips of a source video are in one split
    topic: str
    split: Split
    text: str  # transcript
    sentiment: str | None
    emotion: str | None
    text_sentiment: str | None
    video_sentiment: str | None
    audio_sentiment: str | None
    video_path: Path | None  # absolute; media/ checks the file
    audio_path: Path | None  # None: the video's own track
    video_hash: str | None = None  # SHA-256 of the file when the corpus was read; None: its contents are not part of a plan
    audio_hash: str | None = None
    tracks: tuple[str, ...] = ("video", "audio")  # that its files have; a corpus's clips have both

    def label(self, task: str) -> str | None:
        """The gold label of a main task."""
        return {"sentiment": self.sentiment, "emotion": self.emotion}[task]

    def modality_sentiment(self, modality: str) -> str | None:
        """The gold sentiment of one modality alone."""
        return {"text": self.text_sentiment, "video": self.video_sentiment, "audio": self.audio_sentiment}[modality]


@dataclass(frozen=True)
class Corpus:
    """Clips in a fixed order, with the corpus's name and fingerprint."""

    name: str  # 'mini', 'indomer', 'ch_sims', …
    clips: tuple[Clip, ...]
    fingerprint: str  # hex; annotations, media contents, exclusions and stand-ins
    stand_in: str | None = None  # notice about generated media, printed with their numbers
    excluded: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reported: Split = "validation"  # the part that tables report
    development: Split | None = None  # its own development part, on which a search chooses
    notes: tuple[str, ...] = ()  # printed under every table
    reasons: Mapping[str, str] = field(default_factory=dict)  # of clips that the reader left out

    @property
    def shared_videos(self) -> tuple[str, ...]:
        """A line if clips of the reported part share their source video with train."""
        training = {clip.source_video for clip in self.split("train")}
        shared = sum(clip.source_video in training for clip in self.scored)
        line = f"{shared} of {len(self.scored)} {self.reported} clips share their source video with train, so the same people and scenes are in both; "
        return (line + "--folds 5 splits by source video",) if shared else ()

    @property
    def scored(self) -> tuple[Clip, ...]:
        """The clips of the reported part."""
        return self.split(self.reported)

    @property
    def unfixed(self) -> tuple[str, ...]:
        """Emotions that occur in train with another sentiment than SENTIMENT_OF's: surprise in MELD is of either."""
        found = {clip.emotion for clip in self.split("train") if clip.emotion and clip.sentiment not in (None, SENTIMENT_OF[clip.emotion])}
        return tuple(name for name in EMOTIONS if name in found)

    def split(self, name: Split) -> tuple[Clip, ...]:
        """The clips of one split, in corpus order."""
        return tuple(clip for clip in self.clips if clip.split == name)


def named(clips: Sequence[Clip]) -> str:
    """Return the names and splits of the clips in one line; a long list is cut."""
    return _cut([f"{clip.id} ({clip.split})" for clip in clips])


def listed(names: Sequence[str]) -> str:
    """Return the number of names and the names in one line; a long list is cut."""
    return f"{len(names)}, {_cut(names)}"


def _cut(names: Sequence[str]) -> str:
    return ", ".join(names[:LONGEST_LIST]) + (f" and {len(names) - LONGEST_LIST} more" if len(names) > LONGEST_LIST else "")
