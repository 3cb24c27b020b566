//! The Secret that gives a spoke its age identities.
//!
//! In: the spoke's own namespace. Out: the text of the identities. Never: writes one, says a key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::kinds::core;
use super::shared::{Shared, text};
use crate::target::TargetError;

/// Its name.
const NAME: &str = "nave-age";
/// Its keys: as Flux names it, or plainly.
const KEYS: [&str; 2] = ["/data/age.agekey", "/data/identity"];

impl Shared {
    /// The identities; `None` where the Secret is absent. A spoke that may not read it has been given none.
    pub async fn age_keys(&self) -> Result<Option<Zeroizing<String>>, TargetError> {
        let found = match self.wire.get(&core("Secret", "secrets"), &self.marks.namespace, NAME).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(problem) if problem.code == 403 => return Ok(None),
            Err(problem) => return Err(problem.into()),
        };
        let given = KEYS.iter().map(|key| text(&found, key)).find(|value| !value.is_empty());
        let decoded = given.and_then(|value| String::from_utf8(STANDARD.decode(value).ok()?).ok());
        // Given, and unusable: said as such, or the spoke would make a key that nobody encrypts to.
        Ok(Some(Zeroizing::new(decoded.unwrap_or_default())))
    }
}
