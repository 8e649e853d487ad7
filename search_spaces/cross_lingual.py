"""Does the recipe work on a second corpus, and does what it learned carry over? (OmniMER, Tables VII and VIII)

Run:   python -m omnimer_ray.sweep cross_lingual --corpus ch_sims:PATH --evaluate-on indomer:PATH --dry-run, and the other way round
Feeds: the score, per-class and transfer tables of analysis/.    Cost: 6 trained runs in 7 stages, 2 zero-shot evaluations a seed.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace
from search_spaces import ablations


def space(recipe: ThinkerConfig) -> SearchSpace:
    """The rows of `ablations` on sentiment, which both corpora of the paper have."""
    rows = ablations.space(recipe)
    return SearchSpace(baseline=rows.baseline, variants=rows.variants, tasks=("sentiment",))
