//! The hub's binary: server and command line in one.

use std::process::ExitCode;

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("nothing installed one before");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("hub").build();
    match runtime {
        Ok(runtime) => runtime.block_on(nave_hub::cli::main()),
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
