# `make help` lists what there is. Everything happens in .venv; nothing is installed outside it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# The node to follow: a websocket URL, or replay:devnet for the bundled recording. Empty: what fvm-pulse.toml or
# FVM_PULSE_NODES say, else a public mainnet node.
NODE ?=
# Further flags of the command, such as ARGS="--windows 20e,1h --log-level debug".
ARGS ?=

.DEFAULT_GOAL := help

# Without --no-deps pip looks at the newest release of what is asked for with an extra (coverage[toml]), and fails as soon as that is not the pinned one.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check --disable-pip-version-check
	touch $@

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: install
install: $(VENV)/.installed ## make .venv with fvm-pulse in it

.PHONY: run
run: install ## follow a node and serve http://127.0.0.1:9464; NODE=ws://… or NODE=replay:devnet
	$(BIN)/fvm-pulse run $(if $(NODE),--node "$(NODE)") $(ARGS)

.PHONY: test
test: install ## run the tests but the slow ones (ARGS="-k store" for some, ARGS="-m slow" for the slow)
	$(BIN)/pytest -n auto -m "not slow" $(ARGS)

.PHONY: check
check: install ## format, lint, types, YAML
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/yamllint --strict .

.PHONY: advisories
advisories: install ## ask OSV whether anything that is pinned has a known vulnerability
	.ci/advisories

# How many simulated histories; MODE=full: before the product's own processes, Redis and Kafka.
N ?= 1000
MODE ?= core

.PHONY: simulate
simulate: install ## play N=1000 simulated histories, stop at the first that does not end in the recount (ARGS="--first 5000", MODE=full)
	$(BIN)/python -m tests.simulation --count $(N) $(if $(filter full,$(MODE)),--full) $(ARGS)

.PHONY: bench
bench: install ## measure, as ratios in one run
	$(BIN)/python -m benchmarks $(ARGS)

PEERS := .venv-peers

.PHONY: peers
peers: $(PEERS)/.installed ## install what `make bench` compares with, in an environment of its own

$(PEERS)/.installed: pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
	  bytewax==0.21.1 confluent-kafka==2.12.2 quixstreams==3.28.1 'eth-hash[pycryptodome]' eth-utils msgspec pyyaml 'redis[hiredis]'
	touch $@

.PHONY: render
render: install ## write rules, dashboards and docs/indicators.md from the catalogue
	$(BIN)/fvm-pulse render

.PHONY: pictures
pictures: install ## draw the dashboards and the status page for the docs (npm installs 600 MB into .pictures)
	TESTS_PICTURES=docs/images $(BIN)/pytest -m "slow or browser" tests/deploy/test_pictures.py tests/processors/test_page_in_a_browser.py

.PHONY: lock
lock: install ## pin every dependency again, with hashes
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  --upgrade --group pyproject.toml:test --group pyproject.toml:check --group pyproject.toml:render pyproject.toml \
	  --output-file requirements.lock
