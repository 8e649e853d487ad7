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
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import psutil
import typer

from benchmarks.cost_figure import figure
from benchmarks.counting import COUNTS, counted
from benchmarks.double import distance
from benchmarks.levers import levers, run_here
from benchmarks.naive import Task, Ways, execute
from benchmarks.predicted import compared as prediction
from benchmarks.predicted import of_a_main_item, operations
from omnimer_ray.corpora import default_cache
from omnimer_ray.execution.handout import write_manifest
from omnimer_ray.markdown import table
from omnimer_ray.planning.setup import Request, Sweep, prepare, read_corpus
from omnimer_ray.planning.units import LedgerPart, LedgerUnit, Run
from omnimer_ray.tasks.supervision import read_entries

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
SPACE = Path(__file__).with_name("cost_space.py")
MICRO_BATCH = 8
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
    file = task.out / f"{type(task.work).__name__}{number}.pickle"
    file.write_bytes(pickle.dumps(task))
    with file.with_suffix(".txt").open("w") as log:
        words = [sys.executable, "-m", "benchmarks.naive", str(file)]
        subprocess.run(words, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log)


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
    """The gate: A and B train alike in float64; supervision and answers of A and B are those of C."""
    ours, theirs = out / "C0" / "results", _answers_of_ours(sweep, out / "C0")
    gate: dict[str, Any] = {"relative L2 of A and B in float64": distance(sweep, ours / "ledgers", out / "gate", WAYS["A"], WAYS["B"])}
    for arm in WAYS:
        found = {
            signature: json.loads((out / f"{arm}0" / f"{signature}.json").read_text(encoding="utf-8"))["answers"] for signature in theirs
        }
        wrong = sum(theirs[signature][clip] != label for signature, answers in found.items() for clip, label in answers.items())
        gate[f"answers of {arm} that are not C's"] = f"{wrong} of {sum(map(len, theirs.values()))}"
        gate[f"supervision of {arm} is C's"] = _ledger(sweep, out / f"{arm}0" / "ledgers") == _ledger(sweep, ours / "ledgers")
    gate["passed"] = gate["relative L2 of A and B in float64"] < SAME and all(
        gate[f"supervision of {arm} is C's"] and gate[f"answers of {arm} that are not C's"].startswith("0 ") for arm in WAYS
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


def page(found: dict[str, Any]) -> str:
    """The tables."""
    costs = {arm: [Cost(**cost) for cost in values] for arm, values in found["costs"].items()}
    middle = {arm: median(cost.process_sec for cost in values) for arm, values in costs.items()}
    rows = []
    for arm, values in costs.items():
        seconds = sorted(cost.process_sec for cost in values)
        walls = sorted(cost.wall_sec for cost in values)
        ratio = f"{middle[arm] / middle['C']:.2f}"
        rows.append((arm, f"{middle[arm]:.0f} [{seconds[0]:.0f}, {seconds[-1]:.0f}]", f"{median(walls):.0f}", ratio))
    counts, lines = found["counts"], []
    for name in (*COUNTS, "operations"):
        ratios = (f"{counts[arm][name] / counts['C'][name]:.2f}" if counts["C"][name] else "" for arm in "AB")
        lines.append((name, *(f"{counts[arm][name]:,.0f}" for arm in "ABC"), *ratios, str(found["unique"].get(name, ""))))
    parts = sorted({name for values in found["split"].values() for name in values})
    parted = [(arm, *(f"{found['split'][arm].get(name, 0.0):.0f}" for name in parts)) for arm in costs]
    gate = found["gate"]
    return "\n".join(
        [
            f"# The cost of a sweep: {found['runs']} runs on {found['limit']} clips",
            "",
            "STAND-IN: generated clips, the tiny Thinker. Seconds are those of processes, of a machine that may be shared; counts are exact.",
            "",
            f"Gate {'passed' if gate['passed'] else 'FAILED: the numbers below compare nothing'}: {json.dumps(gate)}",
            "",
            table(("arm", "process seconds, median [range]", "seconds", "to C"), rows, numbers=True),
            "",
            "Where the seconds of the first round went (A, B: of processes; C: of the units' clocks, beside the driver, supervision and Ray):",
            "",
            table(("arm", *parts), parted, numbers=True),
            "",
            table(("counted in a run apart", "A", "B", "C", "A to C", "B to C", "needed"), lines, numbers=True),
            "",
            "Operations by arithmetic, before the counting:",
            "",
            prediction(found["predicted"], counts),
            "",
            "C in one process without Ray, and the same with one thing done naively:",
            "",
            _lever_table(found["levers"]),
            "",
            *_growth(found),
        ]
    )


def _growth(found: dict[str, Any]) -> list[str]:
    """How cost grows with the number of runs; the naive arms' by their first rounds, because each of their runs costs as much as any other."""
    if not found["growth"]:
        return []
    own, lines = found["runs"], []
    middle = {arm: median(cost["process_sec"] for cost in found["costs"][arm]) for arm in "ABC"}
    first = {arm: middle[arm] - found["split"][arm].get("supervision", 0.0) for arm in "AB"}
    for seeds, cost in found["growth"].items():
        ours = cost["process_sec"]
        naive = [first[arm] * int(seeds) + found["split"][arm].get("supervision", 0.0) for arm in "AB"]
        ratios = (f"{value / ours:.2f}" for value in naive)
        lines.append(
            (str(own * int(seeds)), f"{ours:.0f}", f"{ours / (own * int(seeds)):.1f}", *(f"{value:.0f}" for value in naive), *ratios)
        )
    heads = ("runs", "C, process seconds", "C, of a run", "A, computed", "B, computed", "A to C", "B to C")
    return [
        "How cost grows: C measured once for each number of runs, A and B computed from their rounds:",
        "",
        table(heads, lines, numbers=True),
        "",
    ]


def _lever_table(found: dict[str, dict[str, Any]]) -> str:
    """One line per lever; ratios to ours."""
    shown = ("operations", "decodes", "vision tower passes", "token passes, padding included", "vocabulary rows", "decode steps")
    ours, lines = found["ours"], []
    for name, entry in found.items():
        seconds = sorted(entry["sec"])
        ratio = f"{median(seconds) / median(ours['sec']):.2f}"
        counted_here = (f"{entry['counts'][what]:,.0f}" for what in shown[1:])
        times = f"{entry['counts']['operations'] / ours['counts']['operations']:.2f}"
        lines.append((name, f"{median(seconds):.0f} [{seconds[0]:.0f}, {seconds[-1]:.0f}]", ratio, times, *counted_here))
    return table(("ours, but", "process seconds", "to ours", "operations, to ours", *shown[1:]), lines, numbers=True)


if __name__ == "__main__":
    app()
