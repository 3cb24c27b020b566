//! App: tokens of a GitHub App's installation.
//!
//! In: the App's private key, in a file. Out: a token that reads the repositories of the installation, for an hour.
//! Never: keeps a token on disk; follows a redirect with one.
//!
//! <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app>

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::access::secret;
use super::errors::Cause;

/// GitHub takes none that is good for longer than ten minutes.
const GOOD_FOR_S: u64 = 9 * 60;
/// Its clock may be behind ours.
const BEHIND_S: u64 = 60;
/// A token is exchanged so long before it ends.
const MARGIN_S: u64 = 5 * 60;
/// For one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A GitHub App's installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// The App's id or client id.
    pub id: String,
    /// The installation's id.
    pub installation: String,
    /// Its private key, in PEM form.
    pub key_file: PathBuf,
    /// The API: `https://api.github.com`, or `https://HOST/api/v3`.
    pub api: String,
}

/// A token, as long as it is good.
#[derive(Clone)]
pub(super) struct Token {
    value: Zeroizing<String>,
    until_s: u64,
}

impl Token {
    /// Whether it is good for some minutes more.
    pub fn lasts(&self) -> bool {
        now_s() + MARGIN_S < self.until_s
    }

    /// What is shown.
    pub fn value(&self) -> Zeroizing<String> {
        self.value.clone()
    }
}

impl App {
    /// Asks for a token; blocks.
    pub(super) fn token(&self, client: &reqwest::blocking::Client) -> Result<Token, Cause> {
        let url = format!(
            "{}/app/installations/{}/access_tokens",
            self.api.trim_end_matches('/'),
            self.installation
        );
        let request = client
            .post(&url)
            .timeout(PATIENCE)
            .bearer_auth(&*self.assertion(now_s())?)
            .header("accept", "application/vnd.github+json")
            .header("user-agent", "nave")
            .body(r#"{"permissions": {"contents": "read"}}"#);
        let answer = request.send()?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("{url} answers {status}; check appId, installationId and the key").into());
        }
        #[derive(Deserialize)]
        struct Issued {
            token: Zeroizing<String>,
            expires_at: String,
        }
        let issued: Issued = serde_json::from_slice(&answer.bytes()?)?;
        let until: jiff::Timestamp = issued.expires_at.parse()?;
        Ok(Token { value: issued.token, until_s: u64::try_from(until.as_second()).unwrap_or_default() })
    }

    /// What the App shows of itself: a JSON Web Token (RFC 7519), signed with RS256.
    fn assertion(&self, now_s: u64) -> Result<Zeroizing<String>, Cause> {
        let pem = secret(&self.key_file)?;
        let named = |cause: String| Cause::from(format!("{}: {cause}", self.key_file.display()));
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| named(error.to_string()))?;
        let key = any_supported_type(&key).map_err(|error| named(error.to_string()))?;
        let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
        let signer = signer.ok_or_else(|| named("it is no RSA key".into()))?;
        let claims = json!({"iat": now_s - BEHIND_S, "exp": now_s + GOOD_FOR_S, "iss": self.id});
        let encode = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", encode(json!({"alg": "RS256", "typ": "JWT"})), encode(claims));
        let signature = signer.sign(signed.as_bytes())?;
        Ok(Zeroizing::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
