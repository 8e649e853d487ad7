"""The generated mini corpus: real mp4 and wav files in the released IndoMER layout, with planted effects.

A recipe says how much each modality tells about the label, how often modalities conflict and how rare each class is, so
what a sweep ought to find is known. Made once per recipe into the cache.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Self, TypeVar

from pydantic import Field, model_validator

from omnimer_ray.config import Frozen, Modality, content_hash
from omnimer_ray.corpora import indomer, indomer_join
from omnimer_ray.corpora.clips import EMOTIONS, MODALITIES, SENTIMENT_OF, SENTIMENTS, Corpus, Split
from omnimer_ray.corpora.mini_text import TOPICS, Identities, sentence

T = TypeVar("T")

MAKER_VERSION = 1  # raise it when code changes what the same recipe makes
STAND_IN = "generated faces and synthesised speech (mini corpus)"

VOICES: dict[Identities, tuple[str, ...]] = {  # espeak-ng variants, half low and half high
    "mini": ("m1", "m3", "m6", "adam", "david", "sandro", "f1", "f3", "f5", "linda", "steph", "shelby"),
    "pretraining": ("m2", "m5", "benjamin", "john", "michel", "norbert", "f2", "f4", "belinda", "aunty", "grandma", "Annie"),
}

LONG_TAIL = {"neutral": 0.40, "happiness": 0.19, "surprise": 0.06, "sadness": 0.13, "anger": 0.10, "disgust": 0.07, "fear": 0.05}
EVEN = {"neutral": 0.30, "happiness": 0.18, "surprise": 0.16, "sadness": 0.09, "anger": 0.09, "disgust": 0.09, "fear": 0.09}


class SplitSize(Frozen):
    """How many clips of how many source videos; a source video is one person on one topic."""

    num_clips: int = Field(ge=7)
    num_videos: int = Field(ge=1)


class MiniRecipe(Frozen):
    """Everything that determines a generated corpus. Shares and rates are kept exactly, to the nearest clip, in each split."""

    seed: int = Field(0, ge=0)
    train: SplitSize = SplitSize(num_clips=160, num_videos=20)
    validation: SplitSize = SplitSize(num_clips=96, num_videos=24)
    shares: dict[str, float] = LONG_TAIL  # of the fused emotions
    agreement: dict[Modality, float] = {"text": 0.80, "video": 0.85, "audio": 0.75}  # a modality's sentiment is the fused one
    clarity: dict[Modality, float] = {"text": 0.95, "video": 0.95, "audio": 0.95}  # what is said, shown or heard is of the modality's label
    identities: Identities = "mini"
    min_sec: float = Field(2.0, gt=0)
    max_sec: float = Field(3.5, gt=0)  # 88 audio and 56 video tokens: an item stays under 300

    @classmethod
    def pretraining(cls, seed: int, num_clips: int) -> Self:
        """For the tiny base: other voices, faces, fillers and fewer cue words; even classes; an eighth more clips to validate on."""
        held_out = max(7, num_clips // 8)
        return cls(
            seed=seed,
            train=SplitSize(num_clips=num_clips, num_videos=max(1, num_clips // 4)),
            validation=SplitSize(num_clips=held_out, num_videos=max(1, held_out // 4)),
            shares=EVEN,
            identities="pretraining",
        )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if set(self.shares) != set(EMOTIONS) or min(self.shares.values()) < 0 or abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares {self.shares} must give {', '.join(EMOTIONS)} numbers that add up to 1")
        for name, rates in (("agreement", self.agreement), ("clarity", self.clarity)):
            if set(rates) != set(MODALITIES) or not all(0 <= rate <= 1 for rate in rates.values()):
                raise ValueError(f"{name} {rates} must give {', '.join(MODALITIES)} a rate from 0 to 1")
        if self.min_sec > self.max_sec:
            raise ValueError(f"min_sec {self.min_sec} must not exceed max_sec {self.max_sec}")
        return self

    def fingerprint(self) -> str:
        """Names the corpus: recipe, seed and maker version."""
        return content_hash({"maker": MAKER_VERSION, **self.model_dump()})


class PlannedClip(NamedTuple):
    """One clip before it is made. `cues` is the emotion that each modality really shows, `sentiments` its label."""

    id: str
    video: int
    topic: str
    split: Split
    emotion: str
    sentiments: dict[str, str]
    cues: dict[str, str]
    text: str


def load(
    recipe: MiniRecipe | None = None,
    *,
    cache: Path,
    workers: int | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Corpus:
    """The corpus of `recipe`, made now if the cache does not hold it. Raises MissingExtraError without the extra `demo`."""
    recipe = recipe or MiniRecipe()
    folder = make(recipe, cache / "mini" / recipe.fingerprint(), workers=workers, progress=progress)
    corpus = indomer.read(folder, cache=cache, fingerprint=recipe.fingerprint())
    return Corpus("mini", corpus.clips, corpus.fingerprint, STAND_IN, warnings=corpus.warnings)


def make(recipe: MiniRecipe, folder: Path, *, workers: int | None = None, progress: Callable[[str], None] = lambda line: None) -> Path:
    """Make the corpus in `folder`, unless it stands: built beside it and renamed, so that concurrent makers cannot harm each other."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _build(recipe, building, workers or os.cpu_count() or 1, progress)
        building.chmod(0o755)
        try:
            building.rename(folder)
        except OSError:
            if not folder.exists():  # another maker was faster, or the disk is at fault
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def plan(recipe: MiniRecipe) -> list[PlannedClip]:
    """Every clip with its labels, cues and words; the same list for the same recipe."""
    clips: list[PlannedClip] = []
    said: set[str] = set()
    first = 1
    for split, size in (("train", recipe.train), ("validation", recipe.validation)):
        clips += _plan_split(recipe, split, size, first, said)  # type: ignore[arg-type]
        first += size.num_videos
    return clips


