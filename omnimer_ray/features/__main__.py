"""Commands about features: what is kept, whether it can be read, and the authors' released ones.

python -m omnimer_ray.features list
python -m omnimer_ray.features check
python -m omnimer_ray.features build methods --dry-run
python -m omnimer_ray.features import-release features.pkl --out FOLDER
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from omnimer_ray.command import python_word, run_app

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="List, check and build the features that networks read, and import released ones.",
)
Results = Annotated[Path, typer.Option("--results", help="Parent of the results folders; features/ is there.")]


@app.command("list")
def list_(results: Results = Path("results")) -> None:
    """Print the kept features: encoder, view, entries and size."""
    from omnimer_ray.features.kept import kept_lines

    for line in kept_lines(results):
        typer.echo(line)


@app.command()
def check(results: Results = Path("results")) -> None:
    """Read every entry; damaged ones are deleted, and the next sweep makes them again. Exit code 4 if there were any."""
    from omnimer_ray.features.kept import check_lines

    lines, damaged = check_lines(results)
    for line in lines:
        typer.echo(line)
    raise typer.Exit(4 if damaged else 0)


@app.command()
def build(
    space: Annotated[str, typer.Argument(help="The search space whose runs need the features, by name or path.")] = "methods",
    corpus: Annotated[
        str, typer.Option(help="'mini' or 'mini_zh' (generated), or NAME:PATH with indomer, ch_sims, meld or table.")
    ] = "mini",
    base: Annotated[str, typer.Option(help="'tiny', a folder with a checkpoint, or a hub name.")] = "tiny",
    machine: Annotated[str, typer.Option(help="A machine profile: a name of cluster/ or the path of a YAML file.")] = "laptop",
    results: Results = Path("results"),
    limit: Annotated[int | None, typer.Option(help="Number of clips over all splits.")] = None,
    media: Annotated[Path | None, typer.Option(help="Folder of a release's media, if not beside its annotations.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Leave a clip out, by name; may be given again.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> None:
    """Build the features that a search space needs, or resume it; a sweep uses the same. Exit codes as of a sweep."""
    from omnimer_ray.launch import run
    from omnimer_ray.planning.setup import Request

    command = shlex.join([python_word(), "-m", "omnimer_ray.features", *(word for word in sys.argv[1:] if word != "--dry-run")])
    left_out = tuple(sorted(exclude or ()))
    request = Request(space, corpus, base, machine, results, limit, None, None, media, left_out, False, command, only="features")
    raise typer.Exit(run(request, dry_run))


@app.command()
def import_release(
    pickle: Annotated[Path, typer.Argument(help="The authors' file: a pickled list of dicts, one a clip, with its name and its array.")],
    out: Annotated[Path, typer.Option(help="The folder to write: NAME.safetensors of each clip.")],
) -> None:
    """Convert a pickle of features in a process of its own, where only arrays are read."""
    from omnimer_ray.features.release import import_release as convert

    for line in convert(pickle, out):
        typer.echo(line)


def main() -> None:
    """Entry point."""
    run_app(app)


if __name__ == "__main__":
    main()
