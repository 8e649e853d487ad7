"""Checks of an auxiliary answer's text: keywords that the transcript lacks, and explanations that leak their label.

Text is compared as words: case-folded, in Unicode form NFKC, without punctuation; a Chinese or Japanese character is a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from omnimer_ray.tasks.instructions import WORDS
from omnimer_ray.tasks.leak_patterns import CUES, EMPTY_WORDS, GIVEN_PATTERNS

RESTATED = "restates its label"
GIVEN = "says that the label was given"
CLITICS = ("nya", "ku", "mu", "lah", "kah")  # Indonesian; written as one word with the word before
SHORTEST_STEM = 3  # letters before a clitic: 'hanya', 'buku', 'salah' have none
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_LANGUAGES = {"en": ("en",), "id": ("id", "en"), "zh": ("zh", "en")}  # the prompts are English, so any label may be explained in English
MOST_OTHER_WORDS = 0.25  # share of the words; with more of them, an explanation has content although no cue is known
_QUOTATION = re.compile(r"(?<!\w)[\"“‘'«]([^\"”’'»]+)[\"”’'»]")
SHORTEST_LABEL_STEM = 6  # letters of a label whose derived words are known by their start; 'fear' must not cover 'feature'


def words(text: str) -> tuple[str, ...]:
    """Words of a text, in the form in which they are compared."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())))


def absent_keywords(keywords: Sequence[str], transcript: str) -> tuple[str, ...]:
    """The keywords whose words do not occur one after the other in the transcript; a keyword without a word is absent.

    A word of the transcript may carry one Indonesian clitic that the keyword lacks: 'senang' occurs in 'senangnya', 'senangnya' not in 'senang'.
    """
    spoken = words(transcript)
    return tuple(keyword for keyword in keywords if not _occurs(words(keyword), spoken))


def _occurs(wanted: tuple[str, ...], spoken: tuple[str, ...]) -> bool:
    starts = range(len(spoken) - len(wanted) + 1) if wanted else ()
    return any(all(map(_is_form_of, spoken[start:], wanted)) for start in starts)


def _is_form_of(word: str, stem: str) -> bool:
    return word == stem or (len(stem) >= SHORTEST_STEM and word.startswith(stem) and word[len(stem) :] in CLITICS)


def leak(explanation: str, label: str, language: str) -> str | None:
    """Return the reason if an explanation only restates its (canonical) label or says that the label was given; None if it is honest.

    It restates its label if it names no cue, quotes nothing but the label, and has few words besides the label and EMPTY_WORDS.
    """
    found = words(explanation)
    if _given_pattern(label, language).search(" ".join(found)):
        return GIVEN
    labels = {word for name in _LANGUAGES[language] for word in words(WORDS[name][label])}  # of Chinese ones the characters
    quoted = {word for quotation in _QUOTATION.findall(explanation) for word in words(quotation)}
    other = [word for word in found if not _is_label(word, labels) and not _is_empty(word, language)]
    if len(other) > MOST_OTHER_WORDS * len(found) or quoted - labels or any(_is_cue(word, language) for word in other):
        return None
    return RESTATED


def _is_label(word: str, labels: set[str]) -> bool:
    """Whether a word is a label or derived from it: 'positively', 'netralnya'."""
    return any(word == label or (len(label) >= SHORTEST_LABEL_STEM and word.startswith(label[:-1])) for label in labels)


def _is_empty(word: str, language: str) -> bool:
    forms = {"en": {word}, "id": {word, *(word.removesuffix(clitic) for clitic in CLITICS)}, "zh": {word}}
    return any(forms[name] & EMPTY_WORDS[name] for name in _LANGUAGES[language])


def _is_cue(word: str, language: str) -> bool:
    """English cues are stems; Indonesian ones are roots, which have prefixes too; Chinese ones are characters."""
    is_cue = {"en": word.startswith(CUES["en"]), "id": any(root in word for root in CUES["id"]), "zh": word in CUES["zh"]}
    return any(is_cue[name] for name in _LANGUAGES[language])


@lru_cache
def _given_pattern(label: str, language: str) -> re.Pattern[str]:
    either = "|".join(re.escape(" ".join(words(WORDS[name][label]))) for name in _LANGUAGES[language])
    patterns = "|".join(pattern for name in _LANGUAGES[language] for pattern in GIVEN_PATTERNS[name])
    return re.compile(rf"\b(?:{patterns})\b".replace("LABEL", f"(?:{either})"))
