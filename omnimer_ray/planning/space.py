"""A search space: one question, as a complete baseline and named changes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from omnimer_ray.config import RunConfig, ThinkerConfig


@dataclass(frozen=True)
class SearchSpace:
    """One question: a bound baseline and named deltas on it; the names are the row names of its table."""

    baseline: ThinkerConfig
    variants: Mapping[str, dict[str, Any] | RunConfig]  # changes of the baseline, or a run of another method as it is
    tasks: tuple[str, ...] = ("sentiment", "emotion")
    seeds: tuple[int, ...] = (0,)
    notes: Mapping[str, str] = field(default_factory=dict)  # of a variant: what its row rules out, printed with the tables
    reference: str | None = None  # the row that the others are compared with; None: Base if there is one, else the first
    contrasts: tuple[tuple[str, str], ...] | None = None  # (row, reference) to register; None: every trained row against `reference`
    grid: bool = False  # generated variants: equal ones are merged, and the plan says so; explicit ones must differ

    def with_seeds(self, seeds: tuple[int, ...]) -> SearchSpace:
        """The same question with other seeds."""
        return replace(self, seeds=seeds)
