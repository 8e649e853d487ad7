"""What a sweep costs trial by trial, and what it costs here: process seconds of alternating rounds, and counts of a run apart.

Run:   python -m benchmarks.sweep_cost              (an hour on two cores; --rounds 1 --limit 24 for a look)

Arms: A, one process a trial as with a common trainer: media decoded for every item, mel features padded to 300 s, full logits, recompute, one answer
at a time, no shared stage. B, the same with decoded media kept, logits of answers only and no recompute. C, `python -m omnimer_ray.sweep`.
All arms train the same items in the same steps, on the same base and clips; the gate compares adapters and answers. Then C in one process without
Ray, and the same less one lever at a time. What arithmetic predicts is printed first.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import psutil
import typer

from benchmarks.cost_figure import figure
from benchmarks.cost_page import page
from benchmarks.counting import counted
from benchmarks.double import distances
from benchmarks.levers import levers, run_here
from benchmarks.naive import Task, Ways, execute, execute_alone
from benchmarks.predicted import of_a_main_item, operations
from omnimer_ray.corpora import default_cache
from omnimer_ray.execution.handout import write_manifest
from omnimer_ray.planning.setup import Request, Sweep, prepare, read_corpus
from omnimer_ray.planning.units import LedgerPart, LedgerUnit, Run
from omnimer_ray.tasks.supervision import read_entries

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
SPACE = Path(__file__).with_name("cost_space.py")
MICRO_BATCH = 8
OURS = Ways(on_the_fly=False, full_logits=False, recompute=False, mask=False, keeps_outputs=True)  # of training, for the gate
WAYS = {"A": Ways(on_the_fly=True, full_logits=True, recompute=True), "B": Ways(on_the_fly=False, full_logits=False, recompute=False)}
SUBREAPER = 36  # prctl: orphans of our children become ours, so that their seconds are counted
SAMPLE_SEC = 0.2  # what a process does after its last sample is not counted
SAME = 1e-8  # relative L2 of what training changed, in float64


class Cost(NamedTuple):
    """Of one arm in one round."""

    process_sec: float  # of all its processes
    wall_sec: float


@app.command()
def main(
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    limit: Annotated[int, typer.Option(help="Clips of mini.", min=16)] = 48,
    lever_rounds: Annotated[int, typer.Option(min=1)] = 3,
    seeds: Annotated[list[int], typer.Option(help="How cost grows: ours with so many seeds, of 6 runs each; may be repeated.")] = [],  # noqa: B006
    out: Annotated[Path, typer.Option(help="Scratch folder and results; emptied first.")] = Path("results/sweep_cost"),
) -> None:
    """Run the rounds, the gate, the counts and the levers; write sweep_cost.json, its tables (.md) and picture (.png, .svg)."""
    shutil.rmtree(out, ignore_errors=True)
    out = out.absolute()
    out.mkdir(parents=True)
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of all arms
    sweep = prepared(out / "plan", limit)
    print(f"Predicted for a trained main item of the 7B, 1e12 operations:\n\n{of_a_main_item()}\n", flush=True)
    costs: dict[str, list[Cost]] = {arm: [] for arm in "ABC"}
    for number in range(rounds):
        for arm in "ABC" if number % 2 == 0 else "CBA":
            place = out / f"{arm}{number}"
            costs[arm].append(_measured(_runner(arm, place, sweep, limit)))
            print(
                f"round {number + 1}, arm {arm}: {costs[arm][-1].process_sec:.0f} process seconds, {costs[arm][-1].wall_sec:.0f} s",
                flush=True,
            )
    predicted = predict(sweep, out / "C0")
    print(f"Predicted operations: {predicted}", flush=True)
    found = {
        "limit": limit,
        "runs": len(sweep.plan.runs),
        "gate": compared(sweep, out),
        "costs": {arm: [cost._asdict() for cost in values] for arm, values in costs.items()},
        "split": {arm: split(out / f"{arm}0") for arm in "ABC"},
        "counts": {arm: count(arm, out / f"count_{arm}", sweep) for arm in "ABC"},
        "levers": without(sweep, out / "levers", lever_rounds),
        "predicted": predicted,
        "growth": {count: _measured(_ours(out / f"C{count} seeds", limit, count))._asdict() for count in seeds},
        "unique": unique(sweep),
    }
    (out / "sweep_cost.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "sweep_cost.md").write_text(page(found), encoding="utf-8")
    for name, data in figure(found).items():
        (out / name).write_bytes(data)
    print(page(found))


def prepared(results: Path, limit: int) -> Sweep:
    """The plan that all arms follow, with its clips' media."""
    request = Request(str(SPACE), "mini", "tiny", "laptop", results, limit, 1, None, None, (), False, "")
    sweep = prepare(request)
    return sweep._replace(corpus=read_corpus(sweep.request, generate=True))


