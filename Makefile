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

# cargo-nextest where it is installed, cargo's own runner elsewhere.
RUN_TESTS := if $(CARGO) nextest --version >/dev/null 2>&1; \
	then run=(nextest run --no-tests=pass); else run=(test); fi; $(CARGO) "$${run[@]}" $(WORKSPACE)

.PHONY: help
help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: services-up
services-up: ## Finds or starts PostgreSQL and RabbitMQ (scripts/services --help)
	@scripts/services up

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
	$(CARGO) clippy --workspace --all-targets --all-features --locked -- -D warnings

# Tests run the programs they test; cargo builds those only for their own package.
.PHONY: bins
bins: check-rust
	$(CARGO) build --locked -p postroom-relay -p postroom-shop --bins
	$(CARGO) build --locked -p postroom-examples --examples

.PHONY: check
check: fmt-check clippy test-unit ## Format, lints and unit tests: what to run after each change

.PHONY: test-unit
test-unit: check-rust ## Tests that need no servers
	$(RUN_TESTS) --lib --bins

.PHONY: test-integration
test-integration: check-rust services-up bins ## Tests against real servers
	$(SERVICES); $(RUN_TESTS) --test '*'

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
test: check-rust ## Everything CI checks: format, lints, tests, docs
	@$(MAKE) --no-print-directory services-up
	@$(MAKE) --no-print-directory fmt-check
	@$(MAKE) --no-print-directory clippy
	@$(MAKE) --no-print-directory bins
	$(SERVICES); $(RUN_TESTS)
	@$(MAKE) --no-print-directory api
	@$(MAKE) --no-print-directory test-doc
	@$(MAKE) --no-print-directory doc

.PHONY: demo
demo: check-rust services-up ## The main job on real orders while things are killed (ORDERS=path, CALM=1)
	@[ -r "$(ORDERS)" ] || { echo "error: cannot read the orders file '$(ORDERS)'; name another: make demo ORDERS=path" >&2; exit 1; }
	$(CARGO) build --release --locked -p postroom-relay -p postroom-shop
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

.PHONY: lint-scripts
lint-scripts: ## Lints the shell scripts
	@command -v shellcheck >/dev/null || { echo "error: shellcheck is missing; install it: apt-get install shellcheck" >&2; exit 1; }
	shellcheck -x scripts/clients scripts/debian scripts/fuzz scripts/public-api scripts/rustdoc-json scripts/services scripts/traps scripts/upgrade scripts/faults examples/run .ci/run

.PHONY: check-rust
check-rust:
	@command -v $(CARGO) >/dev/null || { echo "error: $(CARGO) is missing; install Rust with rustup (https://rustup.rs), then open a new shell" >&2; exit 1; }
