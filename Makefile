# What people and CI run. Every target installs what it needs that is missing, or says what to do.

.PHONY: test lint deploy-check bench bench-full chaos

# All tests: units, behaviours over in-memory pipes, real processes, curl, the OpenAI SDKs.
test:
	scripts/setup test
	cargo test --workspace --all-targets

# Formatting, lints, documentation, shell scripts.
lint:
	scripts/setup lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --no-default-features --lib --bins -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
	shellcheck scripts/setup .ci/run

# Everything in deploy/ that can be checked without a container engine and a cluster.
deploy-check:
	cargo build --release
	deploy/check

# CPU, latency, time to first byte, memory and allocations, against nginx and HAProxy in one interleaved run; writes
# target/bench.json and target/bench-allocations.json. ARGS are the harness's, like ARGS='--lane "16 callers"'.
bench:
	scripts/setup bench
	cargo build --release --workspace
	target/release/bench $(ARGS)
	target/release/allocations

# Every lane, 9,000 open streams among them, and more rounds.
bench-full:
	$(MAKE) bench ARGS=--full

# The chaos test with a thousand kills instead of two dozen.
chaos:
	scripts/setup test
	CHAOS_ROUNDS=1000 cargo test --test behaviour -- chaos_never_loses_a_credit --nocapture
