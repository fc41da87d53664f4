# Eight recipes; `just --list` shows them. Without `just`, type the line below the name.

# Types and house rules, quickly
check:
    cargo check --workspace --all-targets --locked
    cargo test --locked --test tidy

# Every test of the workspace
test *ARGS:
    cargo test --workspace --locked {{ARGS}}

# Format and lints, as .ci/run asks
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The benchmarks: the same answer first, then the race
bench *ARGS="all":
    cargo build --release --workspace --locked
    cargo build --release --locked --manifest-path benches/rotonda/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}"
    "${CARGO_TARGET_DIR:-target}/release/peerscope-benches" {{ARGS}}

# The property tests of every crate with far more cases than a test run has time for
fuzz CASES="20000":
    PROPTEST_CASES={{CASES}} cargo test --workspace --lib --locked

# Archives and samples into a lake
replay *ARGS:
    cargo run --locked --bin peerscope -- replay {{ARGS}}

# The API documentation, with no warning
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Any command of peerscope: just run demo
run *ARGS:
    cargo run --locked --bin peerscope -- {{ARGS}}
