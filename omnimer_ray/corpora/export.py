"""clips.csv: the file by which another group can name exactly the clips of a table, by contents of media and texts, not by paths."""

from __future__ import annotations

import csv
import hashlib
import io
from typing import Any

from omnimer_ray.corpora.clips import LABELLED, Clip, Corpus

COLUMNS = (
    "corpus",
    "fingerprint",
    "clip",
    "split",
    "source_video",
    "topic",
    *LABELLED,
    "text_sha256",
    "video_sha256",
    "audio_sha256",
    "excluded",
)


def clips_csv(corpus: Corpus) -> str:
    """A row for each clip, and one for each excluded clip with the reason; a label or a file that is not there is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    about = {"corpus": corpus.name, "fingerprint": corpus.fingerprint}
    writer.writerows({**about, **_row(clip)} for clip in corpus.clips)
    writer.writerows({**about, "clip": name, "excluded": corpus.reasons.get(name, "by --exclude")} for name in corpus.excluded)
    return text.getvalue()


def _row(clip: Clip) -> dict[str, Any]:
    same = {name: getattr(clip, name) or "" for name in ("split", "source_video", "topic", *LABELLED)}
    hashes = {
        "text_sha256": hashlib.sha256(clip.text.encode()).hexdigest(),
        "video_sha256": clip.video_hash or "",
        "audio_sha256": clip.audio_hash or "",
    }
    return {"clip": clip.id, **same, **hashes}
