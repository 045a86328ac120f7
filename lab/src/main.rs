//! The program `why502-lab`; see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    why502_lab::main()
}
