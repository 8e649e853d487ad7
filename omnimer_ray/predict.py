"""The command: `python -m omnimer_ray.predict FOLDER --run SIGNATURE` answers a person's own clips with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnimer_ray.command import run_app
from omnimer_ray.errors import ConfigError

if TYPE_CHECKING:
    from omnimer_ray.inference.model import Source

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(help="Folder of video and audio files, or one file. NAME.txt beside a file is its transcript.")],
    run: Annotated[str | None, typer.Option(help="Signature of a finished run, or its start; the tables print signatures.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="Folder of an adapter, instead of --run.")] = None,
    base: Annotated[str | None, typer.Option(help="The base, if it is not found by its name: a folder or a hub name.")] = None,
    results: Annotated[Path, typer.Option(help="Where --run is looked for.")] = Path("results"),
    transcripts: Annotated[Path | None, typer.Option(help="CSV file with the columns clip and text.")] = None,
    out: Annotated[Path, typer.Option(help="The JSON file to write; a CSV is written beside it.")] = Path("predictions.json"),
    batch: Annotated[int, typer.Option(help="Clips answered together.", min=1)] = 8,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be answered, and stop.")] = False,
) -> None:
    """Write labels and probabilities of each clip, from the modalities that it has. The same command again goes on where it was stopped.

    Exit codes: 0 done, 2 usage, 3 a clip or a file could not be used.
    """
    from omnimer_ray.inference.model import load
    from omnimer_ray.inference.own_clips import find

    source = source_of(run, adapter, results)
    clips = find(folder, transcripts, source.config.media)
    typer.echo(f"{source.name}: {source.config.task}, base {source.config.base.name} ({source.config.base.revision})")
    for own in clips:
        typer.echo(f"  {own.clip.id}: {' + '.join(own.seen) or 'nothing that can be used'}" + (f"  ({own.fault})" if own.fault else ""))
    if dry_run:
        raise typer.Exit(0)
    from omnimer_ray.inference.answers import predict as answer

    model = load(source, base)
    if model.base.stand_in:
        typer.echo(f"STAND-IN: {model.base.stand_in}")
    rows = answer(source, model, clips, out, batch, typer.echo)
    for row in rows:
        sure = f" ({row['probabilities'][row['prediction']]:.2f})" if row["probabilities"] and row["prediction"] else ""
        typer.echo(f"  {row['clip']}: {row['error'] or (row['prediction'] or 'no label in the answer')}{sure}")
    typer.echo(f"{out} and {out.with_suffix('.csv')}")
    raise typer.Exit(3 if any(row["error"] for row in rows) else 0)


def source_of(run: str | None, adapter: Path | None, results: Path) -> Source:
    """The model that the options name. Raises ConfigError unless exactly one of them is given."""
    from omnimer_ray.inference.model import of_adapter, of_run

    if (run is None) == (adapter is None):
        raise ConfigError("give either --run SIGNATURE or --adapter FOLDER")
    if adapter is not None:
        return of_adapter(adapter)
    assert run is not None
    return of_run(results, run)


def main() -> None:
    """Entry point."""
    run_app(app)


if __name__ == "__main__":
    main()
