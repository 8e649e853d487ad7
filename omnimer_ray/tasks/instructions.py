"""The five prompts, the three re-asks and their JSON answers: build, and parse back.

The facial and the intonation prompts are the paper's words (section IV-B). The keyword prompt, the two main prompts, the
re-asks and every JSON schema are reconstructed in the same skeleton [A]. An auxiliary sees its own modality only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, assert_never

from omnimer_ray.config import AUXILIARY_OF, EVERY_MODALITY, Hierarchy, Kind, Modality, Task, ThinkerConfig, content_hash
from omnimer_ray.corpora.clips import EMOTIONS, LABELS, SENTIMENT_OF, SENTIMENTS, Clip

SYSTEM = "You are a helpful assistant."  # [A] the common trainers' default for this model
WORDS: dict[str, dict[str, str]] = {  # canonical label -> its word in prompts and answers
    "en": {label: label for label in (*SENTIMENTS, *EMOTIONS)},
    "id": {
        "negative": "negatif",
        "neutral": "netral",
        "positive": "positif",
        "happiness": "kebahagiaan",
        "surprise": "terkejut",
        "sadness": "kesedihan",
        "anger": "kemarahan",
        "disgust": "jijik",
        "fear": "ketakutan",
    },
    "zh": {
        "negative": "消极",
        "neutral": "中性",
        "positive": "积极",
        "happiness": "高兴",
        "surprise": "惊讶",
        "sadness": "悲伤",
        "anger": "愤怒",
        "disgust": "厌恶",
        "fear": "恐惧",
    },
}


@dataclass(frozen=True)
class _Prompt:
    modalities: tuple[Modality, ...]
    instruction: str
    task: str
    schema: str


_ALL: tuple[Modality, ...] = ("text", "video", "audio")
_INPUT = {"text": "Text: {text}", "video": "Visual: {video}", "audio": "Audio: {audio}"}
_PROMPTS: dict[str, _Prompt] = {
    "sentiment": _Prompt(
        _ALL,
        "You are an assistant for multimodal sentiment analysis.",
        "Analyze the speaker's overall emotional tone across all modalities, and determine the sentiment: {sentiments}.",
        '{"sentiment": "..."}',
    ),
    "emotion": _Prompt(
        _ALL,
        "You are an assistant for multimodal emotion recognition.",
        "Analyze the speaker's overall emotional tone across all modalities. First determine the sentiment: {sentiments}."
        " Then, based on it, the emotion: {emotions}.",
        '{"sentiment": "...", "emotion": "..."}',
    ),
    "emotion, no hierarchy": _Prompt(
        _ALL,
        "You are an assistant for multimodal emotion recognition.",
        "Analyze the speaker's overall emotional tone across all modalities, and determine the emotion: {emotions}.",
        '{"emotion": "..."}',
    ),
    "text_keywords": _Prompt(
        ("text",),
        "You are an assistant for sentiment analysis of an utterance.",
        "Identify the emotion-related keywords and phrases, and determine the overall sentiment supported by these lexical cues: {sentiments}.",
        '{"keywords": ["..."], "sentiment": "...", "explanation": "..."}',
    ),
    "facial_expression": _Prompt(
        ("video",),
        "You are an assistant for sentiment analysis of a visual clip.",
        "Analyze the speaker's facial expressions and their temporal variations, and determine the overall sentiment supported by these visual cues:"
        " {sentiments}.",
        '{"sentiment": "...", "explanation": "..."}',
    ),
    "prosody": _Prompt(
        ("audio",),
        "You are an assistant for sentiment analysis of an audio clip.",
        "Analyze prosodic cues such as intonation, speaking rate, and vocal dynamics, and determine the overall sentiment supported by these acoustic"
        " patterns: {sentiments}.",
        '{"sentiment": "...", "explanation": "..."}',
    ),
    "text_keywords, given": _Prompt(
        ("text",),
        "You are an assistant for sentiment analysis of an utterance.",
        "The sentiment is {given}. Identify the emotion-related keywords and phrases, and explain how these lexical cues support it.",
        '{"keywords": ["..."], "explanation": "..."}',
    ),
    "facial_expression, given": _Prompt(
        ("video",),
        "You are an assistant for sentiment analysis of a visual clip.",
        "The sentiment is {given}. Analyze the speaker's facial expressions and their temporal variations, and explain how these visual cues support it.",
        '{"explanation": "..."}',
    ),
    "prosody, given": _Prompt(
        ("audio",),
        "You are an assistant for sentiment analysis of an audio clip.",
        "The sentiment is {given}. Analyze prosodic cues such as intonation, speaking rate, and vocal dynamics, and explain how these acoustic patterns"
        " support it.",
        '{"explanation": "..."}',
    ),
}
_PARAPHRASES: dict[str, tuple[tuple[str, str], ...]] = {  # instruction and task of each main prompt in other words [A]
    "sentiment": (
        (
            "You judge how people feel in short videos.",
            "Consider the words, the face and the voice together, and name the speaker's sentiment: {sentiments}.",
        ),
        (
            "You are an expert in affective computing.",
            "Which sentiment does the speaker express in this clip? Choose one of: {sentiments}.",
        ),
        (
            "Your job is to label the feeling of a speaker.",
            "Look at everything that is given, weigh all cues, and answer with one sentiment out of {sentiments}.",
        ),
    ),
    "emotion": (
        (
            "You judge how people feel in short videos.",
            "Consider the words, the face and the voice together. Name the speaker's sentiment first: {sentiments}."
            " Then name the emotion that goes with it: {emotions}.",
        ),
        (
            "You are an expert in affective computing.",
            "Which sentiment does the speaker express in this clip? Choose one of: {sentiments}."
            " And which emotion, given that sentiment? Choose one of: {emotions}.",
        ),
        (
            "Your job is to label the feeling of a speaker.",
            "Look at everything that is given, weigh all cues, and answer with one sentiment out of {sentiments},"
            " and with one emotion that follows from it out of {emotions}.",
        ),
    ),
    "emotion, no hierarchy": (
        (
            "You judge how people feel in short videos.",
            "Consider the words, the face and the voice together, and name the speaker's emotion: {emotions}.",
        ),
        (
            "You are an expert in affective computing.",
            "Which emotion does the speaker express in this clip? Choose one of: {emotions}.",
        ),
        (
            "Your job is to label the feeling of a speaker.",
            "Look at everything that is given, weigh all cues, and answer with one emotion out of {emotions}.",
        ),
    ),
}
_LABEL_ALONE = '{"sentiment": "..."}'
Part = dict[str, str]  # {"type": "text", "text": ...} | {"type": "video"} | {"type": "audio"}


class Parsed(NamedTuple):
    """The fields of an answer, read strictly; a label that is missing or unknown makes the whole answer unparsed."""

    sentiment: str | None
    emotion: str | None
    keywords: tuple[str, ...]
    explanation: str | None

    def label(self, task: Task) -> str | None:
        """Return the label of a main task."""
        match task:
            case "sentiment":
                return self.sentiment
            case "emotion":
                return self.emotion
            case unknown:
                assert_never(unknown)


class Style(NamedTuple):
    """The settings that change how prompts and answers read."""

    hierarchy: Hierarchy
    language: str
    label_only: bool = False  # auxiliary answers hold their label alone
    modalities: tuple[Modality, ...] = EVERY_MODALITY  # that the main tasks see
    paraphrase: int = 0  # of the main tasks' prompts

    @classmethod
    def of(cls, config: ThinkerConfig) -> Style:
        """The style that a run's config asks for."""
        labels = config.auxiliary_answers == "label"
        return cls(config.hierarchy, config.answer_language, labels, config.modalities, config.paraphrase)


