"""Does a sweep that is killed again and again end where an undisturbed one ends?

A short space for the tests of recovery: one-stage runs, two-stage ones that share their first stage over both tasks, and networks on features.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.fusion_config import Linear, Tfn, late_fusion, on_features
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """A few steps a stage."""
    short = {"epochs": 3.0, "global_batch": 8}
    probe, network = on_features(recipe, Linear()), on_features(recipe, Tfn(text_out=32, audio_hidden=16, video_hidden=16), epochs=40.0)
    return SearchSpace(
        baseline=recipe,
        variants={
            "Base": short,
            "All Aux (Multi-stage)": {
                **short,
                "evaluation.auxiliaries": False,
                "auxiliaries": {"text", "video", "audio"},
                "schedule": "multi_stage",
            },
            "TFN": network,
            "Linear": probe,
            "Late fusion": late_fusion(probe=probe, network=network),
        },
    )
