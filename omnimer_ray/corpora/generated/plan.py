"""A recipe -> its clips with labels, cues and words, before anything is drawn or spoken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple, TypeVar

from omnimer_ray.corpora.clips import EMOTIONS, MODALITIES, SENTIMENT_OF, SENTIMENTS, Split
from omnimer_ray.corpora.generated.recipe import LanguageName, MiniRecipe, SplitSize
from omnimer_ray.corpora.generated.sentences import Language, sentence
from omnimer_ray.corpora.generated.text_id import INDONESIAN
from omnimer_ray.corpora.generated.text_zh import CHINESE

T = TypeVar("T")

LANGUAGES: dict[LanguageName, Language] = {"id": INDONESIAN, "zh": CHINESE}
TOPICS = tuple(INDONESIAN.nouns)


class PlannedClip(NamedTuple):
    """One clip to make. `sentiments` are the labels of the modalities, `cues` the emotions that the modalities express."""

    id: str
    video: int
    number: int  # within the source video
    topic: str
    split: Split
    emotion: str
    sentiments: dict[str, str]
    cues: dict[str, str]
    text: str


def plan(recipe: MiniRecipe) -> list[PlannedClip]:
    """All clips; the same list for the same recipe. Without a test part no source video is in two splits."""
    videos = _Videos({}, Counter(), set())
    train = list(_side(recipe, "train", recipe.train, 1, videos))
    if recipe.test is None:
        return train + list(_side(recipe, "validation", recipe.validation, 1 + recipe.train.num_videos, videos))
    validation = list(_side(recipe, "validation", recipe.validation, 1, videos))
    return train + validation + list(_side(recipe, "test", recipe.test, 1, videos))


class _Videos(NamedTuple):
    """What is decided about source videos so far."""

    topics: dict[int, str]
    clips: Counter[int]
    texts: set[str]


def _side(recipe: MiniRecipe, split: Split, size: SplitSize, first_video: int, videos: _Videos) -> Iterator[PlannedClip]:
    random = Random(f"{recipe.seed}/{split}")
    emotions = _shuffled(random, _apportioned(recipe.shares, size.num_clips))
    agrees = {modality: _marks(random, recipe.agreement.of(modality), size.num_clips) for modality in MODALITIES}
    is_clear = {modality: _marks(random, recipe.clarity.of(modality), size.num_clips) for modality in MODALITIES}
    topics = [random.choice(TOPICS) for _ in range(size.num_videos)]
    for index, emotion in enumerate(emotions):
        place = index * size.num_videos // size.num_clips
        video = first_video + place
        topic = videos.topics.setdefault(video, topics[place])
        videos.clips[video] += 1
        felt = {m: emotion if agrees[m][index] else _conflicting(random, emotion, recipe.shares) for m in MODALITIES}
        cues = {m: felt[m] if is_clear[m][index] else _conflicting(random, felt[m], recipe.shares) for m in MODALITIES}
        text = _unused_sentence(random, cues["text"], topic, recipe, videos.texts)
        name = f"clip_{video}_{topic}_{videos.clips[video]}"
        sentiments = {modality: SENTIMENT_OF[felt[modality]] for modality in MODALITIES}
        yield PlannedClip(name, video, videos.clips[video], topic, split, emotion, sentiments, cues, text)


def _apportioned(shares: dict[str, float], total: int) -> list[str]:
    """A list with each emotion as often as its share, by largest remainders."""
    counts = {name: int(shares[name] * total) for name in EMOTIONS}
    for name in sorted(EMOTIONS, key=lambda name: counts[name] - shares[name] * total)[: total - sum(counts.values())]:
        counts[name] += 1
    return [name for name in EMOTIONS for _ in range(counts[name])]


def _marks(random: Random, rate: float, total: int) -> list[bool]:
    """A random share `rate` of `total` positions."""
    return _shuffled(random, [index < round(rate * total) for index in range(total)])


def _shuffled(random: Random, values: Sequence[T]) -> list[T]:
    return random.sample(values, len(values))


def _conflicting(random: Random, emotion: str, shares: dict[str, float]) -> str:
    """An emotion of another sentiment: both other sentiments are equally likely, and their emotions are drawn by their shares."""
    sentiment = random.choice([name for name in SENTIMENTS if name != SENTIMENT_OF[emotion]])
    options = [name for name in EMOTIONS if SENTIMENT_OF[name] == sentiment]
    return random.choices(options, [shares[name] + 1e-9 for name in options])[0]


def _unused_sentence(random: Random, emotion: str, topic: str, recipe: MiniRecipe, used: set[str]) -> str:
    """A sentence that no clip uses yet; a used one if hardly any unused sentence is left."""
    for _ in range(200):
        text = sentence(random, emotion, topic, recipe.identities, LANGUAGES[recipe.language])
        if text not in used:
            break
    used.add(text)
    return text
