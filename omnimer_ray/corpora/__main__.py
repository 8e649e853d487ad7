"""Commands: check a corpus, export its clips, write a first table of one's own clips, make stand-in media.

python -m omnimer_ray.corpora check mini
python -m omnimer_ray.corpora check indomer:PATH
python -m omnimer_ray.corpora export indomer:PATH --out clips.csv
python -m omnimer_ray.corpora new FOLDER
python -m omnimer_ray.corpora stand-ins indomer:PATH --out FOLDER --limit 400
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from omnimer_ray.command import run_app
from omnimer_ray.corpora import default_cache, load
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import ConfigError, CorpusError, MissingExtraError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Check a corpus, and make stand-in media."
)

Cache = Annotated[Path | None, typer.Option(help="Where generated media and hashes are kept; by default ~/.cache/omnimer_ray.")]


@app.command()
def check(
    corpus: Annotated[str, typer.Argument(help="mini, mini_zh, or NAME:PATH with indomer, ch_sims, meld or table")],
    media: Annotated[Path | None, typer.Option(help="Folder of the videos and wavs, if they are not beside the annotations.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A clip to leave out; may be given several times.")] = None,
    cache: Cache = None,
) -> None:
    """Print contents, faults and suspicious findings of a corpus; media are decoded. The exit code is 3 if there are faults."""
    from omnimer_ray.corpora.check import tables
    from omnimer_ray.corpora.suspicious import suspicious

    where: dict[str, Any] = {"cache": cache, "media": media, "exclude": tuple(exclude or ()), "progress": _log}
    wrong: CorpusError | None = None
    try:
        found = load(corpus, **where)
    except CorpusError as error:
        wrong = error
        found = _annotations_alone(corpus, where, error)
    _log(f"corpus {corpus}, fingerprint {found.fingerprint}" + ("" if wrong is None else " (of the annotations alone)"))
    if found.stand_in:
        _log(f"STAND-IN: {found.stand_in}")
    if found.excluded:
        _log(f"{len(found.excluded)} clips excluded: {', '.join(found.excluded)}")
    for table in tables(found):
        _log(f"\n{table}")
    media_faults, media_suspicions = _media(found)
    _section("Printed under every table", [*found.notes, *found.shared_videos])
    _section("Warnings", list(found.warnings))
    _section("Suspicious", [*suspicious(found), *media_suspicions])
    _section("Wrong", [*(str(wrong).splitlines() if wrong else []), *media_faults])
    raise typer.Exit(CorpusError.exit_code if wrong or media_faults else 0)


@app.command()
def export(
    corpus: Annotated[str, typer.Argument(help="As of check.")],
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    media: Annotated[Path | None, typer.Option(help="Folder of the media, if they are not beside the annotations.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A clip to leave out; may be given several times.")] = None,
    cache: Cache = None,
) -> None:
    """Write which clips a corpus has: splits, labels, hashes of texts and media, and each excluded clip with the reason."""
    from omnimer_ray.corpora.export import clips_csv
    from omnimer_ray.records import write_atomically

    found = load(corpus, cache=cache, media=media, exclude=tuple(exclude or ()), progress=_log)
    text = clips_csv(found)
    write_atomically(out, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    _log(f"{len(found.clips)} clips and {len(found.excluded)} excluded ones in {out}; fingerprint {found.fingerprint}")


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="A folder of videos, with sounds and transcripts beside them if there are any.")],
) -> None:
    """Write a first table of your own clips, clips.csv and clips.yaml, and say what to fill in. Nothing is overwritten."""
    from omnimer_ray.corpora.new_table import make

    for line in make(folder):
        _log(line)


@app.command()
def stand_ins(
    corpus: Annotated[str, typer.Argument(help="indomer:PATH, a release without media")],
    out: Annotated[Path, typer.Option(help="The folder to make; it must not exist.")],
    limit: Annotated[int | None, typer.Option(help="Keep this many clips, shares of splits and emotions kept.")] = None,
    max_sec: Annotated[float, typer.Option(help="Longer speech is spoken up to twice as fast, then cut.")] = 6.0,
    cache: Cache = None,
) -> None:
    """Copy the annotations, speak the transcripts by their audio labels and draw faces by their video labels."""
    from omnimer_ray.corpora.stand_ins import make

    name, _, path = corpus.partition(":")
    if name != "indomer" or not path:
        raise ConfigError(f"corpus {corpus!r}: stand-ins are made for indomer:PATH")
    made = make(Path(path), out, cache=cache or default_cache(), limit=limit, max_sec=max_sec, progress=_log)
    _log(f"{made} clips with stand-in media in {out}; use it as indomer:{out}")


def _media(corpus: Corpus) -> tuple[list[str], list[str]]:
    """Return faults and suspicious findings of the media."""
    from omnimer_ray.media.lengths import probe_clips

    try:
        return probe_clips(corpus.clips, _log)
    except MissingExtraError as error:
        return [], [f"media were not decoded: {error}"]


def _annotations_alone(corpus: str, where: dict[str, Any], error: CorpusError) -> Corpus:
    """Read a corpus without its media if only media are missing; else raise the first error, which holds all faults."""
    try:
        return load(corpus, need_media=False, **where)
    except CorpusError:
        raise error from None


def _section(title: str, lines: list[str]) -> None:
    _log(f"\n{title}:" + ("" if lines else " nothing"))
    for line in lines:
        _log(f"  {line}")


def _log(line: str) -> None:
    typer.echo(line)


def main() -> None:
    """Entry point."""
    run_app(app)


if __name__ == "__main__":
    main()
