"""A transcript with what the base writes about its clip: a label and keywords from the words, the face and the voice in a sentence each.

The base is asked freely, once, greedily, for every clip, whatever its split; no answer of the supervision ledger is used, because those hold gold labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from omnimer_ray.config import AUXILIARIES, Kind, MediaConfig, content_hash
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.feature_config import Described
from omnimer_ray.features.store import locked
from omnimer_ray.records import read_json, write_json
from omnimer_ray.tasks.instructions import Parsed, Style, parse, prompts_hash

KIND_OF: dict[str, Kind] = {
    "label": AUXILIARIES["text"].kind,
    "keywords": AUXILIARIES["text"].kind,
    "face": AUXILIARIES["video"].kind,
    "voice": AUXILIARIES["audio"].kind,
}


def written_kinds(settings: Described) -> list[Kind]:
    """The instructions that are asked."""
    return list(dict.fromkeys(KIND_OF[name] for name in settings.adds))


def kept_answer(clip: Clip, kind: Kind, settings: Described, media: MediaConfig, place: Path, ask: Callable[[Clip, Kind], str]) -> str:
    """The base's answer about a clip, asked once for all features that need it; `place`: folder and name of the clip's contents.

    `features/<key>/<content>.json` holds it in the base's own words.
    """
    about = {"revision": settings.revision, "precision": settings.precision, "answer_language": settings.answer_language, "kind": kind}
    written = {**about, "prompts": prompts_hash([kind], Style("none", settings.answer_language)), "media": media.model_dump()}
    file = place.parent / content_hash({"written": written}) / f"{place.name}.json"
    with locked(file, wait=True):
        if not file.exists():
            write_json(file.with_name("written.json"), written)
            write_json(file, {"clip": clip.id, "answer": ask(clip, kind)})
        return str(read_json(file)["answer"])


def described(clip: Clip, settings: Described, ask: Callable[[Clip, Kind], str]) -> Clip:
    """The clip with the enriched text; an answer that cannot be read adds nothing."""
    style = Style("none", settings.answer_language)
    answers = {kind: parse(ask(clip, kind), kind, style) for kind in written_kinds(settings)}
    lines = [clip.text, *(line for name in settings.adds if (line := _line(name, answers[KIND_OF[name]])))]
    return replace(clip, text="\n".join(lines))


def _line(name: str, answer: Parsed | None) -> str:
    if answer is None:
        return ""
    match name:
        case "label":
            return f"label: {answer.sentiment}"
        case "keywords":
            return f"keywords: {', '.join(answer.keywords)}" if answer.keywords else ""
        case _:
            return f"{name}: {answer.explanation}"
