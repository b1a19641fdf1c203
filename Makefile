# The front door. Every target sets up what it needs first; what is set up already costs no time.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Tests share two cores and a machine's time: one suite after the other, also under make -j.
.NOTPARALLEL:
.PHONY: help demo test lint fuzz soak bench bench-peer test-node test-train setup setup-train setup-distributed clean

ENV := source scripts/env.sh &&
# For `make fuzz` and `make soak`.
SECONDS := 60
MINUTES := 10
TRAIN_ENV := source scripts/env-train.sh &&

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## Stream pictures through the node over ROS 2; results in out/demo
	$(ENV) bash scripts/demo.sh

test: test-node test-train ## Run every test (libtorch for those of training: 5 GB once)

test-node: setup ## Test all but training: Rust, ROS 2 round trips, colcon build
	$(ENV) cargo test --locked --features ros
	$(ENV) bash tests/colcon.sh

test-train: setup setup-train setup-distributed ## Test the models and training on libtorch: against PyTorch, published numbers and exports
	$(TRAIN_ENV) cargo test --locked --features train --lib --test train
	$(TRAIN_ENV) cargo test --locked --features train --test trainer -- --test-threads=1 # why: see tests/trainer/main.rs
	$(TRAIN_ENV) cargo test --locked --features distributed --test distributed -- --test-threads=1 # the same, and 2 processes each

lint: setup setup-train setup-distributed ## Check format and clippy, warnings denied
	cargo fmt --check
	$(ENV) cargo clippy --locked --all-targets --features ros -- -D warnings
	$(TRAIN_ENV) cargo clippy --locked --all-targets --features train -- -D warnings
	$(TRAIN_ENV) cargo clippy --locked --lib --bins --test distributed --features distributed -- -D warnings

fuzz: setup ## Look for inputs that break a reader: make fuzz TARGET=cdr SECONDS=60
	$(ENV) bash scripts/fuzz.sh "$(TARGET)" "$(SECONDS)"

bench: setup ## Measure the time of each stage
	$(ENV) bash scripts/bench.sh

soak: setup ## Run the node for MINUTES=10 under everything that happens to it on a robot; results in out/soak
	$(ENV) MINUTES=$(MINUTES) bash scripts/soak.sh

bench-peer: setup ## Measure the node beside one in Python: latency, throughput, age, CPU, memory; ARGS="--pairs 1" for less
	@bash scripts/setup.sh peer
	$(ENV) bash scripts/bench_peer.sh $(ARGS)

setup: ## Install what is missing into .deps: ROS 2 (unless sourced), ONNX Runtime, build tools
	@bash scripts/setup.sh

setup-train: ## Install libtorch into .deps (5 GB), for training only
	@bash scripts/setup.sh train

setup-distributed: ## Install Open MPI (unless the machine has an MPI) into .deps, for training on several processes only
	@bash scripts/setup.sh distributed

clean: ## Remove what builds and runs made; set-up's .deps stays
	rm -rf target out fuzz/target fuzz/artifacts
