# make demo   installs what is missing, builds, breaks a real nginx and diagnoses it
# make test   installs what the tests need, runs all of them, the fuzz targets for FUZZ_SECONDS (20) seconds each
# make lab    runs every lab scenario against the real nginx and prints the accuracy table
# make lab-vm runs the scenarios that need a kernel and a systemd of their own, in a guest on User-mode Linux
# make fuzz   runs every fuzz target for FUZZ_SECONDS (20) seconds
# make bench  prints times as ratios to named tools on the same bytes
# make fmt    formats; make lint checks format, lints and documents

CARGO ?= cargo
FUZZ_SECONDS ?= 20
GUEST_TARGET = $(shell rustc --print host-tuple)
export CARGO_TERM_COLOR ?= auto

.PHONY: demo test lab lab-vm fuzz bench fmt lint setup-test setup-demo setup-bench setup-guest

demo: setup-demo
	$(CARGO) build --release --quiet -p why502
	scripts/demo

test: setup-test lint
	scripts/fuzz $(FUZZ_SECONDS)
	$(CARGO) nextest run --workspace --no-fail-fast
	$(CARGO) test --workspace --doc --quiet

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --quiet

fmt:
	$(CARGO) fmt --all

lab: setup-test
	$(CARGO) build --release --quiet -p why502 -p why502-lab
	target/release/why502-lab run

# Both programs run in the guest, so they bring their libraries along.
lab-vm: setup-guest
	PCRE2_SYS_STATIC=1 OPENSSL_STATIC=1 RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --quiet \
		--profile guest --target-dir target/guest --target $(GUEST_TARGET) -p why502 -p why502-lab
	target/guest/$(GUEST_TARGET)/guest/why502-lab guest $(SCENARIOS)

fuzz: setup-test
	scripts/fuzz $(FUZZ_SECONDS)

bench: setup-bench
	$(CARGO) build --release --quiet -p why502 -p why502-lab
	target/release/why502-lab bench

setup-test setup-demo:
	scripts/setup test

setup-bench:
	scripts/setup bench

setup-guest:
	scripts/setup guest
