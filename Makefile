# One command per task, the same on a laptop and in CI. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
PYTEST_ARGS ?= -n 2
TYPED := apps gmqtt_platform tools bench
COMPILER := $(shell command -v $(firstword $(CC)) 2>/dev/null)
NODEJS := $(and $(shell command -v node 2>/dev/null),$(shell command -v npm 2>/dev/null))
WEBCLIENT := $(shell find webclient -path webclient/node_modules -prune -o -type f -print 2>/dev/null)

.DELETE_ON_ERROR:
.PHONY: soak help run cluster docs helm dist dist-test image release image-test chart-test build webclient messages screenshots proto test lint format types faults bench lock audit sbom clean

help:
	@echo "make run      start one node in the foreground (GMQTT_<TABLE>__<KEY>=value overrides conf/conf.toml)"
	@echo "make cluster  Redis, Kafka, two nodes and a bridge in the foreground (ARGS=--help)"
	@echo "make test     the whole suite, with the compiled core and without (PYTEST_ARGS=...)"
	@echo "make lint     ruff check, ruff format --check"
	@echo "make format   let ruff put right what it can"
	@echo "make types    mypy, strict, on all but the tests"
	@echo "make faults   kill processes under traffic (KILLS=..., SEED=...), fuzz packets for 10 minutes, and REST"
	@echo "make soak     use a node in every way for an hour: nothing of it may rise (MINUTES=...)"
	@echo "make bench    measure the node (ARGS=...)"
	@echo "make build    compile the core, where there is a C compiler"
	@echo "make webclient  bundle the browser's MQTT client, where there is Node.js"
	@echo "make proto    generate the auth service's code from auth.proto"
	@echo "make screenshots  take the README's pictures in Chromium"
	@echo "make messages compile the translations of the console"
	@echo "make docs     the documentation, into build/docs; a node serves it at /docs/"
	@echo "make lock     pin every package with the hashes of its files, after a change in requirements*.txt"
	@echo "make audit    ask the advisory databases about what is pinned (needs the network)"
	@echo "make sbom     what is installed, as CycloneDX, into build/"
	@echo "make dist     wheel (with the compiled core) and sdist into dist/"
	@echo "make dist-test  install both into empty environments and start a node"
	@echo "make image    the container image (BASE=an image of Debian 12)"
	@echo "make image-test  build the image and run it (needs root, buildah and debootstrap)"
	@echo "make chart-test  check the Helm chart (builds helm with Go if need be)"
	@echo "make release  changelog, tag, artifacts, SBOM, signed checksums (VERSION=1.2.3 KEY=an SSH key)"
	@echo "make clean    remove what was built; var/ and .venv stay"

run: $(VENV)/.run build webclient
	@$(PY) manage.py migrate --verbosity 0
	@$(PY) manage.py ensure_operator
	@exec $(PY) manage.py rungateway

cluster: $(VENV)/.run build
	@exec $(PY) -m tools.cluster $(ARGS)

ifeq ($(COMPILER),)
build:
	@echo "No C compiler: the core runs as plain Python, several times slower."
else
build: $(VENV)/.build
	@$(PY) build_core.py
endif

ifeq ($(and $(NODEJS),$(WEBCLIENT)),)
webclient:
	@echo "No Node.js with npm: /client/ says how to get it, everything else works."
else
# Without the network of a first time there is no client, but still a node.
webclient:
	@$(MAKE) -s --no-print-directory build/webclient/app.js || echo "The web client could not be built."
endif

build/webclient/app.js: $(WEBCLIENT) webclient/node_modules/.installed
	@cd webclient && node build.mjs ../build/webclient
	@touch $@

webclient/node_modules/.installed: webclient/package-lock.json
	@cd webclient && npm ci --loglevel=error --no-progress
	@touch $@

screenshots: $(VENV)/.dev build webclient
	$(PY) tools/screenshots.py

docs: $(VENV)/.dev
	@$(PY) -m tools.docs.build

messages: $(VENV)/.dev
	$(PY) -c "import polib, glob; [polib.pofile(f).save_as_mofile(f[:-2] + 'mo') for f in glob.glob('apps/*/locale/*/LC_MESSAGES/*.po')]"

proto: $(VENV)/.dev
	$(PY) -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. apps/auth/rpc/auth.proto

