"""Does the wording of the main prompt matter?

Run:   python -m omnimer_ray.sweep prompts --dry-run
Feeds: the score and per-class tables of analysis/.    Cost: 8 trained runs a seed, and 8 zero-shot evaluations.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """Forced choice without training, and Base, with the prompt as everywhere and with three paraphrases of it."""
    methods = {"Zero-shot (forced choice)": {"training": False, "evaluation.decoding": "constrained"}, "Base": {}}
    return SearchSpace(
        baseline=recipe,
        variants={
            f"{name}, paraphrase {number}" if number else name: {**delta, "paraphrase": number}
            for name, delta in methods.items()
            for number in range(4)
        },
    )
