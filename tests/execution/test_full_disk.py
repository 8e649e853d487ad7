"""A disk that fills, or becomes read-only, in the middle of a sweep: one line, exit code 4, and the same command finishes later.

The disk is a tmpfs in a mount namespace of its own, which needs no root where user namespaces are allowed.
"""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-euc"]
SCRIPT = """
mount -t tmpfs -o size=700m none disk
sweep() { "$0" -m omnimer_ray.sweep "$1/short_space.py" --limit 48 --machine "$1/quick_machine.yaml" --results disk/results; }
(while ! grep -q . disk/results/*/*/stages/*/history.jsonl 2>/dev/null; do sleep 0.1; done; %s) &
code=0; sweep "$1" >first.out 2>first.err || code=$?; echo $code
%s
sweep "$1" >second.out 2>second.err; echo $?
cp -r disk/results results
"""
FAULTS = {
    "full": ("cat /dev/zero >disk/filler 2>/dev/null || true", "rm disk/filler"),
    "read-only": ("mount -o remount,ro disk", "mount -o remount,rw disk"),
}
REASONS = {"full": "No space left on device", "read-only": "Read-only file system"}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_cannot_be_written_stops_a_sweep_that_then_resumes(fault: str, tmp_path: Path, shared_cache: Path) -> None:
    (tmp_path / "disk").mkdir()
    if subprocess.run([*NAMESPACE, "mount -t tmpfs none disk"], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    command = [*NAMESPACE, SCRIPT % FAULTS[fault], sys.executable, str(TESTS)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.stdout.split() == ["4", "0"], ended.stderr
    first = (tmp_path / "first.out").read_text().splitlines()
    assert (tmp_path / "first.err").read_text() == ""
    assert first[-2].startswith("stopped: ")
    assert REASONS[fault] in first[-2]
    assert first[-1].startswith("what was finished is kept. Resume with:  ")
    assert first[-1].endswith("--results disk/results")
    assert len(list((tmp_path / "results").glob("*/*/runs/*/record.json"))) == 1
