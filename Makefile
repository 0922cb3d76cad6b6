# Each target sets up .venv by itself, once; a second run sets nothing up again.
PYTHON ?= python3
INPUT ?= data/samples/pmtu-black-hole
OUTPUT ?=
BIN := .venv/bin

.PHONY: help report docs test jupyter lint fuzz bench samples lock
help:
	@echo "make report [INPUT=\"capture.pcap mainlog messages/\"] [OUTPUT=report.html] | docs | test | jupyter | lint | fuzz | bench | samples"

report: .venv
	@$(BIN)/smtpkit report $(INPUT) $(if $(OUTPUT),-o $(OUTPUT))

# The rendered sample report, and the picture of it in the README. Needs Debian's chromium.
docs: .venv
	@$(BIN)/smtpkit report data/samples/pmtu-black-hole -o docs/sample-report.html >/dev/null
	@chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=900,1000 \
		--screenshot=docs/sample-report.png "file://$(CURDIR)/docs/sample-report.html" 2>/dev/null

test: .venv
	@$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST)

jupyter: .venv
	@$(BIN)/jupyter lab notebooks

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy smtpkit

# Run it as often as you like: each run goes on from the inputs that the ones before found.
RUNS ?= 100000
fuzz: .venv
	@mkdir -p .fuzz
	$(BIN)/python tests/fuzz/capture.py .fuzz -runs=$(RUNS) -max_len=3000 -artifact_prefix=.fuzz-
	$(BIN)/python tests/fuzz/compiled.py 10 .fuzz

# One table, all tools in turn, some of them slow: half an hour. In short: make bench BENCH="--packets 100000
# --lines 100000 --megabytes 20 --deliveries 1000 --rounds 1". Needs Debian's tcptrace, tcpdump, tshark and
# exim4-base, and 2 GB in TMPDIR; what is not installed is left out, and the table says so.
BENCH ?=
bench: .venv
	@$(BIN)/python benchmarks/bench.py $(BENCH)

# Needs root, and Debian's exim4-daemon-heavy, tcpdump and ethtool.
samples:
	$(PYTHON) -m lab -o data/samples

# New versions of everything, with hashes; the index that is asked leaves no trace.
lock: .venv
	$(BIN)/python -m pip install --quiet uv && rm .venv/.ready  # .venv is made anew from the new lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --generate-hashes \
		--no-emit-index-url --no-header --no-annotate -o requirements.lock pyproject.toml

# The stamp is the last thing made: an interrupted set-up is done again.
.venv: .venv/.ready
.venv/.ready: requirements.lock pyproject.toml
	@echo "Setting up .venv (once, a few minutes) ..."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
