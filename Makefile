# Pick-a-Pic. `make demo` and `make test` need python3 (3.11 to 3.13), make and nothing else set up.

VENV := .venv
BIN := $(VENV)/bin
# In CI nothing may be left out: what cannot be installed is an error.
CI ?= false
# Tests side by side; each process keeps to one numeric thread (tests/conftest.py).
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -lt 4 ] && echo $$n || echo 4)
QUICK := pytest -n $(JOBS) --dist worksteal -p no:schemathesis -m "not slow and not browser"

# Without these caches every test process, and every command that a test starts, compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo serve test check style lint fix constraints clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s%s\n", $$1, $$2}'

demo: $(VENV)/.installed ## the whole loop in miniature: collect, export, train, evaluate, report, then the page
	$(BIN)/pickapic demo $(ARGS)

serve: $(VENV)/.installed ## the page and one worker, with the miniature models
	$(BIN)/pickapic serve $(ARGS)

test: $(VENV)/.installed-dev $(VENV)/transformers4 lint ## everything: lint, types, import contracts, all tests with a real browser
	@marks="slow or browser"; left_out=""; \
	.ci/browser $(BIN) $(CI) || { [ $$? = 3 ] || exit 1; \
		marks="slow and not browser"; left_out="$$left_out; the tests in a real browser (no Chromium here, see above)"; }; \
	.ci/postgresql --install $(CI) || { [ $$? = 3 ] || exit 1; \
		left_out="$$left_out; the tests on PostgreSQL (there is none here, see above)"; }; \
	.ci/deployment $(CI) || { [ $$? = 3 ] || exit 1; \
		left_out="$$left_out; the linters of some deployment files (see above)"; }; \
	.ci/postgresql $(BIN)/$(QUICK) && \
	.ci/postgresql $(BIN)/pytest -n $(JOBS) --dist loadfile -m "$$marks" && \
	if [ -n "$$left_out" ]; then \
		echo "make test: LEFT OUT: $${left_out#; }"; \
	else echo "make test: everything passed, nothing left out"; fi

check: $(VENV)/.installed-dev style ## the quick part of `make test`, all the time: no types, no browser, nothing slow
	.ci/postgresql $(BIN)/$(QUICK)

style: $(VENV)/.installed-dev ## style and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

lint: $(VENV)/.installed-dev style ## style, import contracts and types (a minute)
	$(BIN)/pyright --project pyproject.toml

fix: $(VENV)/.installed-dev ## mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: $(VENV)/.installed-dev ## pin what is installed now (without the build of torch that happens to be here)
	$(BIN)/pip freeze --exclude-editable --exclude pickapic | sed 's/+[a-z0-9.]*$$//' > constraints.txt

clean: ## remove the virtual environment and caches; data and demo folders stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/pip:
	.ci/venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[web,models]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.installed $@

# Both transformers are tested; an interpreter holds one, so the old one gets a folder of its own.
$(VENV)/transformers4: .ci/transformers4.txt | $(VENV)/.installed-dev
	rm -rf $@
	$(BIN)/pip install --disable-pip-version-check -q --no-deps --target $@ -r $<
