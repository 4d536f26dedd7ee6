# Everything that is done with this repository, on a machine with Python 3.11 or newer and make.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := out/demo

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: $(READY) ## install into .venv, then audit an honest and a dishonest owner on embedded data
	$(BIN)/auditkit demo --out $(DEMO)

test: $(READY) ## install into .venv, then run every test, lint, types and import rules included
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(READY) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## ruff: rewrite the sources to the format, and fix what is safe to fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY) ## mypy
	$(BIN)/mypy

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist out *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One pip command asks for torch in exactly the tested version: a looser request could choose a
# build with gigabytes of GPU libraries.
$(READY): pyproject.toml constraints.txt
	@for python in "$(PYTHON)" python3.11 python3 python; do \
	    if [ -n "$$python" ] && "$$python" -c \
	        'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        found=$$python; break; \
	    fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "make: expected Python 3.11 or newer as python3.11 or python3, found" \
	        "$$(python3 --version 2>&1 || true); install it, or say make PYTHON=/path/to/python" >&2; \
	    exit 1; \
	fi; \
	echo "creating $(VENV) with $$("$$found" --version) (once, a few minutes)"; \
	"$$found" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    -c constraints.txt "torch==2.13.0" -e ".[dev]"
	@touch $(READY)
