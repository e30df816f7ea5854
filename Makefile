# What people and CI run. Every target installs what it needs that is missing, or says what to do.

.PHONY: test released lint deploy-check shipped screenshots bench bench-full chaos heads soak overload fuzz audit sbom reproducible

# What tests start as a process is the program as it is released.
RELEASED = $(CURDIR)/target/release/mavera-gateway

# All tests: units, behaviours over in-memory pipes, real processes, curl, the OpenAI SDKs.
test: released
	scripts/setup test
	GATEWAY_BINARY=$(RELEASED) cargo test --workspace --all-targets

released:
	scripts/setup toolchain
	scripts/release-build --workspace --bin mavera-gateway

# Formatting, lints, documentation, shell scripts.
lint:
	scripts/setup lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --manifest-path fuzz/Cargo.toml --target-dir target -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
	shellcheck scripts/setup scripts/audit scripts/fuzz scripts/release-build scripts/reproduce scripts/screenshots .ci/run

# Everything in deploy/ that can be checked without a container engine and a cluster.
deploy-check: released
	deploy/check

# The image and the Debian package, built, and run where nothing else is. As root.
shipped: released
	deploy/shipped

# The pictures of the credits page in the documentation, of the demo.
screenshots: released
	scripts/setup screenshots
	scripts/screenshots

# CPU, latency, time to first byte, memory and allocations, against nginx and HAProxy in one interleaved run; writes
# target/bench.json and target/bench-allocations.json; and what a hold costs in a file and in PostgreSQL. ARGS are the harness's, like ARGS='--lane "16 callers"'.
bench:
	scripts/setup bench
	cargo build --release --workspace
	target/release/bench $(ARGS)
	target/release/allocations
	target/release/turns

# Every lane, 9,000 open streams among them, and more rounds.
bench-full:
	$(MAKE) bench ARGS=--full

# The chaos test with a thousand kills instead of two dozen.
chaos: released
	scripts/setup test
	GATEWAY_BINARY=$(RELEASED) CHAOS_ROUNDS=1000 cargo test --test behaviour -- chaos_never_loses_a_credit --nocapture

# A million generated requests instead of six thousand, from a seed that is new each day.
heads:
	scripts/setup test
	GENERATED_HEADS=1000000 GENERATED_SEED=$$(date +%Y%m%d000000) \
		cargo test --test behaviour -- generated_heads --nocapture

# Three times what fits for five minutes instead of thirty seconds.
overload:
	scripts/setup test
	OVERLOAD_SECONDS=300 cargo test --test behaviour -- overload --nocapture

# Half an hour with 500 open streams, faults, callers that leave, and keys and configurations that change, instead of
# twenty seconds with 100; a line every thirty seconds. SOAK_SECONDS and SOAK_STREAMS say otherwise.
soak: SOAK_SECONDS ?= 1800
soak: SOAK_STREAMS ?= 500
soak: released
	scripts/setup test
	GATEWAY_BINARY=$(RELEASED) SOAK_SECONDS=$(SOAK_SECONDS) SOAK_STREAMS=$(SOAK_STREAMS) \
		cargo test --test behaviour -- a_soak_leaves_nothing_behind --nocapture

# Every fuzz target for FUZZ_SECONDS (60): what reads bytes that others wrote, held against a second reader.
fuzz:
	scripts/fuzz

# Licences, sources, versions that are there twice, known advisories.
audit:
	scripts/audit

# What the program is made of: target/sbom.json, CycloneDX, checked against Cargo.lock and the standard's schema.
sbom:
	scripts/setup sbom
	scripts/sbom target/sbom.json
	target/tools/sbom/bin/python scripts/sbom --check target/sbom.json

# Builds the program here and in a copy elsewhere, and compares them byte for byte.
reproducible:
	scripts/reproduce
