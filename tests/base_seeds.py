"""Base alone, for many seeds: a real null for the tests of the analysis.

Run:   python -m omnimer_ray.sweep tests/base_seeds.py --seeds 24
Feeds: python -m analysis calibrate FOLDER --row Base
Cost:  2 trained runs a seed.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """One row: nothing differs but the seed."""
    return SearchSpace(baseline=recipe, variants={"Base": {}})
