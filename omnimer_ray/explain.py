"""The command: `python -m omnimer_ray.explain CLIP --run SIGNATURE` shows what a model says about one clip, and what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnimer_ray.command import run_app
from omnimer_ray.errors import ConfigError, near
from omnimer_ray.predict import source_of

if TYPE_CHECKING:
    from omnimer_ray.inference.model import Source
    from omnimer_ray.inference.own_clips import OwnClip

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def explain(
    clip: Annotated[str, typer.Argument(help="A clip of the corpus by name, or a media file; NAME.txt beside it is its transcript.")],
    run: Annotated[str | None, typer.Option(help="Signature of a finished run, or its start; the tables print signatures.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="Folder of an adapter, instead of --run.")] = None,
    base: Annotated[str | None, typer.Option(help="The base, if it is not found by its name: a folder or a hub name.")] = None,
    results: Annotated[Path, typer.Option(help="Where --run is looked for.")] = Path("results"),
    corpus: Annotated[str, typer.Option(help="The corpus of a clip by name, as of a sweep.")] = "mini",
    media: Annotated[Path | None, typer.Option(help="Folder of a release's media, if not beside its annotations.")] = None,
    out: Annotated[Path | None, typer.Option(help="The PNG file to write; by default explain_CLIP.png.")] = None,
) -> None:
    """Print and draw frames, waveform, pitch, energy, transcript, auxiliary answers, the final answer and its probabilities."""
    from omnimer_ray.inference.explanation import explain as answer
    from omnimer_ray.inference.explanation import lines, write
    from omnimer_ray.inference.model import load
    from omnimer_ray.tasks.instructions import Style

    if out is not None and out.suffix.lower() != ".png":
        raise ConfigError(f"--out {out}: the picture is a PNG file; give a name that ends in .png")
    source = source_of(run, adapter, results)
    own, notices = _find(clip, corpus, media, source)
    if not own.seen:
        raise ConfigError(f"{clip}: nothing of it can be used: {own.fault}")
    model = load(source, base)
    stand_ins = (*notices, *([model.base.stand_in] if model.base.stand_in else []))
    found, style = answer(source, model, own.clip, own.seen, stand_ins), Style.of(source.config)
    for line in lines(found, style):
        typer.echo(line)
    path = out or Path(f"explain_{own.clip.id}.png")
    write(found, style, path)
    typer.echo(f"\n{path}")


def _find(name: str, corpus: str, media: Path | None, source: Source) -> tuple[OwnClip, tuple[str, ...]]:
    """The clip with its modalities, and notices of stand-in media."""
    from omnimer_ray.corpora import load as load_corpus
    from omnimer_ray.inference.own_clips import OwnClip, find

    if Path(name).is_file():
        return find(Path(name), None, source.config.media)[0], ()
    loaded = load_corpus(corpus, media=media, progress=typer.echo)
    by_name = {clip.id: clip for clip in loaded.clips}
    if name not in by_name:
        raise ConfigError(f"{name!r} is no file, and no clip of {corpus}; {near(name, by_name)}")
    return OwnClip(by_name[name], ("text", "video", "audio"), ""), (loaded.stand_in,) if loaded.stand_in else ()


def main() -> None:
    """Entry point."""
    run_app(app)


if __name__ == "__main__":
    main()
