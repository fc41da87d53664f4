//! The one binary: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    peerscope::command::main()
}
