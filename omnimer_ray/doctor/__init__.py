"""Checks of machine, cluster, corpus and base before a sweep. Each check returns one finding: fine, or what to do.

Run:  python -m omnimer_ray.doctor [--machine PROFILE] [--corpus SPEC] [--base NAME] [--results DIR] [--quick]
"""

from __future__ import annotations

from pathlib import Path

from omnimer_ray.doctor import host, network, software, work
from omnimer_ray.doctor.finding import Finding, refuse
from omnimer_ray.machine.cards import nvidia_cards
from omnimer_ray.machine.profile import MachineProfile, local_resources

__all__ = ["Finding", "quick_findings", "refuse"]


def quick_findings(profile: MachineProfile, results: Path) -> list[Finding]:
    """Return the findings that take a second or two and need neither Ray nor torch: all that would fail, or hang for minutes, in a sweep."""
    cards = nvidia_cards()
    found = [
        software.python(),
        software.packages(),
        software.compiler(profile),
        host.cores(profile),
        host.memory(profile),
        host.disk(results),
        host.storage(results, shared=network.cluster_address(profile) is not None),
        host.cards(profile, cards),
        network.token(profile),
        network.open_servers(),
    ]
    return found if network.cluster_address(profile) else [*found, work.machine(profile, local_resources())]
