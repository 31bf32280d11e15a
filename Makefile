# Everything a person does here, by one word each. A fresh machine needs Python 3.11 to 3.14 and make, no more:
# the first target asked for makes .venv and fills it from the hashed locks in requirements/.
#
#   make run ARGS="--port 8080"      options of `inferqueue up`
#   make test ARGS="-k leases -x"    options of pytest
#   make run PYTHON=python3.12       the interpreter for a new .venv
#   make images KIND=inferqueue      build the images and load them into that kind cluster

PYTHON ?= python3
ARGS   ?=

VENV     := .venv
BIN      := $(VENV)/bin
PACKAGES := core proxy worker operator cli
PROJECTS := $(PACKAGES:%=%/pyproject.toml)
# What runs without a cluster.
LOCAL    := $(filter-out operator/%,$(PROJECTS))

# The names under which the charts look for the images.
IMAGES := ghcr.io/inferqueue/inferqueue
TAG    := 0.1.0
KIND   ?=

# Stamps: each is newer than the locks and projects it was installed from.
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev

export ORT_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test test-long e2e e2e-long lint fmt bench bench-beside simulation manifests images locks

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUN) ## serve the Iris model on this machine: Redis, proxy, workers (ARGS: options of `inferqueue up`)
	@exec $(BIN)/inferqueue up $(ARGS)

test: $(DEV) ## run the tests (ARGS: options of pytest)
	@exec $(BIN)/pytest -n 2 --dist worksteal $(ARGS)

test-long: $(DEV) ## run the tests that take minutes, and property tests on many examples nobody has seen yet
	@exec $(BIN)/pytest -m "(long or hypothesis) and not e2e" --hypothesis-profile=explore $(ARGS)

# On a kind cluster, with docker, kind, kubectl and helm:
#   make e2e KEEP=1                  keep the cluster; the next run takes it over
#   make e2e CLUSTER=mine            its name
#   make e2e NODE_IMAGE=kindest/node:v1.34.4    another Kubernetes than kind's own choice
#   make e2e INGRESS_INSTALL=./mine  a command that installs an ingress controller of the class `contour` into the
#                                    cluster that it is given the name of, instead of Contour's own manifest
#   make e2e FIGURES=report          show figures beyond their bounds and fail for nothing but broken promises: where other
#                                    work shares the processors
CLUSTER         ?= inferqueue-e2e
KEEP            ?=
NODE_IMAGE      ?=
INGRESS_INSTALL ?=
FIGURES         ?=
# One after another and in order: they share a cluster, and measure it. No limit holds for making the cluster.
E2E = CLUSTER='$(CLUSTER)' KEEP='$(KEEP)' NODE_IMAGE='$(NODE_IMAGE)' INGRESS_INSTALL='$(INGRESS_INSTALL)' \
	FIGURES='$(FIGURES)' $(BIN)/pytest tests/e2e -v -s -p no:randomly -o timeout_func_only=true -o timeout=300

e2e: $(DEV) ## test on a kind cluster made for it (ARGS: options of pytest)
	@$(E2E) -m "e2e and not long" $(ARGS)

e2e-long: $(DEV) ## the same with the end-to-end tests that take longer
	@$(E2E) -m "e2e and long" -o timeout=1200 $(ARGS)

lint: $(DEV) ## check style, format, types and who imports whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fmt: $(DEV) ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(DEV) ## measure, side by side with others (ARGS: options of bench/run.py)
	@exec $(BIN)/python bench/run.py $(ARGS)

bench-beside: $(DEV) ## measure beside another checkout (OTHER: its folder, with a filled .venv)
	@exec $(BIN)/python bench/beside.py $(OTHER) $(ARGS)

simulation: $(DEV) ## make the table and the plots of docs/autoscaling.md anew
	@$(BIN)/python docs/simulation.py

manifests: $(DEV) ## make k8s/base anew from the charts (needs helm)
	@$(BIN)/python k8s/render.py

