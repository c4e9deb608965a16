# Everything happens in .venv; `make` alone lists what there is.

VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.parlance-installed
DEV := $(VENV)/.parlance-dev-installed
HUB := $(VENV)/.parlance-hub-installed

# Clients that tests try against the server, apart from all else: make clients
CLIENTS := tests/clients
PYTHON_CLIENTS := $(VENV)/clients/.installed
NODE_CLIENTS := $(CLIENTS)/node_modules/.installed

# The first Python on the path that is new enough; PYTHON=/path/to/python overrides it.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for candidate in python3.13 python3.12 python3.11 python3 python; do \
	"$$candidate" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo "$$candidate" && break; done)

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# A worker for each core, but no more than memory is likely to hold; see tests/conftest.py.
PYTEST := $(BIN)/python -m pytest --durations 20
SIDE_BY_SIDE := -n auto --maxprocesses 4 --no-loadscope-reorder
# Passed on: make serve ARGS="--port 8080", make test ARGS="tests/serve -x"
ARGS ?=
# What is served: make serve MODEL=smollm2. Not MODEL of the environment, which may be anything.
MODEL :=
# A model that is named with a slash, and is not on this machine, is one of the hub.
SERVES = $(BASE) $(if $(findstring /,$(MODEL)),$(if $(wildcard $(MODEL)),,$(HUB)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install serve chat clients test test-slow test-mesh check format notebooks clean distclean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(BASE) ## install Parlance into .venv

serve: $(SERVES) ## install if need be, and serve the bundled model, or MODEL, on port 8000
	@$(BIN)/parlance serve $(if $(MODEL),--model '$(MODEL)') $(ARGS)

chat: $(BASE) ## talk to the running server in this terminal
	@$(BIN)/parlance chat $(ARGS)

clients: $(PYTHON_CLIENTS) $(NODE_CLIENTS) ## install the clients that the slow tests try

test: $(DEV) ## run the tests, without the slow ones
	$(PYTEST) $(SIDE_BY_SIDE) -m "not slow" $(ARGS)

test-slow: $(DEV) ## run the slow tests
	$(PYTEST) $(SIDE_BY_SIDE) -m slow $(ARGS)

test-mesh: export XLA_FLAGS := --xla_force_host_platform_device_count=8
test-mesh: export NPROC := 16
test-mesh: export PARLANCE_MESH := data=2,model=4
test-mesh: $(DEV) ## run the end-to-end tests against servers on eight devices
	$(PYTEST) tests/e2e -m "not slow" --ignore tests/e2e/test_hosts.py --timeout 900 $(ARGS)

check: $(DEV) ## check format, lint, types and import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --level error
	$(BIN)/lint-imports

format: $(DEV) ## format the code, and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

notebooks: $(DEV) ## run the notebooks at full size, and keep their outputs and pictures
	$(BIN)/jupyter execute --inplace --timeout=1200 notebooks/*.ipynb
	$(BIN)/ruff format notebooks

clean: ## remove caches and build outputs
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## remove .venv too
	rm -rf $(VENV) $(CLIENTS)/node_modules

# Both stamps are as old as the last install; a change of pyproject.toml installs anew. The
# second waits for the first, so that `make -j` never runs two installers in one environment.
$(BASE): pyproject.toml
	@test -n "$(PYTHON)" && "$(PYTHON)" -c '$(NEW_ENOUGH)' || { \
		echo "make: no Python 3.11 or newer found; install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Installing Parlance into $(VENV); this happens once and takes a few minutes."
	@"$(PYTHON)" -m venv $(VENV) || { \
		echo "make: $(PYTHON) cannot create a virtual environment; on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	@# As `parlance` it was installed before; uninstalled later, that would take the command with it.
	@$(BIN)/python -m pip uninstall -qq --yes parlance
	@$(PIP_INSTALL) --editable '.[audio,media,piper]'
	@touch $@

$(DEV): pyproject.toml $(BASE)
	@echo "Installing the development tools into $(VENV); this happens once and takes a few minutes."
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

$(HUB): pyproject.toml $(BASE)
	@$(PIP_INSTALL) --editable '.[hub]'
	@touch $@

$(PYTHON_CLIENTS): $(CLIENTS)/requirements.txt $(CLIENTS)/constraints.txt
	@echo "Installing the clients for Python into $(VENV)/clients; this takes a few minutes."
	@"$(PYTHON)" -m venv --clear $(VENV)/clients
	@$(VENV)/clients/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--requirement $(CLIENTS)/requirements.txt --constraint $(CLIENTS)/constraints.txt
	@touch $@

$(NODE_CLIENTS): $(CLIENTS)/package.json $(CLIENTS)/package-lock.json
	@command -v npm >/dev/null || { echo "make: no npm found; install Node 18 or newer" >&2; exit 1; }
	@npm ci --prefix $(CLIENTS) --no-audit --no-fund --ignore-scripts
	@touch $@
