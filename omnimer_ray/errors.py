"""Errors that a user can fix. Each names the thing, its value and the way out; all can be pickled, because Ray sends them."""

import difflib
from collections.abc import Iterable


class OmniMERError(Exception):
    """A fault that the user can fix; the command prints its text without a traceback and exits with `exit_code`."""

    exit_code = 2


class ConfigError(OmniMERError):
    """A setting, a search space or an argument is wrong."""


class CorpusError(OmniMERError):
    """Annotations are wrong; holds every fault found, one per line."""

    exit_code = 3


class MediaError(OmniMERError):
    """A clip's video or audio cannot be used."""

    exit_code = 3


class BaseModelError(OmniMERError):
    """The base is not a Qwen2.5-Omni checkpoint, or cannot be read."""


class MachineError(OmniMERError):
    """The machine or its profile does not fit what was asked for."""


class ResultsError(OmniMERError):
    """A results folder is in use or damaged, or contains files that do not belong to the run."""


class StorageError(ResultsError):
    """A file cannot be written: the disk is full, read-only or unreachable."""


class SweepStoppedError(OmniMERError):
    """A sweep ended before its units, because of the disk or of Ray; what was finished is kept."""

    exit_code = 4


class LeaseHeldError(ResultsError):
    """Another live driver holds the lease of a results folder or of a ledger."""


class MissingExtraError(OmniMERError):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(f"package {package!r} is not installed; it comes with the extra {extra!r}: pip install 'omnimer-ray[{extra}]'")

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.package, self.extra)


class DivergedError(OmniMERError):
    """A loss, a gradient or a trained parameter is not finite; the run ends as `diverged`."""


MOST_NAMES = 20  # in one error


def near(name: str, known: Iterable[str], *, like: str | None = None) -> str:
    """Return the last clause of an error about an unknown name: the known names that resemble it, else all of them; never the name itself.

    `like` is compared instead of the name, if only a part of it can resemble a known one.
    """
    known = sorted(set(known) - {name})
    close = difflib.get_close_matches(like or name, known, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(option) for option in close)}?"
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return f"known: {', '.join(repr(option) for option in known[:MOST_NAMES]) or 'none'}{more}"


def joined(faults: Iterable[str]) -> str:
    """Return several faults as one line; a fault that ends with a question needs no semicolon."""
    return "; ".join(faults).replace("?; ", "? ")
