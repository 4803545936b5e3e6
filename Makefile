# Everyday commands. `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# What `make up` uses; `make up DATA=/tmp/x HTTP=127.0.0.1:18888` for other places.
PROJECT ?= examples/remote-care
DATA ?= data
KAFKA ?= 127.0.0.1:9092
HTTP ?= 127.0.0.1:8888
WEARERS ?= 50

# Where a folder of black-box checks lies, if there is one; see `make accept`.
ACCEPTANCE ?= ../shared/acceptance
PYTHON ?= python3

# Tools that are built once and used by every clone.
TOOLS ?= $(HOME)/.cache/vitalake
DENY := $(TOOLS)/bin/cargo-deny
DENY_VERSION := 0.20.2

.PHONY: help up test tests lint format clippy doc one-copy deny example azure wheel image image-root bench soak accept systems superset console console-test

help: ## List these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up: ## Build, start the example project with simulated wearers, ask it a first question
	@PROJECT=$(PROJECT) DATA=$(DATA) KAFKA=$(KAFKA) HTTP=$(HTTP) WEARERS=$(WEARERS) scripts/up.sh

test: format tests example azure lint ## Everything that must hold before a change is taken

tests: ## Unit, integration and documentation tests
	cargo test --workspace --locked

lint: format clippy doc one-copy deny ## Formatting, clippy, rustdoc, licences and copies of dependencies

format:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

one-copy:
	@scripts/one-copy.sh

deny: $(DENY)
	PATH="$(TOOLS)/bin:$$PATH" cargo deny --locked check bans licenses sources

$(DENY):
	@echo "Building cargo-deny once into $(TOOLS) (a few minutes on two cores)."
	CARGO_TARGET_DIR=$(TOOLS)/build cargo install cargo-deny --version $(DENY_VERSION) --locked --debug --root $(TOOLS)
	@rm -rf $(TOOLS)/build

example: ## Check the example project
	cargo run --locked --quiet --bin vitalake -- validate $(PROJECT)

azure: ## Check the deployment for Azure: types, policies, settings, queries
	@VITALAKE_TOOLS="$(TOOLS)" scripts/azure.sh

wheel: ## A wheel with the release build in dist/, installed once into an empty environment
	@. scripts/common.sh && build_release && scripts/wheel.py "$$(target_folder)/release/vitalake" dist && \
	  scripts/wheel-try.sh dist/vitalake-*.whl

image: ## The container image, with Docker: PROJECT is what it runs, TAG its name
	docker build --build-context project=$(PROJECT) --file deploy/azure/Dockerfile --tag $(or $(TAG),vitalake) .

image-root: ## What is in the image, tried without Docker: as another user, in a root folder of its own (needs root)
	@. scripts/common.sh && build_release && scripts/image-try.sh "$$(target_folder)/release/vitalake" $(PROJECT)

bench: ## Measure, with the release profile; results in bench/results/
	@bench/run.sh

# The process under test is the release build, what drives it the everyday one.
soak: ## Kill the real process fifty times under load and count every record
	@. scripts/common.sh && build_release && \
	  VITALAKE_BIN="$$(target_folder)/release/vitalake" VITALAKE_SOAK_KILLS=50 \
	  cargo test --workspace --locked --test it soak -- --nocapture

accept: ## Run the black-box checks of ACCEPTANCE against the everyday build
	@if [ ! -f "$(ACCEPTANCE)/spine.py" ]; then \
	  echo "skipped: $(ACCEPTANCE) holds no spine.py; name the folder with make accept ACCEPTANCE=DIR"; \
	else \
	  ACCEPTANCE="$(ACCEPTANCE)" PYTHON="$(PYTHON)" scripts/accept.sh; \
	fi

systems: ## Run the checks against real Kafka, Azurite and Spark; ONLY=java,spark picks, BIN=PATH brings a binary
	@ACCEPTANCE="$(ACCEPTANCE)" VITALAKE_TOOLS="$(TOOLS)" BIN="$(BIN)" ONLY="$(ONLY)" scripts/systems.sh

superset: ## Start the example project and a Superset that shows its dashboards, at http://127.0.0.1:8088
	@VITALAKE_TOOLS="$(TOOLS)" PYTHON=$(PYTHON) PROJECT=$(PROJECT) DATA=$(DATA) KAFKA=$(KAFKA) HTTP=$(HTTP) WEARERS=$(WEARERS) scripts/superset.sh

console: ## Build the console's pages into console/dist; the next build of the binary takes them in
	@scripts/console.sh

console-test: ## Check the console: types, unit tests, and a browser against the real binary; BIN=PATH brings one
	@BIN="$(BIN)" PROJECT=$(PROJECT) scripts/console-test.sh
