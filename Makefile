# make demo   installs what is missing, builds, breaks a real nginx and diagnoses it
# make test   installs what the tests need, runs all of them, the fuzz targets for FUZZ_SECONDS (20) seconds each, and the quick part of the guest lab
# make lab    runs every lab scenario against the real nginx and prints the accuracy table
# make lab-vm runs the scenarios that need a kernel and a systemd of their own, in a guest on User-mode Linux
# make fuzz   runs every fuzz target for FUZZ_SECONDS (20) seconds
# make bench  prints times as ratios to named tools on the same bytes
# make fmt    formats; make lint checks format, lints and documents

CARGO ?= cargo
FUZZ_SECONDS ?= 20
HOST = $(shell rustc --print host-tuple)
# What is tested, and taken into the guest, brings its libraries along. With --target, what runs at build time does not.
STATIC = PCRE2_SYS_STATIC=1 OPENSSL_STATIC=1 RUSTFLAGS="-C target-feature=+crt-static"
export CARGO_TERM_COLOR ?= auto

.PHONY: demo test lab lab-vm fuzz bench fmt lint setup-test setup-demo setup-bench guest-image

demo: setup-demo
	$(CARGO) build --release --quiet -p why502
	scripts/demo

test: setup-test guest-image lint
	scripts/fuzz $(FUZZ_SECONDS)
	$(STATIC) $(CARGO) nextest run --workspace --target $(HOST) --no-fail-fast
	$(STATIC) $(CARGO) test --workspace --target $(HOST) --doc --quiet
	target/$(HOST)/debug/why502-lab guest --quick

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --quiet

fmt:
	$(CARGO) fmt --all

lab: setup-test
	$(CARGO) build --release --quiet -p why502 -p why502-lab
	target/release/why502-lab run

lab-vm: setup-test
	$(STATIC) $(CARGO) build --quiet --target $(HOST) -p why502 -p why502-lab
	target/$(HOST)/debug/why502-lab guest $(SCENARIOS)

# The disk of the guest takes minutes and waits for mirrors: it is built beside what follows. Whoever needs it waits, and builds
# it again should this fail.
guest-image: setup-test
	@mkdir -p target
	@if [ "$$(id -u)" -eq 0 ]; then (scripts/guest-image >target/guest-image.log 2>&1 &); fi

fuzz: setup-test
	scripts/fuzz $(FUZZ_SECONDS)

bench: setup-bench
	$(CARGO) build --release --quiet -p why502 -p why502-lab
	target/release/why502-lab bench

setup-test setup-demo:
	scripts/setup test

setup-bench:
	scripts/setup bench