def tasks(sweep: Sweep, place: Path, ways: Ways) -> list[Task]:
    """The processes of a naive sweep, in their order."""
    place.mkdir(parents=True, exist_ok=True)
    write_manifest(place / "manifest.json", sweep.corpus.clips)
    common: tuple[Any, ...] = (sweep.base, place / "manifest.json", place / "ledgers", place / "cache", place, ways, MICRO_BATCH)
    parts = {unit.part.key: unit.part for unit in sweep.plan.units if isinstance(unit, LedgerUnit)}
    works: list[Run | LedgerPart] = [*parts.values(), *sweep.plan.runs.values()]
    return [Task(work, *common) for work in works]


def _runner(arm: str, place: Path, sweep: Sweep, limit: int) -> Callable[[], None]:
    """What an arm does, from nothing to all answers."""
    if arm in WAYS:

        def naive() -> None:
            for works in (LedgerPart, Run):  # runs need the supervision
                chosen = [task for task in tasks(sweep, place, WAYS[arm]) if isinstance(task.work, works)]
                with ThreadPoolExecutor(os.cpu_count()) as pool:  # as many at once as ours
                    list(pool.map(_in_a_process, chosen, range(len(chosen))))

        return naive

    return _ours(place, limit, 1)


def _in_a_process(task: Task, number: int) -> None:
    """A trial of a naive arm."""
    process = multiprocessing.get_context("spawn").Process(target=execute_alone, args=(task, f"{type(task.work).__name__}{number}"))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"trial {number} in {task.out} ended with {process.exitcode}; its output is in the .txt files there")


def _ours(place: Path, limit: int, seeds: int) -> Callable[[], None]:
    """Our sweep with an empty cache."""

    def ours() -> None:
        cache = place / "cache" / "omnimer_ray"
        cache.mkdir(parents=True)
        for kept in ("mini", "hashes"):  # the clips themselves are made once, for all arms
            shutil.copytree(default_cache() / kept, cache / kept)
        words = [str(SPACE), "--limit", str(limit), "--seeds", str(seeds), "--results", str(place / "results")]
        environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache")}
        with (place / "log.txt").open("w") as log:
            subprocess.run([sys.executable, "-m", "omnimer_ray.sweep", *words], check=True, env=environment, stdout=log, stderr=log)

    return ours


def _measured(run: Callable[[], None]) -> Cost:
    """Seconds of a call's processes; they are read every SAMPLE_SEC, because Ray's daemons do not wait for their children, whose seconds would be lost."""
    seconds: dict[tuple[int, float], float] = {}
    ended = threading.Event()
    watcher = threading.Thread(target=_sample, args=(seconds, ended), daemon=True)
    began = time.monotonic()
    watcher.start()
    try:
        run()
    finally:
        wall = time.monotonic() - began
        ended.set()
        watcher.join()
    return Cost(sum(seconds.values()), wall)


def _sample(seconds: dict[tuple[int, float], float], ended: threading.Event) -> None:
    me = psutil.Process()
    while not ended.wait(SAMPLE_SEC):
        for process in me.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                seconds[process.pid, process.create_time()] = times.user + times.system


