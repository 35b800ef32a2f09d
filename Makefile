# Every target does its own set-up: on a fresh Debian 12 with Python, make and git, `make test` needs nothing else.
PY := .venv/bin/python
STAMP := .venv/.setup-stamp

.PHONY: setup compiled check test test-root vm demo demo-cluster bench scale format lock clean

setup: $(STAMP)
$(STAMP): pyproject.toml requirements.lock scripts/setup.sh
	scripts/setup.sh
	touch $@

check: compiled           ## format, lint, types, import contract, rings that need no root
	.venv/bin/ruff format --check -q .
	.venv/bin/ruff check -q .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo
	$(PY) -m pytest -q tests/unit tests/golden

test: check test-root vm  ## everything

compiled: setup           ## bytecode, also where PYTHONDONTWRITEBYTECODE is set: tests start hundreds of daemons
	@$(PY) -m compileall -q src tests bench scale

test-root: compiled       ## rings that need root: real network namespaces, real daemons
	$(PY) -m pytest -q tests/netns tests/e2e

# Beside the tests that need it, those of the kernel's codecs: Debian's kernel is the oldest that we work on.
VM_TESTS ?= tests/vm tests/netns/test_tunnels.py tests/netns/test_nft.py

vm: compiled              ## ring that needs a full kernel: one boot of Debian's in an emulated machine
	@if scripts/vm_kernel.sh && command -v qemu-system-x86_64 >/dev/null; then \
	  $(PY) scripts/vmrun.py -- $(PY) -m pytest -q --color=no -p no:cacheprovider $(VM_TESTS); \
	else echo "the vm ring is skipped: no kernel, or no qemu-system-x86_64 (make setup as root installs it)" >&2; fi

demo: setup               ## half a minute on real kernel objects
	$(PY) scripts/demo.py

demo-cluster: setup       ## three hosts as one cluster, in about a minute
	$(PY) scripts/demo_cluster.py

bench: setup              ## side by side with dockerd; see docs/benchmarks.md for the variables
	$(PY) -m bench $(BENCH_ARGS)

scale: setup              ## a cluster of 100 simulated nodes on a real etcd; docs/design/scale.md
	$(PY) -m scale $(SCALE_ARGS)

format: setup
	.venv/bin/ruff check -q --fix .
	.venv/bin/ruff format -q .

lock:                     ## refresh requirements.lock from pyproject.toml
	.venv/bin/pip-compile -q --extra dev --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url \
	  --no-emit-find-links --no-emit-trusted-host --resolver=backtracking -o requirements.lock pyproject.toml

clean:
	rm -rf .venv .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
