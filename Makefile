# setup | check | test | demo: each sets up what it needs, from python3 (3.11 or newer), git and make.
# agents: the real agents that some tests drive, by npm; without them those tests are skipped.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup check style quick test demo agents format clean

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "auto-build needs Python 3.11 or newer; name one: make setup PYTHON=python3.12"; exit 3; }
	@$(PYTHON) -m venv .venv \
	  || { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv"; exit 3; }
	@echo "installing into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY)
	@echo "ready: try  make demo"

check: style quick

style: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

quick: $(READY)
	$(BIN)/pytest -q -n auto --dist loadgroup -m "not slow"

test: $(READY)
	$(BIN)/pytest -n auto --dist loadgroup $(if $(ONLY),-m "$(ONLY)")

agents: .agents/.ready

.agents/.ready: tests/agents/package.json
	@command -v npm > /dev/null || { echo "npm is needed for this: install Node.js 20 or newer"; exit 3; }
	@mkdir -p .agents && cp tests/agents/package.json .agents/
	@echo "installing into .agents ..."
	@npm install --prefix .agents --loglevel=error --no-audit --no-fund --no-package-lock
	@touch .agents/.ready

demo: $(READY)
	$(BIN)/auto-build demo

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv .agents .mypy_cache .ruff_cache .pytest_cache .hypothesis
