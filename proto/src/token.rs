//! The join token: hub addresses, CA hash, id and secret in one string.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message as _;

use crate::v1::JoinToken;

/// What every token begins with; the number is the format's.
const PREFIX: &str = "nave1.";

/// Text that is not a join token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a join token: one begins with {PREFIX:?} and is printed by `hub cluster join NAME`; copy it whole"
)]
pub struct ParseTokenError;

impl JoinToken {
    /// The token as text.
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.encode_to_vec()))
    }

    /// Reads a token.
    ///
    /// # Errors
    /// When it is malformed or lacks a part.
    pub fn from_text(text: &str) -> Result<Self, ParseTokenError> {
        let body = text.trim().strip_prefix(PREFIX).ok_or(ParseTokenError)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| ParseTokenError)?;
        let token = Self::decode(&*bytes).map_err(|_| ParseTokenError)?;
        let whole = !token.hub_addresses.is_empty()
            && token.ca_sha256.len() == 32
            && !token.id.is_empty()
            && token.secret.len() == 32
            && !token.fleet.is_empty();
        if whole { Ok(token) } else { Err(ParseTokenError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_what_it_shows_and_a_cut_one_is_refused() {
        let token = JoinToken {
            hub_addresses: vec!["127.0.0.1:7443".into()],
            ca_sha256: vec![7; 32],
            id: "abc".into(),
            secret: vec![9; 32],
            fleet: "acme".into(),
        };
        let text = token.to_text();
        assert_eq!(JoinToken::from_text(&format!(" {text}\n")), Ok(token));
        for cut in 0..text.len() {
            assert_eq!(JoinToken::from_text(&text[..cut]), Err(ParseTokenError), "{cut}");
        }
    }
}
