# Everything a newcomer or CI runs. Each target makes the virtual environment it needs and reuses it the next time.
#   make demo    predict, train, measure and compare on real data (ARGS="…" is passed on to `lopsided demo`)
#   make test    the whole test suite, on all cores               (ARGS="…" is passed on to pytest)
#   make check   lint, types and the fast tests, within a minute  (ARGS="…" is passed on to pytest)
#   make lint    ruff and mypy        make build   wheel and sdist        make bench   solver and measures, timed
#   make results every experiment of docs/results, an hour or two         (ARGS="…" is passed on to `lopsided reproduce`)
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo picture test check lint format build bench results constraints clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.installed-train
	$(BIN)/lopsided demo $(ARGS)

# The picture of the README.
picture: $(VENV)/.installed-train
	$(BIN)/lopsided demo --output build/picture
	cp build/picture/overview.png docs/images/demo.png

# A worker for each core, but no more than have memory for torch each; a file's tests stay with one worker, since what
# its fixtures train is trained once. In one process, for a debugger: make test ARGS="-n0 --pdb".
PYTEST = $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 10

test: $(VENV)/.installed-test
	$(PYTEST) $(ARGS)

# For the inner loop. Which tests are slow stands beside each, as @pytest.mark.slow: those whose cases take over a tenth of a second together.
# Its slowest ten show where a mark is missing.
check: lint
	$(PYTEST) -m "not slow" $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/python -m build

bench: $(VENV)/.installed-test
	$(BIN)/python benchmarks/solve.py $(ARGS)
	$(BIN)/python benchmarks/large.py $(ARGS)
	$(BIN)/python benchmarks/measure.py $(ARGS)
	$(BIN)/python benchmarks/monitor.py $(ARGS)

# docs/results, trained anew or gone on with from build/results: an hour or two on two cores, Fashion-MNIST at hand. A claim that
# does not hold is a result as well (exit code 1).
results: $(VENV)/.installed-train
	$(BIN)/lopsided reproduce all,next --output build/results $(ARGS) || test $$? -eq 1
	$(BIN)/lopsided reproduce remedies --data digits --output build/results-digits $(ARGS) || test $$? -eq 1
	for folder in build/results/*/figure.png; do cp $$folder docs/results/$$(basename $$(dirname $$folder)).png; done
	cat build/results/*/rows.jsonl >docs/results/rows.jsonl
	cp build/results/verdicts.md docs/results/verdicts.md
	cp build/results-digits/remedies/figure.png docs/results/remedies-digits.png
	cp build/results-digits/remedies/rows.jsonl docs/results/rows-digits.jsonl
	cp build/results-digits/verdicts.md docs/results/verdicts-digits.md

# Takes the newest versions that pyproject.toml admits, in an environment of its own that holds nothing else. What is
# left out: local labels (the +cpu of a PyTorch build) and the CUDA packages, which PyTorch itself pins.
constraints:
	$(PYTHON) -m venv --clear build/constraints
	build/constraints/bin/python -m pip install --quiet '.[dev]' $(ARGS)
	{ sed -n '/^#/p' constraints.txt; build/constraints/bin/python -m pip freeze --exclude lopsided \
		| sed -E '/^(nvidia|cuda|triton)/d; s/\+[a-z0-9.]+$$//'; } > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean:
	rm -rf $(VENV) build dist lopsided-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# One environment, filled by need: `demo` must not wait for the linters.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing lopsided[$*] into $(VENV); the first time takes a minute or two ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@command -v '$(PYTHON)' >/dev/null || { \
		echo "make: $(PYTHON) not found; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python" >&2; \
		exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: lopsided needs Python 3.11 or newer; $(PYTHON) is $$('$(PYTHON)' --version 2>&1);" \
			"name another: make PYTHON=python3.11" >&2; \
		exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: $(PYTHON) cannot make virtual environments; install its venv module" \
			"(Debian and Ubuntu: apt-get install python3-venv)" >&2; \
		exit 1; }
	'$(PYTHON)' -m venv '$(VENV)'
