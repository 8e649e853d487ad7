"""The command: `python -m omnimer_ray.sweep NAME` plans a search space, runs what is not recorded yet, and writes its tables."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from omnimer_ray.command import python_word, run_app
from omnimer_ray.errors import ConfigError

DONE, FAILED, INTERRUPTED = 0, 4, 130  # beside the exit codes of the errors: 2 usage, 3 bad data, 4 stopped
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def sweep(
    name: Annotated[str | None, typer.Argument(help="A search space by name, or the path of a file of your own.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="The search spaces and their questions.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    status_: Annotated[bool, typer.Option("--status", help="Print the sweep's progress, from another terminal.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="With --dry-run or --status: the same as JSON.")] = False,
    corpus: Annotated[
        str, typer.Option(help="'mini' or 'mini_zh' (generated), or NAME:PATH with indomer, ch_sims, meld or table.")
    ] = "mini",
    base: Annotated[
        str, typer.Option(help="'tiny', a folder with a checkpoint, or a hub name, NAME or NAME@COMMIT, such as Qwen/Qwen2.5-Omni-7B.")
    ] = "tiny",
    machine: Annotated[str, typer.Option(help="A machine profile: a name of cluster/ or the path of a YAML file.")] = "laptop",
    results: Annotated[Path, typer.Option(help="Parent of the results folders; the same command resumes there.")] = Path("results"),
    limit: Annotated[int | None, typer.Option(help="Number of clips over all splits; the splits keep their shares.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds, from 0; the default is the search space's.", min=1)] = None,
    folds: Annotated[
        int | None, typer.Option(help="Folds by source video over all reported and training clips, pooled in the tables.", min=2)
    ] = None,
    media: Annotated[Path | None, typer.Option(help="Folder of a release's media, if not beside its annotations.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Leave a clip out, by name; may be given again.")] = None,
    evaluate_on: Annotated[
        list[str] | None, typer.Option("--evaluate-on", help="Answer the reported part of another corpus as well; may be given again.")
    ] = None,
    golds: Annotated[
        str,
        typer.Option("--gold", help="'modality': auxiliary answers must agree with their modality's label; 'fused': with the clip's own."),
    ] = "modality",
    retry: Annotated[str | None, typer.Option(help="'failed': start what is recorded as failed again.")] = None,
) -> None:
    """Run a search space, or resume it: the same command again skips what is recorded and resumes what was cut off.

    Exit codes: 0 done, 2 usage, 3 bad data, 4 failed runs or a stop by the disk or by Ray, 130 interrupted.
    """
    if list_ or name is None:
        _print_spaces()
        raise typer.Exit(DONE if list_ else 2)
    from omnimer_ray.launch import as_data, run, status
    from omnimer_ray.planning.setup import Request

    if json_ and not (dry_run or status_):
        raise ConfigError("--json goes with --dry-run or --status")
    if retry not in (None, "failed"):
        raise ConfigError(f"--retry {retry!r}: only 'failed' can be tried again")

    command = shlex.join([python_word(), "-m", "omnimer_ray.sweep", *_without(sys.argv[1:])])
    request = Request(
        name,
        corpus,
        base,
        machine,
        results,
        limit,
        seeds,
        folds,
        media,
        tuple(sorted(exclude or ())),
        retry is not None,
        command,
        golds,
        tuple(evaluate_on or ()),
    )
    if json_:
        typer.echo(json.dumps(as_data(request), indent=1, ensure_ascii=False))
        raise typer.Exit(DONE)
    raise typer.Exit(status(request) if status_ else run(request, dry_run))


def _without(words: list[str]) -> list[str]:
    """The command that resumes, without options that only print, and without --retry."""
    kept = [word for word in words if word not in ("--dry-run", "--status", "--json", "--retry=failed")]
    return [word for place, word in enumerate(kept) if word != "--retry" and not (place and kept[place - 1] == "--retry")]


def _print_spaces() -> None:
    from omnimer_ray.planning.space_files import list_spaces

    typer.echo("Search spaces (python -m omnimer_ray.sweep NAME):")
    files = list_spaces()
    width = max(len(file.name) for file in files)
    for file in files:
        typer.echo(f"  {file.name:{width}}  {file.question}")


def main() -> None:
    """Entry point."""
    run_app(app)


if __name__ == "__main__":
    main()
