"""What does each modality add to the main task, alone and together?

Run:   python -m omnimer_ray.sweep modalities --dry-run
Feeds: the score and per-class tables of analysis/.    Cost: 14 trained runs a seed.
Trained and evaluated on the same modalities; `missing` is the question of what a finished model loses without them.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace

SUBSETS = ("T", "A", "V", "TA", "TV", "AV", "TAV")
NAMES = {"T": "text", "A": "audio", "V": "video"}


def space(recipe: ThinkerConfig) -> SearchSpace:
    """Base without auxiliaries on every subset of the modalities; TAV is Base."""
    return SearchSpace(
        baseline=recipe,
        variants={
            "Base" if subset == "TAV" else f"Base, {subset}": {"modalities": {NAMES[letter] for letter in subset}} for subset in SUBSETS
        },
    )
