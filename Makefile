# One target per thing that CI does, so that a person runs the same.
# Needs Python 3.10 or newer and make; everything else goes into .venv.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
WORKERS ?= 1
ROUNDS ?= 1

VENV := .venv
RUN := $(VENV)/bin/python -m
REACT := examples/chat/react

# Tests start hundreds of processes. Where Python is told to write no bytecode, each would compile the package anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo demo-react test test-lowest lowest-packages e2e node-packages lint format types docs bench chaos soak golden clean

help:
	@echo "make demo    serve the example chat on http://$(HOST):$(PORT)   (PORT=, WORKERS=,"
	@echo "             REDIS_URL=, DATABASE_URL=, OPENAI_API_KEY=)"
	@echo "make demo-react    the same, and its other page at /react/, which is built; needs Node"
	@echo "make test    run all tests, with coverage"
	@echo "make test-lowest   run the package's tests with the lowest versions that it allows"
	@echo "make e2e     try the example's pages, clients and services from npm, in Chromium, Node, nginx; needs all three"
	@echo "make lint    check style      make format  mend style"
	@echo "make types   check types      make docs    build the docs and run their code"
	@echo "make chaos   kill and cut off servers and processes while streams run, for 16 minutes   (ROUNDS=0.1: a tenth)"
	@echo "make soak    many streams for a minute: does anything grow?"
	@echo "make golden  ask the AI SDK again what it makes of chunks; needs Node"
	@echo "make bench   measure, beside peers and bare limits, for 25 minutes; needs Node   (ARGS=--quick: 4 minutes)"
	@echo "make clean   remove what the other targets made"

demo: $(VENV)/demo.installed
	$(RUN) uvicorn --app-dir examples chat.app:app --host $(HOST) --port $(PORT) --workers $(WORKERS) \
		--timeout-graceful-shutdown 3

demo-react: $(REACT)/node_modules
	cd $(REACT) && npm run build
	$(MAKE) demo

# What waits for other processes shares the processor, four at a time; what times them has it alone.
test: $(VENV)/test.installed
	$(RUN) pytest --numprocesses 4 --dist loadfile --ignore tests/chaos --cov --cov-report= $(ARGS)
	$(RUN) pytest tests/chaos --cov --cov-append --cov-report=
	$(RUN) coverage report --fail-under=95
	$(RUN) coverage report --include='*/resumable_stream/_core/*' --fail-under=100

# The lowest versions that the metadata allows, in an environment of their own, with one version of the stores' servers
# and one ASGI server for all frameworks. The compression of the lowest Starlette holds back streams.
test-lowest: lowest-packages
	.venv-lowest/bin/python -m pytest tests --numprocesses 4 --dist loadfile --ignore tests/examples --ignore tests/chaos \
		--ignore tests/sync/test_gunicorn.py --ignore tests/sync/test_rq.py --ignore tests/answers --ignore tests/test_model.py \
		-k "not uvloop and not layered and not valkey-9 and not redis-6.2 and not hypercorn and not granian" $(ARGS)

lowest-packages:
	$(MAKE) .venv-lowest/lowest.installed VENV=.venv-lowest

# The packages are there before the tests begin, which processes share.
e2e: $(VENV)/e2e.installed node-packages
	$(RUN) pytest tests/e2e --numprocesses 3 --dist loadfile $(ARGS)

node-packages: $(REACT)/node_modules tests/e2e/clients/node_modules tests/interop/node/node_modules

lint: $(VENV)/lint.installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .

format: $(VENV)/lint.installed
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

types: $(VENV)/types.installed
	$(RUN) mypy
	PYTHONPATH=src:$$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
		$(VENV)/bin/basedpyright --pythonpath $(VENV)/bin/python --ignoreexternal --verifytypes resumable_stream

docs: $(VENV)/docs.installed
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict --quiet
	$(RUN) pytest README.md docs

# Installs the peers from their registries, too; needs Node for two of them. A full run writes into docs/performance.md.
bench: $(VENV)/bench.installed
	$(RUN) benchmarks.bench $(ARGS)

# Both write their counts into docs/reliability.md, if all rounds are played.
chaos: $(VENV)/test.installed
	$(RUN) tests.chaos --rounds $(ROUNDS)

soak: $(VENV)/test.installed
	$(RUN) tests.chaos --soak --rounds $(ROUNDS)

golden: $(VENV)/test.installed tests/golden/node_modules
	cd tests/golden && node make_golden.mjs
	$(RUN) tests.protocols.translated && cd tests/golden && node make_wire.mjs

clean:
	rm -rf $(VENV) .venv-lowest benchmarks/.peers build dist site .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The packages of a package.json, as its lock says.
%/node_modules: %/package-lock.json
	cd $* && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

# A group of dependencies, and the package itself, editable. Group names and pins are in pyproject.toml; pip 25.1 is the
# first that reads them.
$(VENV)/%.installed: pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(RUN) pip install --quiet --disable-pip-version-check --editable . --group $*
	touch $@
