"""Sentences of the generated corpora: a cue phrase expresses the text's emotion, all other words are neutral filler.

The two identities share most cue phrases but no filler and no frame; the last cues of every list are unknown to the pre-training one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Literal, NamedTuple

Identities = Literal["mini", "pretraining"]

HELD_OUT_CUES = 2  # cue phrases of every emotion that are absent from pre-training


class Filler(NamedTuple):
    """The neutral words around a cue, and their order."""

    openers: tuple[str, ...]
    subjects: tuple[str, ...]
    closers: tuple[str, ...]
    frames: tuple[str, ...]


class Language(NamedTuple):
    """Words of one language: cue phrases by emotion, nouns by topic."""

    voice: str  # of espeak-ng
    cues: Mapping[str, tuple[str, ...]]
    nouns: Mapping[str, tuple[str, ...]]
    filler: Mapping[Identities, Filler]
    full_stop: str


def vocabulary(language: Language) -> list[str]:
    """Every word and phrase of the language, in any identity, and its full stop."""
    found = [language.full_stop]
    for filler in language.filler.values():
        found += [*filler.openers, *filler.subjects, *filler.closers]
        found += [part for frame in filler.frames for part in re.split(r"\{[a-z]+\}", frame)]
    found += [word for words in (*language.cues.values(), *language.nouns.values()) for word in words]
    return [word for word in dict.fromkeys(found) if word.strip()]


def sentence(random: Random, emotion: str, topic: str, identities: Identities, language: Language) -> str:
    """One sentence (in Indonesian of 3-9 words) whose cue phrase expresses `emotion`, with a capital and a full stop."""
    filler = language.filler[identities]
    cues = language.cues[emotion] if identities == "mini" else language.cues[emotion][:-HELD_OUT_CUES]
    words = random.choice(filler.frames).format(
        opener=random.choice(filler.openers),
        subject=random.choice(filler.subjects),
        cue=random.choice(cues),
        noun=random.choice(language.nouns[topic]),
        closer=random.choice(filler.closers),
    )
    return words[0].upper() + words[1:] + language.full_stop
