"""A sweep on two Ray nodes, one occupied by another driver and the other killed: units wait, and are not recorded as failed.

The sweep starts while the other driver holds the first node's core. Once a unit trains on the second node, that node is killed. No
node can run a unit then, for longer than a worker group waits for its resources. The other driver ends, and the sweep finishes.

Run:  python tests/busy_nodes.py --workers 1
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import psutil
import two_nodes
import typer

WAIT_SEC = 75.0  # Ray Train gives a worker group 60 s to get its resources
OCCUPY = """
import ray, sys
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
ray.init(address=sys.argv[1], log_to_driver=False)
(node,) = (node["NodeID"] for node in ray.nodes() if node["Alive"] and "node:__internal_head__" in node["Resources"])
@ray.remote(num_cpus=1, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
class Holder:
    def ready(self): return True
holder = Holder.remote()
ray.get(holder.ready.remote())
print("occupied", flush=True)
sys.stdin.read()
"""


class Ending(NamedTuple):
    """The observations."""

    code: int
    log: str
    outcomes: Counter[str]  # of the recorded runs
    attempts: Counter[str]  # outcomes of failed attempts, as the cost files of finished units list them
    waited_sec: float  # without a node that could run a unit


def show(space: str, limit: int, workers: int) -> Ending:
    """Run the sweep as described above."""
    with two_nodes.place(workers) as here, two_nodes.cluster(here) as (address, _, nodes):
        other = subprocess.Popen(
            [sys.executable, "-c", OCCUPY, address], env=here.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None
        assert other.stdout.readline() == "occupied\n"
        log = here.root / "sweep.txt"
        with log.open("w") as output:
            environment = {**here.environment, "RAY_ADDRESS": address, "PYTHONPATH": str(two_nodes.ROOT), "COLUMNS": "300"}
            command = here.sweep(space, limit, here.profile)
            sweep = subprocess.Popen(command, env=environment, cwd=two_nodes.ROOT, stdout=output, stderr=output)
        two_nodes.wait_until(lambda: list(here.results.glob("*/*/stages/*/history.jsonl")), 600, f"a first step; see {log}")
        for process in (*psutil.Process(nodes[1].pid).children(recursive=True), psutil.Process(nodes[1].pid)):
            process.kill()
        killed = time.monotonic()
        two_nodes.wait_until(lambda: "waiting for" in log.read_text(), 120, f"the report of a waiting unit; see {log}")
        time.sleep(WAIT_SEC)
        assert sweep.poll() is None, log.read_text()
        waited = time.monotonic() - killed
        other.communicate("")
        code = sweep.wait(timeout=two_nodes.LIMIT_SEC)
        folder = two_nodes.sweep_folder(here)
        records = [json.loads(path.read_text()) for path in folder.glob("runs/*/record.json")]
        costs = [json.loads(path.read_text()) for path in folder.glob("*/*/cost.json")]
        attempts = Counter(attempt["outcome"] for cost in costs for attempt in cost["attempts"])
        return Ending(code, log.read_text(), Counter(record["outcome"] for record in records), attempts, round(waited, 1))


def main(space: str = str(Path(__file__).with_name("recovery_space.py")), limit: int = 48, workers: int = 0) -> None:
    """Print what was observed."""
    ended = show(space, limit, workers)
    print(ended.log)
    print(
        f"exit code {ended.code}; runs {dict(ended.outcomes)}; failed attempts {dict(ended.attempts)}; {ended.waited_sec} s without a node"
    )


if __name__ == "__main__":
    typer.run(main)