test: $(VENV)/.dev build webclient
	$(PY) -m pytest $(PYTEST_ARGS)
	GMQTT_PURE_PYTHON=1 $(PY) -m pytest $(PYTEST_ARGS) tests/apps/gateway

lint: $(VENV)/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(VENV)/.dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: $(VENV)/.dev
	$(PY) -m mypy $(TYPED)

faults: $(VENV)/.dev build
	FLEET=10000 FAULT_KILLS=$(or $(KILLS),50) FAULT_SEED=$(or $(SEED),2026) $(PY) -m pytest -q -s tests/faults
	FUZZ_SECONDS=600 FUZZ_EXAMPLES=200 $(PY) -m pytest -q -s tests/fuzz tests/apps/auth/api/test_fuzz.py \
	    tests/apps/cluster/api/test_fuzz.py

soak: $(VENV)/.dev build
	SOAK_MINUTES=$(or $(MINUTES),60) $(PY) -m pytest -q -s -o faulthandler_timeout=0 tests/soak

bench: $(VENV)/.dev build
	$(PY) -m bench $(ARGS)

# Tools that nothing else needs, in an environment of their own.
build/supply/bin/python: requirements-supply.txt
	@$(PYTHON) -m venv build/supply
	@build/supply/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-supply.txt
	@touch $@

lock: build/supply/bin/python
	@for name in requirements requirements-build requirements-dev; do \
	    build/supply/bin/python -m piptools compile --quiet --generate-hashes --allow-unsafe --no-header --no-annotate \
	        --no-emit-options --strip-extras \
	        --constraint requirements-build.txt -o $$name.lock $$name.txt || exit 1; \
	done

audit: build/supply/bin/python
	build/supply/bin/python -m pip_audit --disable-pip --require-hashes -r requirements-dev.lock
	cd webclient && npm audit

sbom: build/supply/bin/python
	@mkdir -p build
	build/supply/bin/python -m cyclonedx_py requirements --output-reproducible -o build/sbom-python.json requirements.lock
	cd webclient && npm sbom --package-lock-only --sbom-format cyclonedx > ../build/sbom-webclient.json
dist: $(VENV)/.dev build webclient docs
	@mkdir -p dist && rm -f dist/*.whl dist/*.tar.gz
	@$(PY) -c 'from setuptools.build_meta import build_sdist; build_sdist("dist")' >/dev/null
	@$(PY) -m pip wheel --quiet --disable-pip-version-check . --no-deps --no-build-isolation --wheel-dir dist
	@ls -l dist

dist-test: dist
	$(PY) -m tools.trydist
	$(PY) -m tools.trydist --pure

image: webclient docs
	$(or $(shell command -v docker),$(shell command -v podman),buildah) build $(if $(BASE),--build-arg BASE=$(BASE)) -t gmqtt .

image-test: $(VENV)/.dev webclient docs
	$(PY) -m tools.tryimage

# The tests of the chart need it: what is in PATH, or build/bin/helm, compiled by Go in about four minutes of CPU.
helm:
	@command -v helm $(CURDIR)/build/bin/helm >/dev/null || \
	    GOBIN=$(CURDIR)/build/bin go install helm.sh/helm/v3/cmd/helm@v3.16.4

chart-test: $(VENV)/.dev helm
	CI=true $(PY) -m pytest -q tests/packaging/test_chart.py

release: $(VENV)/.dev
	@$(PY) -m tools.release "$(VERSION)" "$(or $(KEY),$(HOME)/.ssh/gmqtt-release)"

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find apps gmqtt_platform tests bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# The virtual environment. Each stamp is as new as the requirements that it installed, so that pip runs
# only after they change.

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed, and $(PYTHON) is not that. Name another one: make PYTHON=python3.12 ..." >&2; \
	    exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.run: requirements.lock | $(VENV)/pyvenv.cfg
	@echo "Installing dependencies into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.build: requirements-build.lock | $(VENV)/.run
	@$(PIP) --require-hashes -r requirements-build.lock
	@touch $@

$(VENV)/.dev: requirements.lock requirements-build.lock requirements-dev.lock | $(VENV)/pyvenv.cfg
	@echo "Installing development dependencies into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $(VENV)/.run $(VENV)/.build $@
