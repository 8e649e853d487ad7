"""Parameters of a generated corpus: sizes, planted effects, and the people in it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from omnimer_ray.config import Frozen, content_hash
from omnimer_ray.corpora.clips import EMOTIONS
from omnimer_ray.corpora.generated.sentences import Identities

LanguageName = Literal["id", "zh"]
MAKER_VERSION = 2  # raise it when code changes what the same recipe makes

LONG_TAIL = {"neutral": 0.40, "happiness": 0.19, "surprise": 0.06, "sadness": 0.13, "anger": 0.10, "disgust": 0.07, "fear": 0.05}
EVEN = {"neutral": 0.30, "happiness": 0.18, "surprise": 0.16, "sadness": 0.09, "anger": 0.09, "disgust": 0.09, "fear": 0.09}


class SplitSize(Frozen):
    """Numbers of clips and of source videos; a source video is one person on one topic."""

    num_clips: int = Field(ge=1)
    num_videos: int = Field(ge=1)

    @model_validator(mode="after")
    def _no_empty_video(self) -> Self:
        if self.num_videos > self.num_clips:
            raise ValueError(f"num_videos {self.num_videos} must not exceed num_clips {self.num_clips}")
        return self


class Rates(Frozen):
    """A share of clips for every modality."""

    text: float = Field(ge=0, le=1)
    video: float = Field(ge=0, le=1)
    audio: float = Field(ge=0, le=1)

    def of(self, modality: str) -> float:
        """The rate of one modality."""
        return {"text": self.text, "video": self.video, "audio": self.audio}[modality]


class MiniRecipe(Frozen):
    """A generated corpus. Shares and rates are kept exactly, to the nearest clip, in each split."""

    seed: int = Field(default=0, ge=0)
    train: SplitSize = SplitSize(num_clips=160, num_videos=20)
    validation: SplitSize = SplitSize(num_clips=96, num_videos=24)
    test: SplitSize | None = None  # with it, all parts are cut from the same source videos, as in CH-SIMS; without it, none is shared
    language: LanguageName = "id"
    shares: dict[str, float] = LONG_TAIL  # of the fused emotions
    agreement: Rates = Rates(text=0.80, video=0.85, audio=0.75)  # how often a modality's sentiment is the fused one
    clarity: Rates = Rates(text=0.92, video=0.90, audio=0.93)  # how often text, face or voice follow the modality's own label
    identities: Identities = "mini"
    min_sec: float = Field(default=2.0, gt=0)  # shorter speech is followed by silence
    max_sec: float = Field(default=3.5, gt=0)  # 88 audio and 56 video tokens: an item stays under 300

    @classmethod
    def chinese(cls) -> Self:
        """Recipe of `mini_zh`: CH-SIMS's parts, train, valid and test."""
        sizes = (SplitSize(num_clips=clips, num_videos=20) for clips in (160, 40, 80))
        return cls(language="zh", **dict(zip(("train", "validation", "test"), sizes, strict=True)))

    @classmethod
    def pretraining(cls, seed: int, num_clips: int, language: LanguageName = "id") -> Self:
        """Recipe of a pre-training corpus of the tiny base: other voices, faces and fillers, fewer cue words, even classes; plus an eighth of the clips for validation."""
        held_out = -(-num_clips // 8)
        return cls(
            seed=seed,
            train=SplitSize(num_clips=num_clips, num_videos=-(-num_clips // 4)),
            validation=SplitSize(num_clips=held_out, num_videos=-(-held_out // 4)),
            test=SplitSize(num_clips=1, num_videos=1) if language == "zh" else None,  # CH-SIMS's layout has three parts
            language=language,
            shares=EVEN,
            identities="pretraining",
        )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if set(self.shares) != set(EMOTIONS) or min(self.shares.values()) < 0 or abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares {self.shares} must give each of {', '.join(EMOTIONS)} a number, and add up to 1")
        if self.min_sec > self.max_sec:
            raise ValueError(f"min_sec {self.min_sec} must not exceed max_sec {self.max_sec}")
        return self

    def fingerprint(self) -> str:
        """Identity of the corpus: recipe, seed and maker version."""
        added = {name for name in ("language", "test") if getattr(self, name) == type(self).model_fields[name].default}
        return content_hash({"maker": MAKER_VERSION, **self.model_dump(exclude=added)})
