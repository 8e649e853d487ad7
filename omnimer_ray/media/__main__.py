"""Print the inputs that the model gets of media files: `python -m omnimer_ray.media FILE...` prints frames, rate, seconds of sound, tokens, or the error."""

from __future__ import annotations

import sys
from pathlib import Path

from omnimer_ray.media.load import MediaReport, probe


def main(paths: list[str]) -> int:
    """Print one row per file; return 0 if all files can be used."""
    reports = [probe(Path(path)) for path in paths]
    rows = [("file", "container", "video", "frames", "rate", "audio", "seconds", "tokens", "error"), *map(_row, reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 3 if any(report.error for report in reports) else 0


def _row(report: MediaReport) -> tuple[str, ...]:
    turned = f" turned {report.rotation}°" if report.rotation else ""
    video = f"{report.video_codec} {report.width}x{report.height} {report.fps:.5g} fps{turned}" if report.video_codec else "–"
    frames = f"{report.num_frames} of {report.frame_width}x{report.frame_height}" if report.num_frames else "–"
    audio = f"{report.audio_codec} {report.audio_hz} Hz x{report.channels}" if report.audio_codec else "–"
    seconds = f"{report.audio_sec:.2f}" if report.audio_sec else "–"
    notes = [word for word, holds in (("cut", report.cut), ("silent", report.silent), ("black", report.black)) if holds]
    rate = f"{report.sampled_fps:.3f}" if report.num_frames else "–"
    tokens = f"{report.num_video_tokens} + {report.num_audio_tokens}"
    container = report.container.split(",")[0] or "–"
    return report.path.name, container, video, frames, rate, audio, seconds, tokens, "; ".join([*notes, report.error]).strip("; ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