def _plan_split(recipe: MiniRecipe, split: Split, size: SplitSize, first: int, said: set[str]) -> Iterator[PlannedClip]:
    random = Random(f"{recipe.seed}/{split}")
    emotions = _shuffled(random, _apportion(recipe.shares, size.num_clips))
    agreeing = {modality: _marks(random, recipe.agreement[modality], size.num_clips) for modality in MODALITIES}  # type: ignore[index]
    clear = {modality: _marks(random, recipe.clarity[modality], size.num_clips) for modality in MODALITIES}  # type: ignore[index]
    topics = [random.choice(TOPICS) for _ in range(size.num_videos)]
    for index, emotion in enumerate(emotions):
        video, place = index * size.num_videos // size.num_clips, index
        expressed = {m: emotion if agreeing[m][index] else _conflicting(random, emotion, recipe.shares) for m in MODALITIES}
        cues = {m: expressed[m] if clear[m][index] else _conflicting(random, expressed[m], recipe.shares) for m in MODALITIES}
        place = index - -(-video * size.num_clips // size.num_videos) + 1
        yield PlannedClip(
            f"clip_{first + video}_{topics[video]}_{place}",
            first + video,
            topics[video],
            split,
            emotion,
            {m: SENTIMENT_OF[expressed[m]] for m in MODALITIES},
            cues,
            _unsaid(random, cues["text"], topics[video], recipe.identities, said),
        )


def _apportion(shares: dict[str, float], total: int) -> list[str]:
    """Each emotion as often as its share, by largest remainders."""
    exact = {name: share * total for name, share in shares.items()}
    counts = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda name: counts[name] - exact[name])[: total - sum(counts.values())]:
        counts[name] += 1
    return [name for name in EMOTIONS for _ in range(counts[name])]


def _marks(random: Random, rate: float, total: int) -> list[bool]:
    """`rate` of `total` places marked, in random places."""
    return _shuffled(random, [index < round(rate * total) for index in range(total)])


def _shuffled(random: Random, values: Sequence[T]) -> list[T]:
    return random.sample(values, len(values))


def _conflicting(random: Random, emotion: str, shares: dict[str, float]) -> str:
    """An emotion of another sentiment; the sentiments are equally likely, the emotions within one by their shares."""
    sentiment = random.choice([name for name in SENTIMENTS if name != SENTIMENT_OF[emotion]])
    options = [name for name in EMOTIONS if SENTIMENT_OF[name] == sentiment]
    return random.choices(options, [shares[name] + 1e-9 for name in options])[0]


