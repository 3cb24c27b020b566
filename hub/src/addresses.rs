//! Addresses: whom the hub lets itself be sent to.
//!
//! In: a URL of a catalog, an index or a redirect; a name to look up. Out: whether it may be asked. Where a cloud's machines get their own
//! credentials (169.254.169.254 and its like) no repository stands, but a redirect could make the hub fetch them from there.
//! Behind a proxy it is the proxy that looks names up, and that has to know whom it lets be asked.
//! Never: refuses what is only private: that is where the repositories of a company are.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The metadata service of AWS over IPv6, which is not link-local.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);

/// A name leads to a link-local address.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{}", Self::WHY)]
pub(crate) struct Refused;

impl Refused {
    /// In words.
    pub const WHY: &'static str = "it leads to a link-local address, as where a cloud's machines get their credentials; name the server by another address";
}

/// Why a URL is not asked, by what stands in it.
pub(crate) fn objection(url: &Url) -> Option<&'static str> {
    // A URL knows an IPv4 address in whatever way it is written.
    let host = url.host_str().unwrap_or_default();
    let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let has_secret = !url.username().is_empty() || url.password().is_some();
    let rules = [
        (!matches!(url.scheme(), "http" | "https"), "it is neither https:// nor http://"),
        (!url.has_host(), "it names no host"),
        (has_secret, "it holds a user or password, which everybody sees"),
        (ip.is_some_and(is_refused), Refused::WHY),
    ];
    rules.into_iter().find_map(|(is_wrong, why)| is_wrong.then_some(why))
}

fn is_refused(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip == METADATA,
    }
}

/// Why a host is not asked, if a name leads to an address that is refused. One that cannot be looked up is refused by nobody: whoever asks
/// it says so. Blocks while it is looked up.
pub(crate) fn objection_to_host(host: &str, port: u16) -> Option<&'static str> {
    let found = (host.trim_matches(['[', ']']), port).to_socket_addrs().ok()?;
    let mut found = found.map(|address| address.ip());
    found.any(is_refused).then_some(Refused::WHY)
}

/// Looks names up as the machine does, and gives no address that is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup;

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One is enough: who mixes them wants to be asked twice.
            if found.iter().any(|address| is_refused(address.ip())) {
                return Err(Refused.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_looked_up_and_leads_to_no_address_that_is_refused() {
        let found = Lookup.resolve("localhost".parse().expect("a name")).await.map(|found| found.count());
        assert!(found.is_ok_and(|found| found > 0));
        let refused = Lookup.resolve("169.254.169.254".parse().expect("a name")).await;
        assert!(refused.err().expect("it is refused").is::<Refused>());
    }

    #[test]
    fn a_host_is_looked_up_however_it_is_written() {
        for (host, is_refused) in [
            ("localhost", false),
            ("[::1]", false),
            ("169.254.169.254", true),
            ("2852039166", true),
            ("0xa9fea9fe", true),
            ("[::ffff:169.254.169.254]", true),
            ("[fd00:ec2::254]", true),
            ("nowhere.invalid", false),
        ] {
            assert_eq!(objection_to_host(host, 22).is_some(), is_refused, "{host}");
        }
    }

    #[test]
    fn link_local_addresses_are_refused_however_they_are_written() {
        let rows = [
            ("https://charts.example.com/a", None),
            ("http://10.0.0.1/a", None),
            ("https://127.0.0.1:5000/a", None),
            ("https://[fd00::1]/a", None),
            ("http://169.254.169.254/latest", Some("link-local")),
            ("http://0xa9fea9fe/latest", Some("link-local")),
            ("http://2852039166/latest", Some("link-local")),
            ("http://169.254.43518/latest", Some("link-local")),
            ("http://[fe80::1]/a", Some("link-local")),
            ("http://[febf::1]/a", Some("link-local")),
            ("http://[::ffff:169.254.169.254]/a", Some("link-local")),
            ("http://[fd00:ec2::254]/a", Some("link-local")),
            ("file:///etc/passwd", Some("neither")),
            ("ftp://h/a", Some("neither")),
            ("https://me:secret@h/a", Some("user or password")),
        ];
        for (url, expected) in rows {
            let told = objection(&url.parse().expect(url));
            let is_so = match (told, expected) {
                (None, None) => true,
                (Some(told), Some(expected)) => told.contains(expected),
                _ => false,
            };
            assert!(is_so, "{url}: {told:?}");
        }
    }
}
