//! The spoke's process: reads the command line and does what it says.
//!
//! In: arguments. Out: an exit code: 0 done, 1 failed, 2 usage. Never: does more than that; see `cli`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("nothing installed one before");
    cli::main()
}
