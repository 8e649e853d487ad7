"""Commands: build auxiliary supervision, look at it, and hand it to other trainers or to human raters.

python -m omnimer_ray.supervision build ablations --dry-run
python -m omnimer_ray.supervision show ablations
python -m omnimer_ray.supervision export ablations --out items.json
python -m omnimer_ray.supervision rate ablations --out ratings.csv
python -m omnimer_ray.supervision ratings ratings.csv
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnimer_ray.command import python_word, run_app

if TYPE_CHECKING:
    from omnimer_ray.planning.setup import Request

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Build auxiliary supervision by the two-step check, look at it, and hand it to other trainers or to human raters.",
)
Space = Annotated[str, typer.Argument(help="The search space whose runs need the supervision, by name or path.")]
CorpusName = Annotated[
    str, typer.Option("--corpus", help="'mini' or 'mini_zh' (generated), or NAME:PATH with indomer, ch_sims, meld or table.")
]
BaseName = Annotated[str, typer.Option("--base", help="'tiny', a folder with a checkpoint, or a hub name.")]
Machine = Annotated[str, typer.Option("--machine", help="A machine profile: a name of cluster/ or the path of a YAML file.")]
Results = Annotated[Path, typer.Option("--results", help="Parent of the results folders; ledgers/ is there.")]
Limit = Annotated[int | None, typer.Option("--limit", help="Number of clips over all splits.")]
Media = Annotated[Path | None, typer.Option("--media", help="Folder of a release's media, if not beside its annotations.")]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="Leave a clip out, by name; may be given again.")]

Gold = Annotated[str, typer.Option("--gold", help="'modality' or 'fused', as of a sweep.")]


@app.command()
def build(
    space: Space = "ablations",
    corpus: CorpusName = "mini",
    base: BaseName = "tiny",
    machine: Machine = "laptop",
    results: Results = Path("results"),
    limit: Limit = None,
    media: Media = None,
    exclude: Exclude = None,
    golds: Gold = "modality",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> None:
    """Build the supervision that a search space needs, or resume it; a sweep uses the same ledgers. Exit codes as of a sweep."""
    from omnimer_ray.launch import run

    raise typer.Exit(run(_request(space, corpus, base, machine, results, limit, media, exclude, golds), dry_run))


@app.command()
def show(
    space: Space = "ablations",
    corpus: CorpusName = "mini",
    base: BaseName = "tiny",
    results: Results = Path("results"),
    limit: Limit = None,
    media: Media = None,
    exclude: Exclude = None,
    golds: Gold = "modality",
    samples: Annotated[int, typer.Option(help="Entries to print in full, of each instruction and each way they were made.", min=0)] = 2,
) -> None:
    """Print the yield by modality and label, why answers were refused, and samples."""
    from omnimer_ray.outputs.yields import built, sample_lines, yield_lines
    from omnimer_ray.planning.setup import prepare

    sweep = prepare(_request(space, corpus, base, "laptop", results, limit, media, exclude, golds))
    notices = (f"STAND-IN: {notice}" for notice in sweep.stand_ins)
    for line in (*notices, *yield_lines(sweep), *sample_lines(built(sweep), samples)):
        _log(line)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    space: Space = "ablations",
    corpus: CorpusName = "mini",
    base: BaseName = "tiny",
    results: Results = Path("results"),
    limit: Limit = None,
    media: Media = None,
    exclude: Exclude = None,
    golds: Gold = "modality",
) -> None:
    """Write the accepted items as conversations in the ShareGPT form that the common trainers read, with media paths and provenance."""
    from omnimer_ray.planning.setup import prepare
    from omnimer_ray.records import write_json
    from omnimer_ray.supervision.export import conversations

    sweep = prepare(_request(space, corpus, base, "laptop", results, limit, media, exclude, golds))
    items = conversations(sweep)
    write_json(out, items)
    _log(f"{len(items)} items in {out}" + "".join(f"\nSTAND-IN: {notice}" for notice in sweep.stand_ins))


@app.command()
def rate(
    out: Annotated[Path, typer.Option(help="The CSV file to write, for the raters; its key is written beside it.")],
    space: Space = "ablations",
    corpus: CorpusName = "mini",
    base: BaseName = "tiny",
    results: Results = Path("results"),
    limit: Limit = None,
    media: Media = None,
    exclude: Exclude = None,
    golds: Gold = "modality",
    items: Annotated[int, typer.Option(help="Explanations of each modality, agreed and constrained in equal numbers.", min=2)] = 50,
) -> None:
    """Write explanations for a blind human rating: raters do not see which were written without the label."""
    from omnimer_ray.planning.setup import prepare
    from omnimer_ray.supervision.rating import write_form

    sweep = prepare(_request(space, corpus, base, "laptop", results, limit, media, exclude, golds))
    for line in write_form(sweep, out, items):
        _log(line)


@app.command()
def ratings(form: Annotated[Path, typer.Argument(help="The CSV file of `rate`, filled in.")]) -> None:
    """Print mean ratings of agreed and constrained explanations by modality, and their difference with an interval."""
    from omnimer_ray.supervision.rating import read_form

    for line in read_form(form):
        _log(line)


def _request(
    space: str,
    corpus: str,
    base: str,
    machine: str,
    results: Path,
    limit: int | None,
    media: Path | None,
    exclude: list[str] | None,
    golds: str,
) -> Request:
    from omnimer_ray.planning.setup import Request

    command = shlex.join([python_word(), "-m", "omnimer_ray.supervision", *(word for word in sys.argv[1:] if word != "--dry-run")])
    left_out = tuple(sorted(exclude or ()))
    return Request(space, corpus, base, machine, results, limit, None, None, media, left_out, False, command, golds, only="supervision")


_log: Callable[[str], None] = typer.echo


def main() -> None:
    """Entry point."""
    run_app(app)


if __name__ == "__main__":
    main()
