# Each target makes all that it needs, the virtual environment included.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# results/quickstart is committed; the verb writes to results/local.
.PHONY: quickstart test test-slow test-versions check docs

quickstart: $(VENV)/installed
	$(BIN)/hfbench quickstart

test: $(VENV)/installed
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m "slow or hypothesis"

# What leans on the inside of transformers, with the oldest and the newest that pyproject.toml allows,
# each in a folder that comes before the environment. The oldest wants a huggingface_hub below 2, and
# that one httpx; what else they need is as in the environment. A new release goes into NEWEST and
# hfbench/training/trainer_contract.py.
OLDEST := transformers==5.17.0 huggingface_hub==1.33.0 httpx==0.28.1 httpcore==1.0.9
NEWEST := transformers==5.24.0
LEANING := $(addprefix tests/training/test_, trainer_contract.py trainer.py checkpoints.py build.py \
	packing.py fewer_kernels.py) tests/models/test_custom_gpt.py tests/models/test_custom_gpt_generation.py

test-versions: $(VENV)/installed build/oldest/installed build/newest/installed
	PYTHONPATH=$(CURDIR)/build/oldest $(BIN)/python -m pytest -n auto --maxprocesses 4 $(LEANING)
	PYTHONPATH=$(CURDIR)/build/newest $(BIN)/python -m pytest -n auto --maxprocesses 4 $(LEANING)

build/oldest/installed build/newest/installed: build/%/installed: Makefile | $(VENV)/installed
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --no-deps --target $(@D) \
		$(if $(filter oldest,$*),$(OLDEST),$(NEWEST))
	@touch $@

# The documentation as a site, in build/site. Its tools want Python 3.11, so that .venv lacks them.
docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

$(VENV)/installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "hfbench needs Python 3.10 or newer: there is no $(PYTHON) here (Debian, Ubuntu: apt install python3 python3-venv)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "hfbench needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version). Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