def conversation(clip: Clip, kind: Kind, style: Style, given: str | None = None) -> list[dict[str, Any]]:
    """Chat messages for one (clip, instruction); `given` is the gold sentiment of a re-ask. Media are typed parts."""
    prompt = _prompt(kind, style, given)
    words = WORDS[style.language]
    task = prompt.task.format(
        sentiments=", ".join(words[label] for label in SENTIMENTS),
        emotions=", ".join(words[label] for label in EMOTIONS),
        given=words[given] if given else "",
    )
    parts: list[Part] = []
    _add_text(parts, f"Instruction. {prompt.instruction}\nInput.")
    for modality in prompt.modalities:
        lead, _ = _INPUT[modality].split("{")
        _add_text(parts, f" {lead}" + (_harmless(clip.text) if modality == "text" else ""))
        if modality != "text":
            parts.append({"type": modality})
    _add_text(parts, f"\nTask. {task}\nReturn (JSON only). {prompt.schema}")
    return [{"role": "system", "content": [{"type": "text", "text": SYSTEM}]}, {"role": "user", "content": parts}]


def modalities(kind: Kind, style: Style) -> tuple[Modality, ...]:
    """Modalities in the prompt of an instruction."""
    return _prompt(kind, style, None).modalities


def prompts_hash(kinds: Iterable[Kind], style: Style, supervision: bool = False) -> str:
    """Hash of all text in the prompts and answers of `kinds`: a new prompt or label word changes no key that does not use it.

    With `supervision` the re-asks of the consistency check are included: they determine a ledger, not what a stage is trained on.
    """
    prompts = [_prompt(kind, style, given) for kind in sorted(set(kinds)) for given in ((None, "neutral") if supervision else (None,))]
    labels = [label for name in LABELS for label in LABELS[name] if any(f"{{{name}s}}" in prompt.task for prompt in prompts)]
    texts = [[prompt.instruction, prompt.task, prompt.schema, [_INPUT[part] for part in prompt.modalities]] for prompt in prompts]
    return content_hash([SYSTEM, texts, {label: WORDS[style.language][label] for label in labels}])


def main_answer(clip: Clip, kind: Kind, style: Style) -> str:
    """The supervised answer of a main task, from the clip's gold labels (paper IV-A)."""
    wanted = json.loads(_prompt(kind, style, None).schema)
    return _json({name: WORDS[style.language][str(clip.label(name))] for name in wanted})


