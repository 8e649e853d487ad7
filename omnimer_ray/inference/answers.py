"""Labels and probabilities for a person's own clips."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omnimer_ray.config import content_hash
from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.errors import ConfigError, OmniMERError, ResultsError
from omnimer_ray.inference.model import Loaded, Source
from omnimer_ray.inference.own_clips import OwnClip
from omnimer_ray.records import file_hash, read_json, write_atomically, write_json
from omnimer_ray.tasks.instructions import Style, parse

REPORT_EVERY_SEC = 5.0


def identity(source: Source) -> str:
    """Hash of everything that determines an answer beside the clip."""
    return content_hash([source.config.model_dump(mode="json"), source.adapter and file_hash(source.adapter / "adapter_model.safetensors")])


def predict(
    source: Source, model: Loaded, clips: Sequence[OwnClip], out: Path, batch: int, log: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Answer the clips and write `out` (.json) and a CSV beside it, after every batch; rows that are there already are kept."""
    from omnimer_ray.training.evaluation import answerer

    about = {"model": source.name, "identity": identity(source), "task": source.config.task, "stand_in": model.base.stand_in}
    before = _kept(out, about)
    rows = {own.clip.id: before[own.clip.id] for own in clips if own.clip.id in before and before[own.clip.id]["input"] == _input(own)}
    todo = [own for own in clips if own.clip.id not in rows]
    if rows:
        log(f"{len(rows)} of {len(clips)} clips are answered in {out} already")
    for own in todo:
        if not own.seen:
            rows[own.clip.id] = _row(own, error=own.fault or "it has no track that can be used")
    answer = answerer(model.thinker, model.encoder, source.config.task, source.config.evaluation, source.config.corpus.unfixed)
    began = last = time.monotonic()
    groups = {own.seen: [other for other in todo if other.seen == own.seen] for own in todo if own.seen}
    done, total = 0, sum(map(len, groups.values()))
    for seen, group in groups.items():
        for start in range(0, len(group), batch):
            encoded = []
            for own in group[start : start + batch]:
                try:
                    encoded.append((own, model.encoder.encode(own.clip, source.config.task, seen=seen)))
                except OmniMERError as error:
                    rows[own.clip.id] = _row(own, error=str(error))
            for (own, _), one in zip(encoded, answer([item for _, item in encoded]) if encoded else (), strict=True):
                parsed = parse(one.text, source.config.task, Style.of(source.config))
                labels = LABELS[source.config.task]
                rows[own.clip.id] = _row(
                    own,
                    prediction=parsed.label(source.config.task) if parsed else None,
                    stated_sentiment=parsed.sentiment if parsed else None,
                    probabilities=dict(zip(labels, one.probabilities, strict=True)) if one.probabilities else None,
                    closed_set_mass=one.closed_set_mass,
                    answer=one.text,
                )
            done += len(group[start : start + batch])
            write(out, about, [rows[own.clip.id] for own in clips if own.clip.id in rows])
            if time.monotonic() - last > REPORT_EVERY_SEC and done < total:
                last = time.monotonic()
                log(f"{done} of {total} clips answered, about {(last - began) / done * (total - done):.0f} s left")
    final = [rows[own.clip.id] for own in clips]
    write(out, about, final)
    return final


def write(out: Path, about: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Write the JSON file and the CSV beside it."""
    write_json(out, {**about, "clips": list(rows)})
    labels = LABELS[about["task"]]
    names = [
        "clip",
        "file",
        "prediction",
        "stated_sentiment",
        *(f"p_{label}" for label in labels),
        "closed_set_mass",
        "seen",
        "answer",
        "error",
        "model",
        "stand_in",
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        probabilities = {f"p_{label}": f"{value:.6f}" for label, value in (row["probabilities"] or {}).items()}
        writer.writerow({**row, **probabilities, "seen": " ".join(row["seen"]), "model": about["model"], "stand_in": about["stand_in"]})
    write_atomically(out.with_suffix(".csv"), lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8", newline=""))


def _row(own: OwnClip, **values: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("prediction", "stated_sentiment", "probabilities", "closed_set_mass", "answer", "error"))
    about = {"clip": own.clip.id, "file": (own.clip.video_path or Path()).name, "seen": list(own.seen), "input": _input(own)}
    return {**about, **empty, **values}


def _input(own: OwnClip) -> str:
    """Hash of what the model is shown of a clip."""
    files = [path for path in dict.fromkeys((own.clip.video_path, own.clip.audio_path)) if path is not None]
    return content_hash([own.clip.text, list(own.seen), [file_hash(path) for path in files]])


def _kept(out: Path, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows without an error of an earlier run of the command with this model. Raises ConfigError if the file is of something else."""
    if not out.exists():
        return {}
    try:
        before = read_json(out)
        known = before.get("identity")
        rows = {row["clip"]: row for row in before["clips"] if row["error"] is None and "input" in row}
    except (ResultsError, AttributeError, KeyError, TypeError):
        raise ConfigError(f"{out} is there and holds no predictions; give another --out") from None
    if known != about["identity"]:
        raise ConfigError(f"{out} holds predictions of {before.get('model')}; give another --out, or remove it")
    return rows
