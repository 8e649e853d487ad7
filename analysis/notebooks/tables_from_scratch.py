# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A paper's tables from predictions alone
#
# How a row of the score table comes about: predictions, counts by source video, scores, intervals, a test. The numbers of the example are
# **stand-ins**.

# %%
from pathlib import Path

import numpy as np
import polars as pl

from analysis import load
from analysis.example import unpack

folder = Path("results/example")
if not folder.exists():
    unpack(folder)
results = load(folder)

# %% [markdown]
# ## Predictions of a row, seed by seed

# %%
runs = results.runs.filter((pl.col("variant") == "Base") & (pl.col("task") == "sentiment"))
answers = {
    seed: results.predictions.filter(pl.col("signature") == signature).sort("clip")
    for seed, signature in runs.select("seed", "signature").iter_rows()
}
answers[0].select("clip", "source_video", "gold", "prediction").head(4)

# %% [markdown]
# ## Counts by source video, and a score of their sums
#
# Clips of one video are not independent, so a video is the unit. A score is made of the sums of these counts; that makes leaving a video out a subtraction.

# %%
from sklearn.metrics import f1_score

from analysis.statistics import f1_counts, video_counts
from omnimer_ray.corpora.clips import SENTIMENTS

counts = np.stack(
    [
        video_counts(
            gold=frame["gold"].to_list(), predicted=frame["prediction"].to_list(), videos=frame["source_video"].to_list(), labels=SENTIMENTS
        )
        for frame in answers.values()
    ]
)
terms = f1_counts(counts, range(len(SENTIMENTS)))
theirs = [f1_score(frame["gold"], frame["prediction"].fill_null("none"), labels=SENTIMENTS, average="macro") for frame in answers.values()]
assert np.allclose(terms.score, theirs)
terms.score

# %% [markdown]
# ## The interval for these models, and for the recipe
#
# These models: the delete-one-video jackknife. The recipe: training again with other seeds, too, so the spread over seeds is added, pooled over all rows.

# %%
from analysis.intervals import PRIMARY, task_intervals
from analysis.statistics import these_models

models = these_models(float(terms.score.mean()), terms.influences.mean(0), terms.df)
found = task_intervals(results, "sentiment").row("Base", PRIMARY)
assert np.isclose(models.low, found.models.low)
models, found.recipe

# %% [markdown]
# ## A test of a difference
#
# Whole videos are swapped between two rows; how often is the difference as large as the one observed? All registered contrasts share the swaps,
# which corrects for their number.

# %%
from analysis.intervals import p_values
from analysis.swap_test import draw_masks, p_value

intervals = task_intervals(results, "sentiment")
masks = draw_masks(counts.shape[1])
alone = p_value(intervals.swapped("All Aux (Hybrid)", PRIMARY, masks, minus="Base"))
alone, p_values(results)["sentiment", "All Aux (Hybrid)", "Base"]

# %% [markdown]
# ## Every table in every format

# %%
from analysis.sweep_tables import tables

files = tables(results)
print(files["emotion.tex"])
sorted(files)
