# Needs Python 3.11 to 3.13 and make, no root. Written to are this folder and the user's cache, ~/.cache/isthmus (see docs/toolchain.md).
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo "$$name" && break; done)
PREPARE = @test -n "$(PYTHON)" || { echo "isthmus: error: no Python 3.11 to 3.13 on PATH; name one: make $@ PYTHON=/path/to/python3" >&2; exit 1; }; \
	"$(PYTHON)" -m toolchain.prepare
# States, their history and logs are for their owner alone.
ACTIVE = @. ./activate &&
# States, their history and what a stack keeps are its owner's alone. Tests and images are not made so: other users run in containers.
OWN = @umask 077 && . ./activate &&
ARGS ?=
DOCUMENTS = *.md docs examples models
STYLE = ruff check . && ruff format --check . && mdformat --check $(DOCUMENTS) && lint-imports
TYPES = mypy -p isthmus -p isthmus_agent -p toolchain
QUICK_TESTS = pytest --quick --numprocesses=3 --dist=loadfile $(ARGS)
# The stack that is meant, where it is named: `make up STACK=smart-security`. The name is taken as it was typed and reaches the shell by the
# environment, so that nothing in it is run; toolchain/prepare/stack.py refuses one that no file in stacks/ has. A variable of that name in
# the user's environment is not meant.
ifeq ($(origin STACK),command line)
override STACK := $(value STACK)
export ISTHMUS_STACK := $(value STACK)
else
export ISTHMUS_STACK := local
endif
# With the copy of its file that the engine may write its salt into.
OF_STACK = --stack "$$ISTHMUS_STACK" --config-file ".isthmus/stacks/Pulumi.$$ISTHMUS_STACK.yaml"
BENCH ?= preview hashing serving

.DEFAULT_GOAL := help
.PHONY: help up preview refresh destroy status doctor cluster cluster-down lint format check test bench train house lock prune device-package device-wheelhouse

help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

up:  ## make what the stack `local` describes, or STACK=name (ARGS: more for `pulumi up`), then show it
	$(PREPARE) stack "$$ISTHMUS_STACK"
	$(OWN) pulumi up --yes $(OF_STACK) $(ARGS) && isthmus status "$$ISTHMUS_STACK"

preview:  ## show what `make up` would change
	$(PREPARE) stack "$$ISTHMUS_STACK"
	$(OWN) pulumi preview $(OF_STACK) $(ARGS)

refresh:  ## compare the state with what really runs
	$(PREPARE) stack "$$ISTHMUS_STACK"
	$(OWN) pulumi refresh --yes $(OF_STACK) $(ARGS)

destroy:  ## remove everything that `make up` made
	$(PREPARE) stack "$$ISTHMUS_STACK"
	$(OWN) pulumi destroy --yes $(OF_STACK) $(ARGS)

status:  ## show what runs of it
	$(PREPARE) stack "$$ISTHMUS_STACK"
	$(ACTIVE) isthmus status "$$ISTHMUS_STACK"

doctor:  ## show which tools are used, where they come from, and what is missing
	$(PREPARE) environment
	$(ACTIVE) isthmus doctor

cluster:  ## start a Kubernetes cluster for tests, in namespaces of its own (needs root; ARGS: --nodes 2)
	$(PREPARE) developer
	$(ACTIVE) python -m toolchain.cluster up $(ARGS)

cluster-down:  ## end it and remove everything of it
	$(ACTIVE) python -m toolchain.cluster down $(ARGS)

lint:  ## check style, types and walls
	$(PREPARE) developer
	$(ACTIVE) $(STYLE) && $(TYPES)

format:  ## write the code in the project's style
	$(PREPARE) developer
	$(ACTIVE) ruff check --fix . ; ruff format . ; mdformat $(DOCUMENTS)

# Some machines tell Python to keep nothing that it compiled; then each process of a run compiles all tests and what they import again.
check test: export PYTHONDONTWRITEBYTECODE =
check:  ## style, types, walls, and the tests that are quick and need no engine, cluster, container or TensorFlow (ARGS: for pytest)
	$(PREPARE) developer
	$(ACTIVE) exec python -m toolchain.testing.beside "quick tests: $(QUICK_TESTS)" "types: $(TYPES)" "style and walls: $(STYLE)"

test: export ISTHMUS_PHASES = $(CURDIR)/.toolchain/phases
test:  ## everything: style, types, walls, then all tests (ARGS: for pytest); what fails is run once more
	@mkdir -p .toolchain && rm -f $(ISTHMUS_PHASES)
	$(PREPARE) test
	$(ACTIVE) python -m toolchain.testing.phases "style, types, walls" sh -c "$(STYLE) && $(TYPES)"
	$(ACTIVE) python -m toolchain.testing.programs $(ARGS)
	$(ACTIVE) python -m toolchain.testing $(ARGS)

bench:  ## measure previews, hashing and serving, on a machine that does nothing else (BENCH=serving: one of benchmarks/, ARGS for it)
	$(PREPARE) stack
	$(ACTIVE) for name in $(BENCH); do python "benchmarks/$$name.py" $(ARGS) || exit; done

train:  ## train the example models again (ARGS: the names of some)
	$(PREPARE) developer
	$(ACTIVE) for name in $(or $(ARGS),digits commands lectures); do python "models/$$name/train.py" || exit 1; done

house:  ## draw docs/house.svg (the rooms, their layers, which imports which) and write docs/limits.md (numbers that one may set)
	$(PREPARE) developer
	$(ACTIVE) python docs/house.py && python docs/limits.py

device-package:  ## make a Debian package of the device program (ARGS: --architecture arm64 --python 3.13 --without-interpreter)
	$(PREPARE) developer
	$(ACTIVE) python -m toolchain.device package $(ARGS)

device-wheelhouse:  ## make a folder with the device program, all that it needs and its install script (ARGS: as above)
	$(PREPARE) developer
	$(ACTIVE) python -m toolchain.device wheelhouse $(ARGS)

lock:  ## resolve requirements*.in, and what the device program needs, into the lock files
	$(PREPARE) lock

prune:  ## remove from the user's cache what the toolchain has not used for 30 days
	$(PREPARE) prune