def closed_answers(task: Task, style: Style, fitting: bool = False, unfixed: Collection[str] = ()) -> dict[str, Parsed]:
    """The closed set of answers to a main task, as they are supervised, by their text; `fitting`: only emotions that fit the stated polarity.

    Those of `unfixed` fit every polarity.
    """
    wanted = json.loads(_prompt(task, style, None).schema)
    answers: dict[str, Parsed] = {}
    for sentiment in SENTIMENTS if "sentiment" in wanted else (None,):
        for emotion in EMOTIONS if "emotion" in wanted else (None,):
            fits = sentiment is None or emotion is None or emotion in unfixed or SENTIMENT_OF[emotion] == sentiment
            if fitting and not fits:
                continue
            labels = {"sentiment": sentiment, "emotion": emotion}
            text = _json({name: WORDS[style.language][str(labels[name])] for name in wanted})
            answers[text] = Parsed(sentiment, emotion, (), None)
    return answers


def auxiliary_answer(kind: Kind, sentiment: str | None, parsed: Parsed, style: Style) -> str:
    """The answer of an auxiliary: the label with the explanation that was given for it (paper IV-C); a re-ask's answer has no label."""
    answer: dict[str, Any] = {"keywords": list(parsed.keywords)} if "keywords" in json.loads(_PROMPTS[kind].schema) else {}
    if sentiment is not None:
        answer["sentiment"] = WORDS[style.language][sentiment]
    return _harmless(_json({**answer, "explanation": parsed.explanation}))


def label_answer(sentiment: str, style: Style) -> str:
    """The answer of an auxiliary that holds its label alone."""
    return _json({"sentiment": WORDS[style.language][sentiment]})


def stated_sentiment(answer: str, style: Style) -> str | None:
    """The label in the sentiment field of an auxiliary answer that may be cut off after it; None without one."""
    found = re.search(r'"sentiment": "(\w+)"', answer)
    words = {WORDS[style.language][label]: label for label in SENTIMENTS}
    return words.get(found[1]) if found else None


def parse(answer: str, kind: Kind, style: Style, given: bool = False) -> Parsed | None:
    """A strict reading: one JSON object, alone or in one code fence, with every field that the prompt asked for; else None (unparsed)."""
    data = read_object(answer)
    if data is None:
        return None
    labels = {word: label for label, word in WORDS[style.language].items()}
    known = {name: {word for word, label in labels.items() if label in LABELS[name]} for name in LABELS}
    wanted = json.loads(_prompt(kind, style, "neutral" if given else None).schema)
    for name in ("sentiment", "emotion"):
        if (name in wanted or (given and name in data)) and not (isinstance(data.get(name), str) and data[name] in known[name]):
            return None
    explanation, keywords = data.get("explanation"), data.get("keywords", [])
    if "explanation" in wanted and not (isinstance(explanation, str) and explanation.strip()):
        return None
    if "keywords" in wanted and not (isinstance(data.get("keywords"), list) and all(isinstance(word, str) for word in keywords)):
        return None
    return Parsed(
        labels[data["sentiment"]] if "sentiment" in wanted or (given and "sentiment" in data) else None,
        labels[data["emotion"]] if "emotion" in wanted else None,
        tuple(keywords) if "keywords" in wanted else (),
        str(explanation).strip() if "explanation" in wanted else None,
    )


def read_object(answer: str) -> dict[str, Any] | None:
    """The one JSON object of an answer, alone or in one code fence; None for anything else, a repeated key or half a surrogate pair."""
    text = answer.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text.removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
        _json(data).encode()  # half of a surrogate pair is no text, and no file would take it
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _prompt(kind: str, style: Style, given: str | None) -> _Prompt:
    if given is not None:
        return _PROMPTS[f"{kind}, given"]
    if style.label_only and kind in AUXILIARY_OF:
        return replace(_PROMPTS[kind], schema=_LABEL_ALONE)
    if kind in AUXILIARY_OF:
        return _PROMPTS[kind]
    match style.hierarchy:
        case "prompt":
            name = kind
        case "none":
            name = f"{kind}, no hierarchy" if f"{kind}, no hierarchy" in _PROMPTS else kind
        case unknown:
            assert_never(unknown)
    prompt = _PROMPTS[name]
    if style.paraphrase:
        instruction, task = _PARAPHRASES[name][style.paraphrase - 1]
        prompt = replace(prompt, instruction=instruction, task=task)
    return replace(prompt, modalities=tuple(name for name in prompt.modalities if name in style.modalities))


def _add_text(parts: list[Part], text: str) -> None:
    if parts and parts[-1]["type"] == "text":
        parts[-1] = {"type": "text", "text": parts[-1]["text"] + text}
    else:
        parts.append({"type": "text", "text": text})


def _harmless(text: str) -> str:
    """A transcript or an explanation that cannot write control tokens such as <|im_end|>."""
    return text.replace("<|", "< |")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")
