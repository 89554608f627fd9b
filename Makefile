# Needs Python 3.11 to 3.13 and make; everything else is fetched into .venv and the user's cache.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-desk test-monitoring check bench bench-full bench-counter \
        bench-desk bench-flame bench-peer torture fuzz
BIN := .venv/bin

# A recipe ends in exec, so that Ctrl-C reaches the program itself and make adds nothing to it.

help:
	@echo 'make setup   prepare .venv and the jars of the embedded broker; silent when they stand'
	@echo 'make demo    run it all with a simulated bank until Ctrl-C'
	@echo '             FOR=30 REPORT=demo.json  for 30 s without a terminal, books as JSON'
	@echo '             SEED=7 RATE=2000 BROKER=host:port'
	@echo 'make test    all tests, those on a real broker included; PYTEST_ARGS="-k money -x"'
	@echo 'make test-monitoring  rules, dashboards, and a pipeline under a real Prometheus'
	@echo 'make test-desk the desk alone: its stories in a browser, PostgreSQL, Kafka;'
	@echo '             SCREENSHOTS=folder'
	@echo 'make check   ruff, mypy, import-linter, compose schema, hadolint'
	@echo 'make bench   measure throughput and latency; REPORT=bench.json SHORT=1'
	@echo 'make bench-counter  200 checks a second beside 5,000 transactions; REPORT=file.json FOR=60'
	@echo '             KILL=1 kills one of two workers meanwhile'
	@echo 'make bench-full   also by accounts (10,000 to 10,000,000), patterns and workers'
	@echo 'make bench-peer   plain Faust and Quix Streams on the same stream, side by side'
	@echo 'make bench-flame  flame graphs of worker and router in a backlog'
	@echo 'make bench-desk  100,000 open cases, 50 officers, 50 live streams; REPORT=file.json FOR=60'
	@echo 'make torture kill, stop and freeze the parts and the broker, and prove all exact;'
	@echo '             KILLS=100 SEED=1 REPORT=torture.json'
	@echo 'make fuzz    malformed messages through decoder and model; N=1000000 SEED=1'

setup:
	@tools/setup.sh

demo: setup
	@exec $(BIN)/sluicegate demo $(if $(FOR),--for '$(FOR)') $(if $(REPORT),--report '$(REPORT)') \
	    $(if $(SEED),--seed '$(SEED)') $(if $(RATE),--rate '$(RATE)') \
	    $(if $(BROKER),--broker '$(BROKER)')

test: setup
	@exec $(BIN)/python -m pytest $(if $(PYTEST_ARGS),$(PYTEST_ARGS),-n 2 --dist loadfile)

test-monitoring: setup
	@exec $(BIN)/python -m pytest tests/operations/test_metrics.py tests/operations/test_monitoring.py \
	    tests/operations/test_status.py tests/system/test_seen_from_outside.py $(PYTEST_ARGS)

test-desk: setup
	@exec env $(if $(SCREENSHOTS),SCREENSHOTS='$(SCREENSHOTS)') \
	    $(BIN)/python -m pytest tests/desk tests/domain/test_law.py tests/system/test_desk.py \
	    $(PYTEST_ARGS)

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint Dockerfile

bench: setup
	@exec $(BIN)/sluicegate bench $(if $(REPORT),--report '$(REPORT)') $(if $(SHORT),--short)

bench-peer: setup
	@exec $(BIN)/python benchmarks/peers/compare.py

bench-flame: setup
	@exec $(BIN)/python benchmarks/flame.py

bench-full: setup
	@exec $(BIN)/sluicegate bench --full $(if $(REPORT),--report '$(REPORT)')

bench-counter: setup
	@exec $(BIN)/sluicegate bench --counter '$(or $(FOR),60)' $(if $(KILL),--kill) \
	    $(if $(REPORT),--report '$(REPORT)')

bench-desk: setup
	@exec $(BIN)/python -m tests.desk.bench --seconds '$(or $(FOR),60)' \
	    $(if $(REPORT),--report '$(REPORT)')

torture: setup
	@exec $(BIN)/sluicegate torture $(if $(KILLS),--kills '$(KILLS)') $(if $(SEED),--seed '$(SEED)') \
	    $(if $(REPORT),--report '$(REPORT)')

fuzz: setup
	@exec $(BIN)/python -m tests.streaming.fuzz $(if $(N),--messages '$(N)') \
	    $(if $(SEED),--seed '$(SEED)')
