# Everything a clone needs: `make demo` and `make test` set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LORA_READY := $(VENV)/.lora-ready
PEERS := .venv-peers
PEERS_READY := $(PEERS)/.ready
LEARNING_PEERS := .venv-learning-peers
LEARNING_PEERS_READY := $(LEARNING_PEERS)/.ready
# What is imported is compiled then, and once: pip would compile all of PyTorch, and a machine that sets this
# variable would have every process compile TriBrain anew.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
export PYTHONDONTWRITEBYTECODE =
# uv does in half a minute what pip needs three for. Where it cannot, as with an index that only pip knows of, pip does.
install = $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r $(1) || $(PIP) --require-hashes -r $(1)

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

.PHONY: setup lora demo docs test imports types kernels test-compose test-faults bench bench-lora results constraints clean

setup: $(READY)

$(READY): constraints-uv.txt constraints.txt pyproject.toml compose/kafka/pom.xml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tribrain needs Python 3.11 or newer, and '$(PYTHON)' is older: call make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	-$(PIP) --require-hashes -r constraints-uv.txt
	$(call install,constraints.txt)
	$(PIP) --no-deps --no-build-isolation --editable .
	$(BIN)/tribrain broker --fetch-only
	@touch $@

# PyTorch, Transformers and PEFT, for reward train-lora, and what datasets need; some GiB.
lora: $(LORA_READY)

$(LORA_READY): $(READY) constraints-lora.txt
	$(call install,constraints-lora.txt)
	@touch $@

demo: $(READY)
	$(BIN)/tribrain demo

test: $(LORA_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory --jobs 2 imports types kernels
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

types: $(LORA_READY)
	$(BIN)/mypy

# What a fresh clone's tests import and compile: once, and beside the types, rather than in each process of theirs.
# The tests themselves say what cannot be imported.
imports: $(LORA_READY)
	-@$(BIN)/pytest --collect-only --quiet > /dev/null 2>&1

kernels: $(LORA_READY)
	-@$(BIN)/python -m tests.service_imports

# Into build/site. A broken link or anchor fails, and so does what a reader's browser would fetch from elsewhere.
docs: $(READY)
	$(BIN)/zensical build --strict --clean
	$(BIN)/python -m tests.docs.site build/site
	@echo "Read it: $(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site 8000"

# The stack of compose/, in a Docker engine that answers.
test-compose: $(READY)
	$(BIN)/pytest -m compose tests/compose

# All tests of these folders, and the long ones of the others.
FAULTS := $(addprefix tests/,simulation faults fuzz secured docs)

test-faults: $(LORA_READY)
	$(BIN)/pytest -n 2 --dist loadfile -m "long or not long" $(FAULTS)
	$(BIN)/pytest -n 2 --dist loadfile -m long $(FAULTS:%=--ignore=%)

bench: $(READY) $(PEERS_READY)
	$(BIN)/python -m tests.bench --events 9000 --repeat 5 --peers-python $(PEERS)/bin/python --write
	$(BIN)/python -m tests.bench.scale --write

$(PEERS_READY): $(READY)
	$(PYTHON) -m venv $(PEERS)
	$(BIN)/uv pip install --quiet --python $(PEERS)/bin/python --require-hashes -r constraints.txt
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/uv pip install --quiet --python $(PEERS)/bin/python "bytewax>=0.21.1" "quixstreams>=3.28.1"
	@touch $@

# Beside TRL, which no constraints file has; needs TRIBRAIN_DATA. WRITE=--write writes trainers/lora/RESULTS.md.
bench-lora: $(LORA_READY)
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/installed.txt
	$(PIP) --constraint $(VENV)/installed.txt "trl>=1.16.0"
	$(BIN)/python -m tests.bench.lora --with-trl $(WRITE)

# The tables of trainers/RESULTS.md, of trainers/VOTES.md and, beside other libraries, of trainers/PEERS.md; anew.
results: $(READY) $(LEARNING_PEERS_READY)
	$(BIN)/python -m tests.bench.learning
	$(BIN)/python -m tests.bench.votes
	$(BIN)/python -m tests.bench.learning_peers --peers-python $(LEARNING_PEERS)/bin/python

$(LEARNING_PEERS_READY): $(READY)
	$(PYTHON) -m venv $(LEARNING_PEERS)
	$(BIN)/uv pip install --quiet --python $(LEARNING_PEERS)/bin/python "arena-rank>=0.1.1" "choix>=0.4.1" \
	  "evalica>=0.4.2" "river>=0.26.1" "scikit-learn>=1.9.1" "statsmodels>=0.15.0" "trueskill>=0.4.5" \
	  "vowpalwabbit>=9.11.9"
	@touch $@

# Pins every dependency with its hashes. Botocore, in the tests of S3, takes no newer python-dateutil.
constraints: $(READY)
	echo uv | $(COMPILE) - --output-file constraints-uv.txt
	printf 'hatchling\neditables\npython-dateutil<3\n' | $(COMPILE) --extra dev --extra docs pyproject.toml - --output-file constraints.txt
	$(COMPILE) --extra dev --extra docs --extra data --extra data-test --extra lora --extra lora-test \
	  --constraint constraints.txt pyproject.toml --output-file constraints-lora.txt
	printf 'hatchling\neditables\n' | $(COMPILE) --constraint constraints.txt pyproject.toml - --output-file compose/constraints.txt
	$(COMPILE) --extra lora --constraint constraints-lora.txt pyproject.toml --output-file compose/constraints-lora.txt

clean:
	rm -rf $(VENV) $(PEERS) $(LEARNING_PEERS) outputs
