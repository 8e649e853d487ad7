# make ablations   the whole experiment on this machine: environment, tiny Thinker, generated corpus, tables, report
# make test        the tests
# make check       ruff and mypy
# make chaos       kills a short sweep at random moments until it is done, and compares with an undisturbed one
# make nodes       two Ray nodes here carry a short sweep as a job, stopped half-way and submitted again; compared with an undisturbed one
# make lock        resolve requirements.lock again (names, versions, hashes; no addresses)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: ablations test check chaos nodes lock clean

ablations: $(VENV)/installed
	$(BIN)/python -m omnimer_ray.sweep ablations $(if $(SEEDS),--seeds $(SEEDS))

test: $(VENV)/installed
	$(BIN)/python -m pytest $(PYTEST)

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one with PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

chaos: $(VENV)/installed
	PYTHONPATH=. $(BIN)/python tests/chaos.py $(if $(KILLS),--kills $(KILLS))

nodes: $(VENV)/installed
	PYTHONPATH=. $(BIN)/python tests/two_nodes.py

lock: $(VENV)/installed
	$(BIN)/uv pip compile requirements.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-package omnimer-ray --no-annotate --no-header --output-file requirements.lock

clean:
	rm -rf $(VENV) .cache results
