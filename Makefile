# `make` alone lists the targets. Recipes that need servers start them themselves.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

ORDERS ?= examples/data/cdnow_orders.txt
DELIVERIES ?= 1000000
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
WORKSPACE := --workspace --all-features --locked

# Where PostgreSQL and RabbitMQ are, as `services-up` found or started them; it also
# sees to psql, by which the tests apply the migrations.
SERVICES := . target/services/env

# Purpose of services-up: build, demo or test. `services-up` checks the machine first.
PURPOSE := build

# Names the likely reason if cargo could not fetch the crates.
OR_HINT := || { scripts/preflight network; exit 1; }

# cargo-nextest where it is installed, cargo's own runner elsewhere. Tests mostly wait: as many at once as in
# .config/nextest.toml, also on fewer cores.
RUN_TESTS := if $(CARGO) nextest --version >/dev/null 2>&1; \
	then run=(nextest run --no-tests=pass); else run=(test --no-fail-fast); export RUST_TEST_THREADS=4; fi; \
	$(CARGO) "$${run[@]}" $(WORKSPACE)

# Only root may mount file systems and make network namespaces.
FOR_ROOT := g3_the_databases_disk_has_no_room a_relay_cut_off_from
LEAVE_OUT := $(if $(filter-out 0,$(shell id -u)),-- $(addprefix --skip ,$(FOR_ROOT)))

.PHONY: help
help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: services-up
services-up: ## Finds or starts PostgreSQL and RabbitMQ (scripts/services --help)
	@CARGO="$(CARGO)" scripts/services up --for $(PURPOSE)

.PHONY: services-down
services-down: ## Stops what services-up started and removes its data
	@scripts/services down

.PHONY: build
build: check-rust ## Builds everything (dev profile)
	$(CARGO) build --workspace --all-targets --all-features --locked

.PHONY: fmt
fmt: check-rust ## Formats the code
	$(CARGO) fmt --all

.PHONY: fmt-check
fmt-check: check-rust ## Checks the format
	$(CARGO) fmt --all --check

.PHONY: clippy
clippy: check-rust ## Lints; warnings are errors
	$(CARGO) clippy --workspace --all-targets --all-features --locked -- -D warnings $(OR_HINT)
	$(CARGO) clippy --lib -p postroom-amqp -p postroom-outbox -p postroom-inbox --locked -- -D warnings

# Tests run the programs they test; cargo builds those only for their own package.
.PHONY: bins
bins: check-rust
	$(CARGO) build --locked -p postroom-relay -p postroom-shop --bins $(OR_HINT)
	$(CARGO) build --locked -p postroom-examples --examples

.PHONY: check
check: fmt-check clippy test-unit ## Format, lints and unit tests: what to run after each change

.PHONY: test-unit
test-unit: check-rust ## Tests that need no servers
	$(RUN_TESTS) --lib --bins

.PHONY: test-integration
test-integration: PURPOSE := test
test-integration: check-rust services-up bins ## Tests against real servers
	$(SERVICES); $(RUN_TESTS) --test '*' $(LEAVE_OUT)
	$(if $(LEAVE_OUT),@echo "left out because only root may run them: $(FOR_ROOT)")

.PHONY: test-doc
test-doc: check-rust ## Tests the examples in the docs
	$(CARGO) test --doc $(WORKSPACE)

.PHONY: api
api: check-rust ## Compares the public API with tests/frozen/api
	CARGO="$(CARGO)" scripts/public-api

# Removed first, so that no file stays that no test compares.
.PHONY: bless
bless: check-rust services-up bins ## Writes the golden files of tests/frozen, after an intended change
	rm -rf tests/frozen
	$(SERVICES); POSTROOM_BLESS=1 $(CARGO) test $(WORKSPACE) --lib --test frozen as_before
	CARGO="$(CARGO)" POSTROOM_BLESS=1 scripts/public-api

.PHONY: doc
doc: check-rust ## Builds the API docs; warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps $(WORKSPACE)

# Recursive, so that the stages run in this order also with `make -j`.
.PHONY: test
test: ## Everything CI checks: format, lints, tests, docs
	@$(MAKE) --no-print-directory services-up PURPOSE=test
	@$(MAKE) --no-print-directory test-scripts
	@$(MAKE) --no-print-directory fmt-check
	@$(MAKE) --no-print-directory clippy
	@$(MAKE) --no-print-directory bins
	$(SERVICES); $(RUN_TESTS) --tests $(LEAVE_OUT)
	$(if $(LEAVE_OUT),@echo "left out because only root may run them: $(FOR_ROOT)")
	@$(MAKE) --no-print-directory api
	@$(MAKE) --no-print-directory test-doc
	@$(MAKE) --no-print-directory doc

.PHONY: packages
packages: check-rust ## Packs every crate that is published, in order, and builds each from its package
	$(CARGO) publish --workspace --dry-run --locked

.PHONY: demo
demo: PURPOSE := demo
demo: check-orders services-up ## The main job on real orders while things are killed (ORDERS=path, CALM=1)
	$(CARGO) build --release --locked -p postroom-relay -p postroom-shop $(OR_HINT)
	$(SERVICES); "$(TARGET)/release/shop-demo" --orders "$(ORDERS)" $(if $(CALM),--calm)

.PHONY: soak
soak: check-rust services-up ## A million deliveries with duplicates, kills and cuts (DELIVERIES=n, SEED=n)
	$(SERVICES); POSTROOM_SOAK_DELIVERIES=$(DELIVERIES) $(if $(SEED),POSTROOM_SEED=$(SEED)) \
		$(CARGO) test --release --locked -p postroom-tests --test soak -- --nocapture

.PHONY: bench
bench: check-rust ## Measures beside raw limits, twenty minutes (FIGURES=a,b, FULL=1)
	$(CARGO) build --release --locked -p postroom-relay -p postroom-bench
	"$(TARGET)/release/bench"$(if $(FIGURES), --figures $(FIGURES))$(if $(FULL), --full)

.PHONY: deny
deny: check-rust ## Checks licences and advisories of the dependencies
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo "error: cargo-deny is missing; install it: cargo install --locked cargo-deny" >&2; exit 1; }
	$(CARGO) deny --all-features --locked check

# What needs no network, unlike the advisories.
.PHONY: deny-offline
deny-offline: check-rust
	$(CARGO) deny --all-features --locked check licenses bans sources

# Needs no servers and no network: the test makes up the machines.
.PHONY: test-scripts
test-scripts: ## Tests what a machine is told that lacks something
	tests/scripts/preflight

.PHONY: lint-scripts
lint-scripts: ## Lints the shell scripts
	@command -v shellcheck >/dev/null || { echo "error: shellcheck is missing; install it: apt-get install shellcheck" >&2; exit 1; }
	shellcheck -x $(filter-out %.d,$(wildcard scripts/*)) tests/scripts/preflight examples/run .ci/run

.PHONY: check-orders
check-orders:
	@[ -r "$(ORDERS)" ] || { echo "error: cannot read the orders file '$(ORDERS)'; name another: make demo ORDERS=path" >&2; exit 1; }

.PHONY: check-rust
check-rust:
	@CARGO="$(CARGO)" scripts/preflight