def compared(sweep: Sweep, out: Path) -> dict[str, Any]:
    """The gate: A and B train in float64 as in our ways; supervision and answers of A and B are those of C."""
    ours, theirs = out / "C0" / "results", _answers_of_ours(sweep, out / "C0")
    apart = distances(sweep, ours / "ledgers", out / "gate", OURS, WAYS)
    gate: dict[str, Any] = {f"relative L2 of {arm} and C in float64": value for arm, value in apart.items()}
    for arm in WAYS:
        found = {
            signature: json.loads((out / f"{arm}0" / f"{signature}.json").read_text(encoding="utf-8"))["answers"] for signature in theirs
        }
        wrong = sum(theirs[signature][clip] != label for signature, answers in found.items() for clip, label in answers.items())
        gate[f"answers of {arm} that are not C's"] = f"{wrong} of {sum(map(len, theirs.values()))}"
        gate[f"supervision of {arm} is C's"] = _ledger(sweep, out / f"{arm}0" / "ledgers") == _ledger(sweep, ours / "ledgers")
    gate["passed"] = all(
        apart[arm] < SAME and gate[f"supervision of {arm} is C's"] and gate[f"answers of {arm} that are not C's"].startswith("0 ")
        for arm in WAYS
    )
    return gate


def _answers_of_ours(sweep: Sweep, place: Path) -> dict[str, dict[str, str | None]]:
    import polars as pl

    files = {file.parent.name: file for file in (place / "results").glob("*/*/runs/*/predictions.parquet")}
    return {signature: dict(pl.read_parquet(files[signature]).select("clip", "prediction").iter_rows()) for signature in sweep.plan.runs}


def _ledger(sweep: Sweep, folder: Path) -> dict[tuple[str, str], str | None]:
    """(instruction, clip) -> answer of every entry."""
    parts = {unit.part.key: unit.part for unit in sweep.plan.units if isinstance(unit, LedgerUnit)}.values()
    return {(part.kind, clip): entry["answer"] for part in parts for clip, entry in read_entries(folder / part.key, part.kind).items()}


def count(arm: str, place: Path, sweep: Sweep) -> dict[str, float]:
    """What an arm does, counted in this process."""
    with counted(flops=True) as counts:
        if arm in WAYS:
            for task in tasks(sweep, place, WAYS[arm]):
                execute(task)
        else:
            run_here(sweep, place, levers()["ours"])
    return dict(counts)


def without(sweep: Sweep, place: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """C in this process, and less one lever at a time: seconds of alternating rounds, and counts of a run apart."""
    found: dict[str, dict[str, Any]] = {name: {"sec": []} for name in levers()}
    run_here(sweep, place / "to warm up", levers()["ours"])  # imports and DeepSpeed's operator
    for number in range(rounds):
        for name in found if number % 2 == 0 else reversed(found):
            found[name]["sec"].append(run_here(sweep, place / f"{number} {name}", levers()[name]))
            print(f"round {number + 1}, {name}: {found[name]['sec'][-1]:.0f} s of this process", flush=True)
    for name, entry in found.items():
        with counted(flops=True) as counts:
            run_here(sweep, place / f"counted {name}", levers()[name])
        entry["counts"] = dict(counts)
    return found


def predict(sweep: Sweep, place: Path) -> dict[str, float]:
    """Operations of each arm by arithmetic, from the supervision of our sweep."""
    from omnimer_ray.model.inputs import Encoder
    from omnimer_ray.model.thinker import load_thinker

    config = sweep.recipe
    encoder = Encoder(load_thinker(sweep.base, config.base.precision).processor, config, place / "cache" / "omnimer_ray")
    return operations(sweep, place / "results" / "ledgers", encoder)


def split(place: Path) -> dict[str, float]:
    """Seconds by what they were spent on: of an arm's processes, or of our units (whose clock is the wall's)."""
    found: dict[str, float] = {}
    for file in [*place.glob("*.sec.json"), *place.glob("results/*/*/runs/*/cost.json"), *place.glob("results/*/*/stages/*/cost.json")]:
        entry = json.loads(file.read_text(encoding="utf-8"))
        names = (
            {"startup_sec": "start", "training_sec": "training", "evaluation_sec": "evaluation"}
            if "pace" in entry
            else dict.fromkeys(entry)
        )
        for name, shown in names.items():
            found[shown or name] = found.get(shown or name, 0.0) + float(entry.get(name, 0.0))
    return found


def unique(sweep: Sweep) -> dict[str, int]:
    """How often each kind of work is needed at least."""
    clips = len(sweep.corpus.clips)
    return {"decodes": 2 * clips, "mel computations": clips, "vision tower passes": clips}


if __name__ == "__main__":
    app()
