//! Makes a fleet: the CA, the store, the first operator. Doing it twice changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nave_proto::spiffe::CertificateFacts;
use nave_proto::tls::Clock;
use serde::{Deserialize, Serialize};

use crate::context::{Context, ContextError, default_path, pem};
use crate::deciding::core::json;
use crate::pki::{Authority, AuthorityError, admin_key, random};
use crate::state::records::{FleetRecord, OperatorRecord, OperatorRole, key};
use crate::state::{Audit, CommitError, Ledger, Step};
use crate::store::Batch;

/// Where `hub serve` finds what `hub init` made, in the data directory.
const SETTINGS: &str = "hub.json";

/// Why a fleet cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The fleet's name.
    #[error(
        "{0:?} is not a valid fleet name: use lower-case letters, digits, '-', '_' and '.', at most 253 characters"
    )]
    Name(String),
    /// The fleet has another name, which is fixed for ever.
    #[error("this fleet's name is {is:?}, for ever; {wanted:?} would need another --data-dir and --ca-dir")]
    OtherName {
        /// Its name.
        is: String,
        /// The name that was asked for.
        wanted: String,
    },
    /// The data directory.
    #[error("cannot use data directory {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory was never initialised.
    #[error("{} holds no fleet; run `hub init --data-dir {}` first", .0.display(), .0.display())]
    NoFleet(PathBuf),
    /// The CA.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The context.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The store.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    ca_dir: PathBuf,
    advertise: Vec<String>,
}

/// What to make.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The fleet's name; random when absent.
    pub fleet: Option<String>,
    /// Where the CA's keys are; `D/ca` when absent.
    pub ca_dir: Option<PathBuf>,
    /// Where the hub is reached; where it listens when empty.
    pub advertise: Vec<String>,
    /// Copy the context to where the command line looks for one, if there is none.
    pub install_context: bool,
}

/// What was made, or was there.
pub struct Made {
    /// The CA.
    pub authority: Authority,
    /// The first operator's context.
    pub context: PathBuf,
    /// Whether the context was copied to the default place.
    pub is_default: bool,
}

/// A SPIFFE trust domain.
fn is_trust_domain(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    !name.is_empty() && name.len() <= 253 && name.chars().all(legal)
}

/// Makes CA and context. The store's records follow when it is opened ([`found`]).
///
/// # Errors
/// When a name is not valid or something cannot be written.
pub fn make(options: &Options, now_ms: u64) -> Result<Made, InitError> {
    let dir = &options.data_dir;
    let error = |source| InitError::Directory { path: dir.clone(), source };
    std::fs::create_dir_all(dir).map_err(error)?;
    let settings = dir.join(SETTINGS);
    if !settings.exists() {
        let ca_dir = options.ca_dir.clone().unwrap_or_else(|| dir.join("ca"));
        let ca_dir = std::path::absolute(ca_dir).map_err(error)?;
        let text = json(&Settings { ca_dir, advertise: options.advertise.clone() });
        std::fs::write(dir.join("hub.json.new"), text).map_err(error)?;
        std::fs::rename(dir.join("hub.json.new"), &settings).map_err(error)?;
    }
    let read = read_settings(dir)?;
    let random_name = || format!("fleet-{:08x}", u32::from_be_bytes(random()));
    let fleet = options.fleet.clone().unwrap_or_else(random_name);
    if !is_trust_domain(&fleet) {
        return Err(InitError::Name(fleet));
    }
    let authority = Authority::open_or_create(&read.ca_dir, &fleet, now_ms)?;
    if let Some(wanted) = options.fleet.clone().filter(|wanted| wanted != authority.fleet()) {
        return Err(InitError::OtherName { is: authority.fleet().to_owned(), wanted });
    }
    let path = dir.join("admin.yaml");
    if !path.exists() {
        let pair = admin_key()?;
        let issued = authority.operator("admin", &pair, now_ms)?;
        let hub = if read.advertise.is_empty() { vec!["127.0.0.1:7443".to_owned()] } else { read.advertise };
        let context = Context {
            hub,
            fleet: authority.fleet().to_owned(),
            operator: "admin".to_owned(),
            ca: pem("CERTIFICATE", authority.certificate()),
            certificate: pem("CERTIFICATE", &issued.certificate),
            key: pair.serialize_pem().into(),
        };
        context.write_new(&path)?;
    }
    let is_default = options.install_context && Context::read(&path)?.write_new(&default_path())?;
    Ok(Made { authority, context: path, is_default })
}

fn read_settings(dir: &Path) -> Result<Settings, InitError> {
    let text = match std::fs::read(dir.join(SETTINGS)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(InitError::NoFleet(dir.to_owned()));
        }
        Err(source) => return Err(InitError::Directory { path: dir.to_owned(), source }),
    };
    serde_json::from_slice(&text)
        .map_err(|e| InitError::Directory { path: dir.join(SETTINGS), source: e.into() })
}

/// Opens the CA that `hub init` made.
///
/// # Errors
/// When the directory was never initialised, or its keys cannot be read.
pub fn open(dir: &Path) -> Result<(Authority, Vec<String>), InitError> {
    let settings = read_settings(dir)?;
    Ok((Authority::open(&settings.ca_dir)?, settings.advertise))
}

/// Loads the state, and founds the fleet in a store that is new: its record, and the first operator.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn found(
    store: Arc<dyn crate::store::Store>,
    authority: &Authority,
    dir: &Path,
    advertise: Vec<String>,
    clock: Clock,
) -> Result<Ledger, InitError> {
    let ledger = Ledger::load(store, clock).await?;
    if ledger.state().fleet.is_none() {
        let epoch = nave_placement::assign::Epoch(1);
        let record = FleetRecord { name: authority.fleet().to_owned(), epoch, advertise };
        let batch = Batch::new().require_absent(key::FLEET).put(key::FLEET, json(&record));
        let audit = Audit {
            who: "hub".into(),
            what: "Founded",
            subject: format!("fleet {}", record.name),
            ..Audit::default()
        };
        ledger.commit_audited(Step::FleetMade, batch, &[audit]).await?;
    }
    if ledger.state().operators.is_empty() {
        let context = Context::read(&dir.join("admin.yaml"))?;
        let certificate = context.credentials().map(|c| c.certificate).unwrap_or_default();
        let facts = CertificateFacts::read(&certificate).map_err(AuthorityError::Identity)?;
        let public_key = nave_placement::hex(&facts.public_key);
        let record = OperatorRecord { role: OperatorRole::Admin, public_key };
        let name = key::operator(&context.operator);
        let batch = Batch::new().require_absent(name.clone()).put(name, json(&record));
        let subject = format!("operator {}", context.operator);
        let audit = Audit { who: "hub".into(), what: "Added", subject, ..Audit::default() };
        ledger.commit_audited(Step::OperatorAdded, batch, &[audit]).await?;
    }
    Ok(ledger)
}
