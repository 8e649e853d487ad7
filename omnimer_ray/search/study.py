"""The Optuna study of a search: draws trials, stores their outcomes, and keeps their whole history.

It is stored in trials/study.journal, which `optuna-dashboard` opens. A trial that a kill left open is resumed with the same parameters;
a run that is recorded but not yet reported to the study is reported at the next start. Values that are not finite are never reported.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from omnimer_ray.config import content_hash, of_thinker
from omnimer_ray.errors import ConfigError
from omnimer_ray.outputs.analysis_inputs import run_scores
from omnimer_ray.planning.pruning import PRUNED, verdicts
from omnimer_ray.planning.search_space import DONE, Search, Trial, draw, identity, trial_run
from omnimer_ray.planning.units import Run
from omnimer_ray.records import read_record, write_json

NAME = "search"  # of the study


class Asked(NamedTuple):
    """A trial and its run."""

    number: int
    params: dict[str, Any]
    run: Run


class Study:
    """The trials of a search; their runs are in `folder`, and their outcomes are also written to `table`."""

    def __init__(self, search: Search, folder: Path, table: Path) -> None:
        self.search, self.folder, self.table = search, folder, table
        self.study = optuna.create_study(
            storage=JournalStorage(_journal(folder)), study_name=NAME, direction="maximize", load_if_exists=True, sampler=_sampler(0, 0)
        )
        self._check_identity()
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        self.open = [self._asked(trial.number) for trial in running]

    @property
    def num_asked(self) -> int:
        """Number of trials so far, including open ones."""
        return len(self.study.get_trials(deepcopy=False))

    def ask(self) -> Asked:
        """Draw the next trial; its random numbers depend on the seed and its number only."""
        asked = self._asked(self.study.ask().number)
        self.open.append(asked)
        self.write()
        return asked

    def settle(self) -> list[Asked]:
        """Report every open trial whose run has a record to the study; return these trials."""
        over = [asked for asked in self.open if self._report(asked)]
        self.open = [asked for asked in self.open if asked not in over]
        self.write()
        return over

    def trials(self) -> list[Trial]:
        """All trials so far, as rows."""
        return [_row(trial) for trial in self.study.get_trials(deepcopy=False)]

    def write(self) -> None:
        """Write trials.json, which planning and analysis read."""
        write_json(self.table, {"search": identity(self.search), "trials": [trial._asdict() for trial in self.trials()]})

    def _asked(self, number: int) -> Asked:
        """Draw a trial's parameters. Those that are drawn already are kept, so a trial that a kill cut short is completed."""
        trial = self._trial(number)
        params = draw(self.search, trial)
        run = trial_run(self.search, params)
        trial.set_user_attr("signature", run.signature)
        return Asked(number, params, run)

    def _trial(self, number: int) -> optuna.Trial:
        self.study.sampler = _sampler(self.search.seed, number)
        return optuna.Trial(self.study, self._frozen(number)._trial_id)

    def _frozen(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

    def _report(self, asked: Asked) -> bool:
        """Report a trial to the study if its run, or a stage that the run needs, has ended; return whether it has."""
        record = _ended(asked.run, self.folder)
        if record is None:
            return False
        trial, outcome = self._trial(asked.number), str(record["outcome"])
        attributes = {
            "outcome": outcome,
            "reason": record.get("reason"),
            "num_steps": record.get("num_steps"),
            "repeats": self._repeated(asked),
        }
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        for verdict in verdicts(self.folder, of_thinker(asked.run.config), asked.run.signature, self.search.rungs):
            trial.report(verdict.value, step=round(100 * verdict.rung))
        if outcome == DONE:
            self.study.tell(asked.number, self._development_f1(asked.run), TrialState.COMPLETE)
        else:
            self.study.tell(asked.number, state=TrialState.PRUNED if outcome == PRUNED else TrialState.FAIL)
        return True

    def _development_f1(self, run: Run) -> float:
        scores = run_scores(self.folder, run)
        assert scores is not None
        assert math.isfinite(scores.macro_f1)
        return scores.macro_f1

    def _repeated(self, asked: Asked) -> int | None:
        """The first trial that was the same run."""
        same = [t.number for t in self.study.get_trials(deepcopy=False) if t.user_attrs.get("signature") == asked.run.signature]
        return min(same) if min(same) < asked.number else None

    def _check_identity(self) -> None:
        """Raise ConfigError if the study was started with other settings."""
        mine = json.loads(json.dumps(identity(self.search)))
        if (first := self.study.user_attrs.get("search")) is None:
            self.study.set_user_attr("search", mine)
        elif other := [name for name in mine if mine[name] != first.get(name)]:
            raise ConfigError(
                f"the study in {self.folder} was started with another {', '.join(other)}; "
                "give another --results, or search in a file of another name"
            )


def _ended(run: Run, folder: Path) -> dict[str, Any] | None:
    """The record that ends a run: its own, or that of a failed stage."""
    if record := read_record(folder / "runs" / run.signature):
        return record
    stages = (read_record(folder / "stages" / stage.key) for stage in run.stages)
    return next((record for record in stages if record and record["outcome"] != DONE), None)


def _row(trial: FrozenTrial) -> Trial:
    about = trial.user_attrs
    names = ("reason", "num_steps", "signature", "repeats")
    value = trial.value if trial.state == TrialState.COMPLETE else None
    outcome = about.get("outcome") if trial.state.is_finished() else None
    return Trial(
        number=trial.number, outcome=outcome, params=trial.params, development_f1=value, **{name: about.get(name) for name in names}
    )


def _sampler(seed: int, number: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # group: the joint form for conditional parameters
        return optuna.samplers.TPESampler(seed=int(content_hash([seed, number])[:8], 16), multivariate=True, group=True)


def _journal(folder: Path) -> JournalFileBackend:
    """Open the study's file. An incomplete last line is cut, and the lock of a dead driver deleted: this driver holds the folder's lease."""
    path = folder / "study.journal"
    folder.mkdir(parents=True, exist_ok=True)
    for lock in folder.glob(f"{path.name}.lock*"):
        lock.unlink()
    if path.exists() and not (data := path.read_bytes()).endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return JournalFileBackend(str(path))
