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
# # A first look at a sweep
#
# Everything comes from the records of a results folder: no torch, no ray, no GPU. `folder` is the example that comes with the package
# (generated clips and a tiny model: its numbers are **stand-ins**); put your own in its place.

# %%
from pathlib import Path

from analysis import load
from analysis.example import unpack

folder = Path("results/example")
if not folder.exists():
    unpack(folder)
results = load(folder)
results.plan.question, results.stand_ins

# %% [markdown]
# ## What was planned, and what there is of it

# %%
results.runs.group_by("variant", "task", "outcome").len().sort("task", "variant")

# %% [markdown]
# What was to be compared was written down before the first run, with what it can find:

# %%
for line in results.registrations:
    print(line["date"], line["contrasts"], *line["power"], sep="\n")

# %% [markdown]
# ## The score table, as a frame and as printed

# %%
from analysis.ablation import difference_table, score_table

score_table(results, "sentiment").select(
    "variant", "n", "supported_macro_f1", "supported_macro_f1_std", "supported_macro_f1_recipe_low", "supported_macro_f1_recipe_high"
)

# %%
from analysis.formats import terminal
from analysis.grids import difference_grid

print(terminal(difference_grid(difference_table(results, "sentiment"), "sentiment")))

# %% [markdown]
# ## One clip at a time
#
# Clips on which two rows differ, and who is right:

# %%
from analysis.flips import flips

changed = flips(results, "sentiment", "All Aux (Hybrid)", minus="Base")
changed.group_by("right").len().sort("right"), changed.head(5)

# %% [markdown]
# ## A figure

# %%
from IPython.display import SVG, display

from analysis.drawing import drawn
from analysis.score_plots import scores

display(SVG(drawn("scores", lambda figure: scores(figure, results, "sentiment"), results.stand_ins)["scores.svg"]))
