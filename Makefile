# Sterna: see `make help`.

# Interpreter that makes the virtual environment: 3.11 or newer.
PYTHON ?= python3
# The virtual environment.
VENV ?= .venv
# Board to build for.
BOARD ?= icebreaker
# More arguments for `python -m gateware.build`, for example BUILD="--seeds 8".
BUILD ?=
# More arguments for pytest, for example PYTEST="tests/arch -x".
PYTEST ?=
# PyTorch's build: cpu, or cuda, which is several gigabytes.
TORCH ?= cpu

run := $(VENV)/bin/python -m
system = @PYTHON="$(PYTHON)" sh environment/system.sh
virtual = @"$(PYTHON)" environment/virtual.py --folder "$(VENV)"

.PHONY: help bitstream overlay test test-long check site clean
.DEFAULT_GOAL := help

help:
	@echo "make bitstream  set up .venv, build the bitstream, simulate real digits on the RTL, print the report"
	@echo "make overlay    the same for the overlay, the bitstream for any network (docs/overlay.md)"
	@echo "make test       set up the rest of .venv, run ruff, mypy and the regression"
	@echo "make test-long  run the tests marked long, which take more than a minute each"
	@echo "make check      run ruff and mypy only"
	@echo "make site       make the documentation as a site, in build/site"
	@echo "make clean      remove .venv and everything built"
	@echo
	@echo "BOARD=icebreaker, BUILD=\"arguments of gateware.build\", PYTEST=\"arguments of pytest\","
	@echo "PYTHON=python3, VENV=.venv, TORCH=cpu|cuda change the defaults."

bitstream:
	$(system) bitstream
	$(virtual) bitstream
	@$(run) gateware.build --board $(BOARD) $(BUILD)

overlay:
	$(system) bitstream
	$(virtual) bitstream
	@$(run) gateware.build --board $(BOARD) --weights flash $(BUILD)

check:
	$(system) test
	$(virtual) test --torch $(TORCH)
	@$(run) ruff check
	@$(run) mypy

# pytest comes last: its summary is what a reader, and CI, looks for at the end.
test: check
	@$(run) pytest -n auto --dist loadfile $(PYTEST)

test-long: check
	@$(run) pytest -m long $(PYTEST)

site:
	$(system) test
	$(virtual) test --torch $(TORCH)
	@$(run) docs.site

clean:
	rm -rf "$(VENV)" build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
