//! The `hub` program: everything it does is in [`nave_hub::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("nothing installed a provider before");
    nave_hub::cli::main()
}
