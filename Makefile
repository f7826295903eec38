# Every target makes .venv from the lock when it is missing or stale: with uv where it is on PATH,
# else with venv and pip. PYTHON names another interpreter, ARGS goes to the command.

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test lab panels check verify bench noise leakbench drills chaos lock

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

install: $(READY) ## make .venv from the lock

demo: $(READY) ## the main job, end to end, then the panels
	$(BIN)/workbench demo $(ARGS)

test: $(READY) ## every test
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lab: $(READY) ## JupyterLab with the notebooks
	$(BIN)/workbench lab $(ARGS)

panels: $(READY) ## the panels in the browser
	$(BIN)/workbench panels $(ARGS)

check: $(READY) ## ruff, mypy, import contracts, bare notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	git ls-files -z '*.ipynb' | xargs -0 -r $(BIN)/nbstripout --verify

verify: $(READY) ## every committed notebook, sealed and executed again
	$(BIN)/python -m pytest -n 2 -m 'long or not long' tests/notebooks/test_verify.py $(ARGS)

bench: $(READY) ## the benchmarks
	$(BIN)/python benchmarks/run.py

noise: $(READY) ## what the gate does to noise: up to an hour, resumable
	$(BIN)/python benchmarks/noise.py $(ARGS)

leakbench: $(READY) ## the recall and false alarms of the leak probes
	$(BIN)/python -m tests.leakbench

drills: $(READY) ## the kill drills, twenty each: ten minutes
	$(BIN)/python benchmarks/drills.py $(ARGS)

chaos: $(READY) ## the client through every fault, two hundred times each: resumable
	$(BIN)/python benchmarks/chaos.py $(ARGS)

lock: ## resolve every extra again into requirements.lock
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header -o requirements.lock

$(READY): requirements.lock pyproject.toml
ifdef UV
	test -x $(BIN)/python || $(UV) venv --python '>=3.11' .venv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Workbench needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	    echo "Install one and name it: make PYTHON=python3.12, or install uv." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c 'import pip' 2>/dev/null || $(BIN)/python -m ensurepip  # uv leaves it out
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	    -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    --no-build-isolation -e .
endif
	$(BIN)/python -c 'from workbench.backtest import kernel; kernel.compile_cached()'
	touch $@
