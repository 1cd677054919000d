# make demo | test | test-scale | check | bench | clean.  PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-scale check format bench clean

demo: $(VENV)/demo.stamp
	$(BIN)/shelfwise demo $(DEMO)

test: $(VENV)/dev.stamp
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium; } \
		|| echo "no chromium here: tests in a browser are skipped"
	$(BIN)/pytest -n auto --dist loadgroup --durations 25

# Minutes on clusters of two nodes, in network namespaces of their own (docs/scale.md): as root, on Linux.
test-scale: $(VENV)/dev.stamp
	$(BIN)/pytest -m scale -s tests/engine

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What README and docs say of speed (docs/performance.md), into BENCH; on goodbooks-10k, found through SHELFWISE_DATA.
BENCH ?= bench
bench: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/epochs.py --out $(BENCH)
	$(BIN)/python benchmarks/gpu.py --out $(BENCH)
	$(BIN)/python benchmarks/reading.py --out $(BENCH)
	$(BIN)/python benchmarks/stages.py --out $(BENCH)
	$(BIN)/shelfwise train goodbooks-10k --out $(BENCH)/run --overwrite
	$(BIN)/python benchmarks/request.py $(BENCH)/run --out $(BENCH)
	$(BIN)/python benchmarks/everybody.py $(BENCH)/run --out $(BENCH)
	$(BIN)/python benchmarks/reasons.py $(BENCH)/run --out $(BENCH)
	$(BIN)/python benchmarks/serve.py $(BENCH)/run --out $(BENCH)
	$(BIN)/python benchmarks/search.py $(BENCH)/run --out $(BENCH)

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "shelfwise needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/dev.stamp: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/demo.stamp
