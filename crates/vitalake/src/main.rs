//! The binary's entry: everything happens in the library, so that tests and benchmarks can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    vitalake::main()
}
