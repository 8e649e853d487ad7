"""What in the auxiliary supervision helps: more updates, more labels, or the explanations?

Run:   python -m omnimer_ray.sweep supervision_kinds --dry-run
Feeds: the score and per-class tables of analysis/.    Cost: 18 trained runs a seed.
All rows but Base are All Aux (Hybrid). Nobody has published these controls: the auxiliaries bring updates and gold modality labels that
Base never sees, beside the explanations that the method is about.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """Each row keeps something of the full supervision and gives up something else; `notes` say what a comparison with it rules out."""
    hybrid = {"auxiliaries": {"text", "video", "audio"}, "schedule": "hybrid"}
    return SearchSpace(
        baseline=recipe,
        variants={
            "Base": {},
            "All Aux (Hybrid)": hybrid,
            "Label only": {**hybrid, "auxiliary_answers": "label"},
            "Label only, all clips": {**hybrid, "auxiliary_answers": "label", "auxiliary_clips": "labelled"},
            "Shuffled explanations": {**hybrid, "auxiliary_answers": "shuffled"},
            "Placebo": {**hybrid, "auxiliary_answers": "placebo"},
            "Agreed only": {**hybrid, "auxiliary_clips": "agreed"},
            "Constrained only": {**hybrid, "auxiliary_clips": "constrained"},
            "Mixed, same size": {**hybrid, "auxiliary_clips": "mixed"},
        },
        reference="All Aux (Hybrid)",
        contrasts=(
            *(("All Aux (Hybrid)", name) for name in ("Base", "Label only", "Label only, all clips", "Shuffled explanations", "Placebo")),
            ("Agreed only", "Mixed, same size"),
            ("Constrained only", "Mixed, same size"),
        ),
        notes={
            "Label only": "if it is as good as the full answers, the gold modality labels help, not the explanations",
            "Label only, all clips": "if it is as good as the full answers, labels help, and no supervision has to be built",
            "Shuffled explanations": "if it is as good as the full answers, what an explanation says about its own clip does not matter",
            "Placebo": "if it is as good as the full answers, more updates on the same tokens help, not their information",
            "Agreed only": "if it is better than the mixture of the same size, answers that were given the label do harm",
            "Constrained only": "if it is as good as agreed answers, the base need not have recognised the label itself",
            "Mixed, same size": "the reference of the two rows above: the same number of items and of steps",
        },
    )
