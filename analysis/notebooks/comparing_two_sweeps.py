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
# # Two sweeps in one table
#
# Two groups have run parts of an experiment on the same corpus and base. Their records are put together by clip and by fingerprint; media and
# weights stay where they are. Here both parts are cut out of the example, whose numbers are **stand-ins**.

# %%
import shutil
from pathlib import Path

from analysis import load
from analysis.example import unpack

whole = Path("results/example")
if not whole.exists():
    unpack(whole)
parts = [Path(f"results/group_{name}") for name in "ab"]
for place, part in enumerate(parts):
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(whole, part)
    for number, run in enumerate(sorted((part / "runs").iterdir())):
        if number % 2 == place:
            shutil.rmtree(run)
[load(part).runs["outcome"].value_counts() for part in parts]

# %%
from analysis.merge import merge

both = Path("results/both_groups")
shutil.rmtree(both, ignore_errors=True)
merge(parts, both)

# %% [markdown]
# The merged folder is a results folder like any other: the same tables as those of the whole sweep.

# %%
from analysis.sweep_tables import tables

assert tables(load(both)) == tables(load(whole))

# %% [markdown]
# What does not fit is named, all of it, and nothing is written:

# %%
from omnimer_ray.errors import ResultsError
from omnimer_ray.records import read_json, write_json

plan = read_json(parts[1] / "plan.json")
write_json(parts[1] / "plan.json", {**plan, "base": {**plan["base"], "revision": "another"}})
try:
    merge(parts, Path("results/never"))
except ResultsError as error:
    print(error)
