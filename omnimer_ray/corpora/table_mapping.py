"""What a table's columns and words mean: FILE.yaml beside FILE.csv, checked, and the label words that need no mapping."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from omnimer_ray.config import Frozen, parse
from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.errors import ConfigError, CorpusError, near

COLUMNS = (
    "clip",
    "video",
    "audio",
    "text",
    "sentiment",
    "emotion",
    "text_sentiment",
    "audio_sentiment",
    "video_sentiment",
    "split",
    "source_video",
    "topic",
)
_WORDS = {
    "sentiment": {
        "negative": "neg negatif 消极 负面 负向",
        "neutral": "neu netral 中性 中立",
        "positive": "pos positif 积极 正面 正向",
    },
    "emotion": {
        "neutral": "netral 中性 平静",
        "happiness": "happy joy kebahagiaan bahagia senang 高兴 快乐 开心 喜悦",
        "surprise": "surprised kejutan terkejut 惊讶 惊喜",
        "sadness": "sad kesedihan sedih 悲伤 难过 伤心",
        "anger": "angry kemarahan marah 愤怒 生气",
        "disgust": "disgusted jijik 厌恶 恶心",
        "fear": "fearful afraid ketakutan takut 恐惧 害怕",
    },
}
WORDS = {
    kind: {word: label for label, words in labels.items() for word in (label, *words.split())} for kind, labels in _WORDS.items()
}  # English, Indonesian, Chinese


class Thresholds(Frozen):
    """Sentiment from numbers: below `negative` is negative, above `positive` is positive, all between is neutral."""

    negative: float
    positive: float

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.negative > self.positive:
            raise ValueError(f"negative {self.negative} must not exceed positive {self.positive}")
        return self


class TableMapping(Frozen):
    """FILE.yaml; everything has a default."""

    columns: dict[str, str] = Field(default_factory=dict)  # our name -> the table's
    labels: dict[Literal["sentiment", "emotion"], dict[str, str]] = Field(default_factory=dict)  # the table's word -> our label
    thresholds: Thresholds | None = None
    separator: Literal[",", ";", "\t", "|"] = ","
    encoding: str = "utf-8-sig"
    split_seed: int = Field(0, ge=0)  # of a split that is made because the table has none
    validation_share: float = Field(0.2, gt=0, le=0.5)  # of its source videos

    @model_validator(mode="after")
    def _known(self) -> Self:
        faults = [f"columns: unknown name {name!r}; {near(name, COLUMNS)}" for name in self.columns if name not in COLUMNS]
        for kind, words in self.labels.items():
            faults += [
                f"labels of {kind}: {label!r} is no label; {near(label, LABELS[kind])}"
                for label in words.values()
                if label not in LABELS[kind]
            ]
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            faults.append(f"encoding {self.encoding!r} is unknown; write one as utf-8, cp1252 or gb18030")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def label(self, kind: str, word: str) -> str | None:
        """The label of a word; None if it is unknown."""
        known: Mapping[str, str] = {**WORDS[kind], **{key.strip().casefold(): label for key, label in self.labels.get(kind, {}).items()}}  # type: ignore[call-overload]
        if kind == "sentiment" and self.thresholds is not None and (value := _number(word)) is not None:
            return "negative" if value < self.thresholds.negative else "positive" if value > self.thresholds.positive else "neutral"
        return known.get(word.strip().casefold())


def read_mapping(path: Path) -> TableMapping:
    """The mapping of a YAML file, or the default if there is none. Raises CorpusError."""
    if not path.exists():
        return TableMapping()
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return parse(TableMapping, {} if data is None else data, path.name)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ConfigError) as error:
        raise CorpusError(f"{path.name} is no mapping of a table: {error}") from None


def unknown_words(kind: str, found: Iterable[str], file: str) -> str:
    """One fault about words that are no labels: how often each occurs, what resembles it, and what to write."""
    counts = Counter(found)
    if kind == "sentiment" and all(_number(word) is not None for word in counts):
        return (
            f"{kind}: {sum(counts.values())} numbers, as {next(iter(counts))!r}; write in {file}: thresholds: {{negative: 0, positive: 0}}"
        )
    listed = ", ".join(f"{word!r} {count} times{_like(kind, word)}" for word, count in counts.most_common(10))
    more = f" and {len(counts) - 10} more" if len(counts) > 10 else ""
    lines = ", ".join(f"{word}: LABEL" for word, _ in counts.most_common(10))
    return f"{kind}: {len(counts)} words that are no known labels: {listed}{more}; write in {file}: labels: {{{kind}: {{{lines}}}}}, each with one of {', '.join(LABELS[kind])}"


def _like(kind: str, word: str) -> str:
    """The label of the known word that a word resembles."""
    close = get_close_matches(word.casefold(), WORDS[kind], n=1, cutoff=0.7)
    return f" (perhaps {WORDS[kind][close[0]]})" if close else ""


def _number(word: str) -> float | None:
    try:
        return float(word.replace(",", "."))
    except ValueError:
        return None
