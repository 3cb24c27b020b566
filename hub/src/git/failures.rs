//! Sorts what a connection said into the few kinds that an operator can act on.
//!
//! In: gix' error with everything below it. Out: a [`FetchError`]. Never: looks at anything but the error.

use std::error::Error;
use std::time::Duration;

use super::errors::{FetchError, Unfit};
use crate::addresses::Refused;

/// Deep enough for gix around io around reqwest around hyper around rustls.
const MAX_DEPTH: usize = 24;

/// What an error says, with everything below it.
#[derive(Default)]
pub(crate) struct Signs {
    pub(crate) timed_out: bool,
    pub(crate) connect: bool,
    pub(crate) untrusted: bool,
    refused: bool,
    unfit: Option<Unfit>,
    status: Option<u16>,
}

/// `after` is how long a silent server is given.
pub(super) fn classify(url: &str, after: Duration, error: gix::Error) -> FetchError {
    let mut signs = Signs::default();
    for part in error.iter_errors() {
        signs.gather(part, 0);
    }
    let url = url.to_owned();
    let denied = error.is_unauthenticated() || error.is_permission_denied();
    let no_git = error.is_unsupported() || error.is_not_found();
    let cause = error.into();
    match signs {
        Signs { unfit: Some(Unfit::TooMuch(what)), .. } => FetchError::TooMuch { url, what },
        Signs { unfit: Some(Unfit::Redirect(why)), .. } => FetchError::Forbidden { url, why },
        Signs { refused: true, .. } => FetchError::Forbidden { url, why: Refused::WHY },
        Signs { untrusted: true, .. } => FetchError::Untrusted { url, cause },
        Signs { timed_out: true, .. } => FetchError::TimedOut { url, after },
        Signs { status: Some(401 | 403), .. } => FetchError::AuthRefused { url, cause },
        Signs { status: Some(404 | 410), .. } => FetchError::NotARepository { url, cause },
        Signs { connect: true, .. } => FetchError::Unreachable { url, cause },
        _ if denied => FetchError::AuthRefused { url, cause },
        Signs { status: None, .. } if no_git => FetchError::NotARepository { url, cause },
        _ => FetchError::Failed { url, cause },
    }
}

impl Signs {
    /// Of an error.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut signs = Self::default();
        signs.gather(error, 0);
        signs
    }

    fn gather(&mut self, error: &(dyn Error + 'static), depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            self.timed_out |= error.is_timeout();
            self.connect |= error.is_connect();
            self.status = self.status.or(error.status().map(|s| s.as_u16()));
        }
        self.refused |= error.is::<Refused>();
        self.unfit = self.unfit.or(error.downcast_ref().copied());
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            self.untrusted = true;
        }
        if let Some(error) = error.downcast_ref::<gix::Error>() {
            error.iter_errors().for_each(|part| self.gather(part, depth + 1));
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{
                ConnectionRefused, ConnectionReset, HostUnreachable, TimedOut, UnexpectedEof,
            };
            self.timed_out |= error.kind() == TimedOut;
            self.connect |=
                matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable | UnexpectedEof);
            // `source` of an io::Error skips the error it wraps.
            if let Some(inner) = error.get_ref() {
                self.gather(inner, depth + 1);
            }
        }
        if let Some(source) = error.source() {
            self.gather(source, depth + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::Lookup;

    #[test]
    fn a_name_that_leads_to_a_link_local_address_is_told_as_that() {
        rustls::crypto::ring::default_provider().install_default().ok();
        // The resolver is asked for what is no address as URLs write one.
        let refuses = std::sync::Arc::new(Elsewhere);
        let client = reqwest::blocking::Client::builder().dns_resolver(refuses).build().expect("a client");
        let error = client.get("http://git.example.com/shop").send().expect_err("it is refused");
        let told =
            classify("http://git.example.com/shop", Duration::from_secs(1), gix::Error::from_error(error));
        assert!(matches!(told, FetchError::Forbidden { .. }), "{told:?}");
    }

    /// Finds a link-local address by every name.
    struct Elsewhere;

    impl reqwest::dns::Resolve for Elsewhere {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            Lookup.resolve("169.254.7.7".parse().expect("a name"))
        }
    }
}
