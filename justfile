# The commands of daily work; each is one line that works without just, too.

# All of this list
default:
    @just --list

# Debug build of everything
build:
    cargo build --workspace

# The quick loop: needs nothing but Rust and a C compiler
quick:
    cargo test --workspace

# Everything CI checks: formatting, lints, docs, tests, judges, an emulated AWS
test:
    tests/run

# The long tables of docs/RELIABILITY.md: every fault at every request, every order, kills, bursts, damage
reliability:
    tests/reliability/run

# Only the judges that did not come from us
interop:
    tests/setup
    tests/interop/run

# Nydus' own tools judge real images; builds them once
interop-nydus *images:
    tests/setup
    tests/interop/nydus {{images}}

# Accel on an emulated AWS, tested
cloud *passes:
    tests/setup
    tests/cloud/run {{passes}}

# Accel and the service that it replaces, side by side, on this machine: docs/PERFORMANCE.md
bench *options:
    tests/setup
    tests/bench/run {{options}}

# Accel with a registry and an image of its own, on 127.0.0.1:2077
demo:
    cargo run --release -p accelctl -- serve --demo

# Accel as on AWS: emulator, registry, functions, one image converted; EMULATOR=ministack|localstack|docker
local:
    tests/setup
    localstack/up

# Stops what `local` has started
local-down:
    localstack/down

fmt:
    cargo fmt --all

lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# Writes docs/CONFIGURATION.md anew from the doc comments of the configuration
docs:
    cargo run -q -p accel-domain --example configuration > docs/CONFIGURATION.md