images: ## build the three images (KIND: a kind cluster to load them into)
	@for program in proxy worker operator; do \
		docker build --tag $(IMAGES)-$$program:$(TAG) --file $$program/Dockerfile . || exit 1; \
	done
	@[ -z '$(KIND)' ] || kind load docker-image --name '$(KIND)' $(IMAGES)-proxy:$(TAG) $(IMAGES)-worker:$(TAG) \
		$(IMAGES)-operator:$(TAG)

# ---- locks -----------------------------------------------------------------------------------------------
# dev.txt holds everything; the others are resolved inside it, so one .venv serves `run` and `test` in any order.

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --custom-compile-command 'make locks' --no-emit-package inferqueue-core
WITHIN  := --constraints requirements/dev.txt

locks: $(DEV) ## resolve requirements/*.txt anew from the pyproject.toml files (ARGS=--upgrade: newest versions)
	$(COMPILE) $(ARGS) -o requirements/dev.txt $(PROJECTS) --extra redis --extra simulate --group dev
	$(COMPILE) $(ARGS) -o requirements/proxy.txt $(WITHIN) proxy/pyproject.toml
	$(COMPILE) $(ARGS) -o requirements/worker.txt $(WITHIN) worker/pyproject.toml
	$(COMPILE) $(ARGS) -o requirements/operator.txt $(WITHIN) operator/pyproject.toml
	$(COMPILE) $(ARGS) -o requirements/cli.txt $(WITHIN) $(LOCAL) --extra redis
	$(COMPILE) $(ARGS) -o requirements/build.txt $(WITHIN) --group build
	$(COMPILE) $(ARGS) -o requirements/models.txt --no-deps --group models
	$(COMPILE) $(ARGS) -o requirements/clients.txt --no-deps $(WITHIN) --group clients
	$(COMPILE) $(ARGS) -o bench/peers/celery.txt $(WITHIN) bench/peers/celery.in
	$(COMPILE) $(ARGS) -o bench/peers/dramatiq.txt $(WITHIN) bench/peers/dramatiq.in

# ---- the environment -------------------------------------------------------------------------------------
# The locks are complete, so pip has nothing to resolve: --no-deps.

PIP     := $(BIN)/python -m pip install --no-deps
LOCKED  := $(PIP) --require-hashes
EDITABLE = $(PIP) --quiet --no-build-isolation $(1:%/pyproject.toml=--editable ./%)

$(RUN): requirements/cli.txt requirements/build.txt $(PROJECTS) | $(BIN)/pip
	@echo "Installing what running needs into $(VENV) (once)"
	@$(LOCKED) -r requirements/cli.txt -r requirements/build.txt
	@$(call EDITABLE,$(LOCAL))
	@touch $@

# The packages of models.txt only lend their ONNX files, so a Python they do not name is no obstacle. Those of clients.txt
# are not made for every machine: where one cannot be installed, its tests are skipped, and say so.
$(DEV): requirements/dev.txt requirements/models.txt requirements/clients.txt $(PROJECTS) | $(BIN)/pip
	@echo "Installing what developing needs into $(VENV) (once)"
	@$(LOCKED) -r requirements/dev.txt
	@$(LOCKED) --ignore-requires-python -r requirements/models.txt
	@$(LOCKED) --ignore-requires-python -r requirements/clients.txt || \
		echo "The clients of other servers do not install here: their tests will be skipped" >&2
	@$(call EDITABLE,$(PROJECTS))
	@touch $(RUN) $@

# pip is the last thing that venv writes: where it is, the environment is whole.
$(BIN)/pip:
	@command -v '$(PYTHON)' >/dev/null || { \
		echo "There is no '$(PYTHON)' here. Name a Python from 3.11 to 3.14: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; \
		exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { \
		echo "inferqueue needs Python 3.11 to 3.14; '$(PYTHON)' is $$('$(PYTHON)' --version 2>&1)." \
			"Name another one: make $(MAKECMDGOALS) PYTHON=python3.13" >&2; exit 1; }
	@'$(PYTHON)' -m venv $(VENV) || { rm -rf $(VENV); \
		echo "'$(PYTHON) -m venv' failed: see above. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
