"""Reads a pickle of arrays in a process of its own, with limits, and writes plain files. Only four globals may occur in it.

Run by `python -m omnimer_ray.features import-release`:  python -m omnimer_ray.features.unpickle PICKLE OUT
"""

from __future__ import annotations

import io
import json
import pickle
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np

ALLOWED = {  # what numpy's arrays need, before numpy 2 and since
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
MEMORY_GIB, PROCESSOR_SEC = 16, 600


class Refusing(pickle.Unpickler):
    """An unpickler that knows arrays only."""

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed global. Raises UnpicklingError for any other."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, and only arrays are read")
        return super().find_class(module, name)


def entries(data: bytes) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """Clip and array of each entry of a list of dicts: its one string that is no path, under a key about a name, and its one array of two dimensions.

    Raises ValueError for anything else.
    """
    found = Refusing(io.BytesIO(data)).load()
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ValueError("it is no list of dicts")
    return [_entry(number, entry) for number, entry in enumerate(found)]


def _entry(number: int, entry: dict[Any, Any]) -> tuple[str, np.ndarray[Any, Any]]:
    arrays = {name: value for name, value in entry.items() if isinstance(value, np.ndarray) and value.ndim == 2}
    names = {
        name: value
        for name, value in entry.items()
        if isinstance(value, str) and any(word in str(name).lower() for word in ("id", "name", "clip"))
    }
    if len(arrays) != 1 or len(names) != 1:
        raise ValueError(
            f"entry {number} has {len(arrays)} arrays of two dimensions and {len(names)} names of a clip, and needs one of each; its keys: {', '.join(map(str, entry))}"
        )
    (array,), (name,) = arrays.values(), names.values()
    if not np.issubdtype(array.dtype, np.number) or not array.size or not np.isfinite(array).all():
        raise ValueError(f"entry {number} ({name}) holds {array.dtype} of shape {array.shape}, or values that are not finite")
    return Path(name).stem, array.astype(np.float32)


def main() -> None:
    """Write one .npy a clip into OUT, and index.json; the fault goes to the standard error in one line."""
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_GIB * 2**30,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SEC,) * 2)
    try:
        found = entries(source.read_bytes())
    except Exception as error:  # a pickle may raise anything
        sys.exit(f"{type(error).__name__}: {error}".splitlines()[0])
    for number, (_, array) in enumerate(found):
        np.save(out / f"{number}.npy", array, allow_pickle=False)
    (out / "index.json").write_text(json.dumps([name for name, _ in found]), encoding="utf-8")


if __name__ == "__main__":
    main()