def _unsaid(random: Random, emotion: str, topic: str, identities: Identities, said: set[str]) -> str:
    """A sentence that no clip has said; after many tries any."""
    for _ in range(200):
        text = sentence(random, emotion, topic, identities)
        if text not in said:
            break
    said.add(text)
    return text


def _build(recipe: MiniRecipe, folder: Path, workers: int, progress: Callable[[str], None]) -> None:
    clips = plan(recipe)
    _write_annotations(clips, folder)
    (folder / "recipe.json").write_text(json.dumps({"maker_version": MAKER_VERSION, **recipe.model_dump()}, indent=2) + "\n")
    for name in ("videos", "audio"):
        (folder / name).mkdir()
    render = partial(_render, folder=folder, recipe=recipe)
    for done, _ in enumerate(_each(render, clips, workers), 1):
        if done % 32 == 0 or done == len(clips):
            progress(f"mini corpus: {done} of {len(clips)} clips made")


def _each(render: Callable[[PlannedClip], None], clips: Sequence[PlannedClip], workers: int) -> Iterator[None]:
    """Spawned, not forked: the caller may hold threads of torch or ray."""
    if workers == 1:
        yield from map(render, clips)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(render, clips, chunksize=8)


def _render(clip: PlannedClip, folder: Path, recipe: MiniRecipe) -> None:
    from omnimer_ray.corpora import faces
    from omnimer_ray.corpora.rendering import Limits, Performance, Person, render

    random = Random(f"{recipe.seed}/{recipe.identities}/person {clip.video}")
    person = Person(faces.look(random, recipe.identities), random.choice(VOICES[recipe.identities]), random.uniform(-6, 6))
    performance = Performance(clip.id, person, clip.text, clip.cues["audio"], clip.cues["video"], recipe.seed)
    render(performance, folder, Limits(recipe.min_sec, recipe.max_sec))


def _write_annotations(clips: Sequence[PlannedClip], folder: Path) -> None:
    """Annotations.csv and the four split files, in the release's words."""
    rows = [_row(clip) for clip in clips]
    with (folder / "Annotations.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, indomer_join.COLUMNS, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
    for split, short in (("train", "train"), ("validation", "val")):
        chosen = [row for row, clip in zip(rows, clips, strict=True) if clip.split == split]
        for kind, entry in (("3", _sentiment_entry), ("7", _emotion_entry)):
            path = folder / f"{kind}_Class" / f"{kind}_class_{short}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps([entry(row) for row in chosen], indent=2, ensure_ascii=False), encoding="utf-8")


def _row(clip: PlannedClip) -> dict[str, str]:
    sentiment, emotion = (
        {label: word for word, label in words.items()} for words in (indomer_join.SENTIMENT_WORDS, indomer_join.EMOTION_WORDS)
    )
    return {
        "video_name": f"{clip.id}.mp4",
        "audio_name": f"{clip.id}.wav",
        "emotion": emotion[clip.emotion],
        "sentiment": sentiment[SENTIMENT_OF[clip.emotion]],
        **{f"{modality}_sentiment": sentiment[label] for modality, label in clip.sentiments.items()},
        "text": clip.text,
    }


def _sentiment_entry(row: dict[str, str]) -> dict[str, Any]:
    labels = {f"{modality}_label": row[f"{modality}_sentiment"] for modality in ("audio", "text", "video")}
    name = row["video_name"].removesuffix(".mp4")
    return {
        "sample_id": name,
        "text": row["text"],
        **labels,
        "label": row["sentiment"],
        "video": row["video_name"],
        "audio": row["audio_name"],
    }


def _emotion_entry(row: dict[str, str]) -> dict[str, Any]:
    name = row["video_name"].removesuffix(".mp4")
    labels = {"sentiment_label": row["sentiment"], "label": row["emotion"]}
    return {"sample_id": name, "text": row["text"], **labels, "video": row["video_name"], "audio": row["audio_name"]}
