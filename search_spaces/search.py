"""Which auxiliary tasks, schedule, mixture, LoRA rank, alpha and learning rate together are best?

Run:   python -m omnimer_ray.sweep search --dry-run
Cost:  32 trials on three quarters of train, most of them pruned, then the best three and Base on three seeds: 12 trained runs.
Chosen on the corpus's own development part, or one of train; only the confirmed runs are evaluated on the reported part.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.search_space import Search


def space(recipe: ThinkerConfig) -> Search:
    """Ranges are Search's own; name here what should differ."""
    return Search(baseline=recipe)
