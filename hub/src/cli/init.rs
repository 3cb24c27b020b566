//! `hub init`: makes a fleet.
//!
//! In: directories, names. Out: CA, store, the first operator's context, and what to type next.
//! Never: changes anything when it is run again.

use std::path::PathBuf;

use clap::Args;
use nave_spoke::run::system_clock;

use super::Outcome;
use super::output::print;
use crate::context::default_path;
use crate::init;
use crate::serve::{self, ServeError};
use crate::store::redb::OpenError;

/// Its arguments.
#[derive(Args)]
#[command(
    after_help = "Example: hub init --data-dir /var/lib/nave/hub --fleet shop --advertise hub.example.com:7443"
)]
pub struct Arguments {
    /// Where the hub keeps everything
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The fleet's name, for ever [default: a random one]
    #[arg(long, value_name = "NAME")]
    fleet: Option<String>,
    /// Where the CA's keys are kept [default: `ca` in the data directory]
    #[arg(long, value_name = "DIR")]
    ca_dir: Option<PathBuf>,
    /// Where spokes and operators reach the hub; may be repeated [default: where it listens]
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    advertise: Vec<String>,
}

fn address(text: &str) -> Result<String, String> {
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(port)) if port > 0 => Ok(text.to_owned()),
        _ => Err("write HOST:PORT, as in hub.example.com:7443".to_owned()),
    }
}

/// Makes the fleet, or says that it is there.
pub async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let dir = arguments.data_dir;
    let was_there = dir.join("admin.yaml").exists() && dir.join("store.redb").exists();
    let options = init::Options {
        data_dir: dir.clone(),
        fleet: arguments.fleet,
        ca_dir: arguments.ca_dir,
        advertise: arguments.advertise.clone(),
        install_context: true,
    };
    let clock = system_clock();
    let made = init::make(&options, clock())?;
    let fleet = made.authority.fleet();
    let is_running = match serve::found(&serve::Options::local(dir.clone(), clock.clone())).await {
        Ok(()) => false,
        Err(error) if is_in_use(&error) => true,
        Err(error) => return Err(error.into()),
    };
    let (_, advertised) = init::open(&dir)?;
    if !arguments.advertise.is_empty() && advertised != arguments.advertise {
        eprintln!("note: the first `hub init` chose what is advertised, {advertised:?}; it stays");
    }
    let done = match (was_there, is_running) {
        (_, true) => "is initialised already, and its hub is running; nothing was changed",
        (true, false) => "is initialised already; nothing was changed",
        (false, false) => "is initialised",
    };
    let context = made.context.display();
    let mut text = format!("fleet {fleet} {done}\ncontext of operator admin: {context}\n");
    if made.is_default {
        text.push_str(&format!("copied to {}, where commands look for it\n", default_path().display()));
    }
    print(&text)?;
    if !was_there && !made.is_default && std::env::var_os("HUB_CONTEXT").is_none() {
        let default = default_path();
        eprintln!("{} is another hub's; for this one: export HUB_CONTEXT={context}", default.display());
    }
    if !is_running {
        eprintln!("next: hub serve --data-dir {} --catalog URL", dir.display());
    }
    Ok(Outcome::Done)
}

fn is_in_use(error: &ServeError) -> bool {
    matches!(error, ServeError::Store { source, .. } if matches!(source.downcast_ref(), Some(OpenError::InUse(_))))
}
