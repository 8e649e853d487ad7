"""What do retries and checks of the auxiliary answers change?

Run:   python -m omnimer_ray.supervision build supervision_settings      # the yields alone
       python -m omnimer_ray.sweep supervision_settings --dry-run        # and what they are worth
Feeds: the score and per-class tables of analysis/.    Cost: 10 trained runs a seed, and 13 parts of the supervision ledger.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """All Aux (Hybrid), with the paper's supervision and with each setting on alone, then all of them."""
    hybrid = {"auxiliaries": {"text", "video", "audio"}, "schedule": "hybrid"}
    on = {"supervision.retries": 3, "supervision.keywords_must_occur": True, "supervision.leak_guard": True}
    return SearchSpace(
        baseline=recipe,
        variants={
            "All Aux (Hybrid)": hybrid,
            "3 retries": {**hybrid, "supervision.retries": 3},
            "Keywords must occur": {**hybrid, "supervision.keywords_must_occur": True},
            "Leak guard": {**hybrid, "supervision.leak_guard": True},
            "All of them": {**hybrid, **on},
        },
        notes={
            "3 retries": "if it is as good as one answer, more accepted items do not help",
            "Keywords must occur": "if it is as good as without, keywords that are not in the transcript do no harm",
            "Leak guard": "if it is as good as without, explanations that only restate their label do no harm",
        },
    )
