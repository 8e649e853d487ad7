"""The tables of benchmarks.sweep_cost, from what it found."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from benchmarks.counting import COUNTS
from benchmarks.predicted import compared as prediction
from omnimer_ray.markdown import table


def page(found: dict[str, Any]) -> str:
    """The tables."""
    costs = found["costs"]
    middle = {arm: median(cost["process_sec"] for cost in values) for arm, values in costs.items()}
    rows = []
    for arm, values in costs.items():
        seconds = sorted(cost["process_sec"] for cost in values)
        walls = [cost["wall_sec"] for cost in values]
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
    once = {arm: found["split"][arm].get("supervision", 0.0) for arm in "AB"}
    runs = {arm: median(cost["process_sec"] for cost in found["costs"][arm]) - once[arm] for arm in "AB"}
    for seeds, cost in found["growth"].items():
        ours = cost["process_sec"]
        naive = [once[arm] + runs[arm] * int(seeds) for arm in "AB"]
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
