"""The work of a unit, and seconds as text."""

import pytest
from making import ablations, tiny_config

from omnimer_ray.planning.extents import STARTUP_ITEMS, Extent, duration, extents_of
from omnimer_ray.planning.plan import make_plan
from omnimer_ray.planning.units import StageUnit

PLAN = make_plan(ablations(tiny_config()))
EXTENTS = extents_of(PLAN, num_training=160, num_scored=96)
BASE = next(unit for unit in PLAN.units if unit.title == "Base / sentiment, seed 0")
ZERO = next(unit for unit in PLAN.units if unit.title == "Zero-shot / emotion")
LEDGER = PLAN.units[0]
SHARED = next(unit for unit in PLAN.units if isinstance(unit, StageUnit))


def test_how_much_there_is_to_do() -> None:
    assert EXTENTS[BASE.id] == Extent(steps=50, answers=4 * 96, batch=16)
    assert EXTENTS[SHARED.id] == Extent(steps=150, answers=0, batch=16)
    assert EXTENTS[ZERO.id] == Extent(steps=0, answers=4 * 96, batch=0)
    assert EXTENTS[LEDGER.id] == Extent(steps=0, answers=160, batch=0)
    assert EXTENTS[BASE.id].work == 50 * 16 + 4 * 96 + STARTUP_ITEMS


@pytest.mark.parametrize(("seconds", "text"), [(3, "10 s"), (44, "40 s"), (89, "90 s"), (200, "3 min"), (6000, "1.7 h")])
def test_durations_are_rounded(seconds: float, text: str) -> None:
    assert duration(seconds) == text
