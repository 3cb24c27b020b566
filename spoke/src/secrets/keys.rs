//! Keys: where this spoke's age identities come from.
//!
//! In: the Secret `nave-age` of the spoke's namespace, a file, the state. Out: all identities, the one to encrypt to first.
//! Never: makes a key while one may have been given that could not be looked at; overwrites a key.

use std::path::Path;

use nave_proto::limits::REQUEST_TIMEOUT;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::age::{Identity, identities};
use crate::link;
use crate::state::{State, StateError, blocking};
use crate::target::Target;

/// Largest key file that is read: hundreds of identities.
const MAX_FILE: u64 = 64 << 10;

/// All identities that are there: the Secret's, the file's, our own. Made when there is none. `None`: not known now.
pub async fn find(
    state: &std::sync::Arc<State>,
    file: Option<&Path>,
    target: &dyn Target,
) -> Option<Vec<Identity>> {
    let mut found = match timeout(REQUEST_TIMEOUT, target.age_keys()).await {
        Ok(Ok(Some(text))) => parsed(&text, "the Secret nave-age")?,
        Ok(Ok(None)) => Vec::new(),
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot see whether a Secret nave-age gives the key of this cluster");
            return None;
        }
        Err(_) => return None,
    };
    let (path, given) = (file.map(Path::to_owned), !found.is_empty());
    let read = async {
        let read = move || Ok(path.map(|path| read(&path).map(|text| (text, path.display().to_string()))));
        let file = blocking(read).await?;
        let make = !given && file.is_none();
        Ok::<_, StateError>((file, own(state, make).await?))
    };
    match read.await {
        Ok((file, own)) => {
            match file {
                Some(Ok((text, name))) => found.extend(parsed(&text, &name)?),
                Some(Err(error)) => {
                    tracing::warn!(error = link::chain(&error), "the age key file is not used");
                    return None;
                }
                None => {}
            }
            found.extend(own);
            Some(found)
        }
        Err(error) => {
            tracing::error!(error = link::chain(&error), "the age key of this spoke cannot be used");
            None
        }
    }
}

fn parsed(text: &str, name: &str) -> Option<Vec<Identity>> {
    let found = identities(text).filter(|found| !found.is_empty());
    if found.is_none() {
        tracing::error!("{name} holds something else than age identities (AGE-SECRET-KEY-1…, one a line)");
    }
    found
}

fn read(path: &Path) -> Result<Zeroizing<String>, StateError> {
    use std::io::Read as _;
    let failed = |source: std::io::Error| StateError::Failed {
        verb: "read",
        place: path.display().to_string(),
        source: Box::new(source),
    };
    let mut text = Zeroizing::new(String::new());
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// The key that this spoke made, or makes now.
async fn own(state: &State, make: bool) -> Result<Vec<Identity>, StateError> {
    if let Some(found) = state.age_keys().await?.and_then(|text| identities(&text)) {
        return Ok(found);
    }
    if !make {
        return Ok(Vec::new());
    }
    let mut secret = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *secret).expect("the system gives random bytes");
    let identity = Identity::new(secret);
    state.store_age_keys(&identity.to_text()).await?;
    Ok(vec![identity])
}
