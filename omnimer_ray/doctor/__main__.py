"""The command: one line per check, `fine` or what to do; exit code 0 if all are fine, 1 otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from omnimer_ray.command import run_app
from omnimer_ray.doctor import Finding

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def doctor(
    machine: Annotated[str, typer.Option(help="A machine profile: a name of cluster/ or the path of a YAML file.")] = "laptop",
    corpus: Annotated[
        str, typer.Option(help="'mini' or 'mini_zh' (generated), or NAME:PATH with indomer, ch_sims, meld or table.")
    ] = "mini",
    base: Annotated[
        str, typer.Option(help="'tiny', a folder with a checkpoint, or a hub name, NAME or NAME@COMMIT, such as Qwen/Qwen2.5-Omni-7B.")
    ] = "tiny",
    results: Annotated[Path, typer.Option(help="Where results folders would go.")] = Path("results"),
    quick: Annotated[bool, typer.Option("--quick", help="Only checks that take seconds, without Ray and torch.")] = False,
) -> None:
    """Check whether this machine, its cluster, a corpus and a base are fit to start a sweep, and print what to do if not.

    Exit codes: 0 all checks are fine, 1 something must be fixed, 2 usage.
    """
    checked = broken = 0
    for finding in _findings(machine, corpus, base, results, quick):
        typer.echo(str(finding))
        checked, broken = checked + 1, broken + (not finding.ok)
    typer.echo(f"{broken} of {checked} checks found something to fix" if broken else f"all {checked} checks are fine")
    raise typer.Exit(int(broken > 0))


def _findings(machine: str, corpus: str, base: str, results: Path, quick: bool) -> Iterator[Finding]:
    from omnimer_ray import doctor
    from omnimer_ray.doctor import cluster, network, software, work, workers
    from omnimer_ray.machine.cards import nvidia_cards
    from omnimer_ray.machine.profile import load_profile, local_resources

    profile = load_profile(machine)
    yield from doctor.quick_findings(profile, results)
    if quick:
        return
    yield software.operators(profile)
    offered, found = local_resources(), nvidia_cards()
    cards = [] if isinstance(found, str) else found
    if network.cluster_address(profile):
        checked = cluster.check(profile, results)
        yield from checked.findings
        offered, cards = checked.offered, checked.cards
    else:
        yield workers.all_reduce(profile, workers.local_slots(profile, len(cards)))
    yield work.corpus(corpus)
    finding, located = work.base(base)
    yield finding
    yield work.fits(profile, located, offered, cards)


def main() -> None:
    """Entry point."""
    run_app(app)


if __name__ == "__main__":
    main()
