//! The one binary: arguments in, exit code out.

use std::process::ExitCode;

/// Rows are many small pieces, made by one thread and freed by another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    peerscope::command::main()
}
