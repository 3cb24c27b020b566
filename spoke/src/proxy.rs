//! Proxy: the way out of a network that lets only a proxy through.
//!
//! In: `HTTPS_PROXY` (or `HTTP_PROXY`, where only that is set) and `NO_PROXY`, an address. Out: a stream of bytes to the
//! address, by CONNECT where a proxy is meant for it. Never: speaks to the hub through a proxy that the environment
//! exempts; shows the proxy's password; looks inside the stream, which is TLS from end to end.

use std::env;
use std::fmt;
use std::io;
use std::net::IpAddr;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::link::{Connect, Stream};

/// A proxy's answer to CONNECT is a few lines.
const MAX_ANSWER: usize = 8 << 10;

/// Connects as the environment says.
#[derive(Clone, Debug, Default)]
pub struct Outward {
    way: Way,
    exempt: Vec<Exempt>,
}

#[derive(Clone, Debug, Default)]
enum Way {
    #[default]
    Direct,
    Through(Proxy),
    /// The setting cannot be used; each attempt says so.
    Wrong(String),
}

#[derive(Clone)]
struct Proxy {
    /// `HOST:PORT`.
    address: String,
    /// The value of `Proxy-Authorization`.
    credentials: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// One item of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exempt {
    Everything,
    /// The host itself, or any below it.
    Host {
        name: String,
        port: Option<u16>,
    },
    Network {
        address: IpAddr,
        bits: u8,
    },
}

impl Outward {
    /// As this process's environment says.
    pub fn from_environment() -> Self {
        let of = |names: &[&str]| {
            names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
        };
        let proxy = of(&["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"]);
        Self::new(proxy.as_deref(), of(&["NO_PROXY", "no_proxy"]).as_deref())
    }

    /// As these settings say.
    pub fn new(proxy: Option<&str>, exempt: Option<&str>) -> Self {
        let way = match proxy.map(read_proxy) {
            None => Way::Direct,
            Some(Ok(proxy)) => Way::Through(proxy),
            Some(Err(why)) => Way::Wrong(why),
        };
        let exempt =
            exempt.unwrap_or_default().split(',').filter_map(|item| read_exempt(item.trim())).collect();
        Self { way, exempt }
    }

    /// How an address is reached, for people.
    pub fn describe(&self, address: &str) -> String {
        match &self.way {
            Way::Through(proxy) if !self.is_exempt(address) => format!("through the proxy {}", proxy.address),
            Way::Wrong(why) if !self.is_exempt(address) => why.clone(),
            Way::Through(_) | Way::Wrong(_) => "directly; NO_PROXY exempts it".to_owned(),
            Way::Direct => "directly; no proxy is set".to_owned(),
        }
    }

    fn is_exempt(&self, address: &str) -> bool {
        let (host, port) = split(address);
        self.exempt.iter().any(|exempt| exempt.fits(&host, port))
    }
}

#[async_trait]
impl Connect for Outward {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>> {
        let proxy = match &self.way {
            Way::Through(proxy) if !self.is_exempt(address) => Some(proxy),
            Way::Wrong(why) if !self.is_exempt(address) => return Err(io::Error::other(why.clone())),
            _ => None,
        };
        let to = proxy.map_or(address, |proxy| &proxy.address);
        let failed = |error: io::Error| match proxy {
            Some(proxy) => io::Error::new(error.kind(), format!("proxy {}: {error}", proxy.address)),
            None => error,
        };
        let mut stream = TcpStream::connect(to).await.map_err(failed)?;
        stream.set_nodelay(true)?;
        if let Some(proxy) = proxy {
            ask(&mut stream, proxy, address).await.map_err(failed)?;
        }
        Ok(Box::new(stream))
    }
}

/// Asks the proxy for a tunnel. The caller limits the time.
async fn ask(stream: &mut TcpStream, proxy: &Proxy, address: &str) -> io::Result<()> {
    let credentials = proxy.credentials.as_ref().map(|value| format!("Proxy-Authorization: {value}\r\n"));
    let credentials = credentials.unwrap_or_default();
    let request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{credentials}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the answer belongs to the tunnel.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_ANSWER {
            return Err(io::Error::other("its answer to CONNECT does not end"));
        }
        answer.push(stream.read_u8().await?);
    }
    let answer = String::from_utf8_lossy(&answer);
    let line = answer.lines().next().unwrap_or_default();
    let code = line.split(' ').nth(1).unwrap_or_default();
    match code {
        code if code.len() == 3 && code.starts_with('2') => Ok(()),
        "407" => Err(io::Error::other(
            "it wants other credentials (407): write them into HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT",
        )),
        _ => Err(io::Error::other(format!("it does not let {address} through: {line}"))),
    }
}

fn read_proxy(url: &str) -> Result<Proxy, String> {
    let rest = match url.split_once("://") {
        None => url,
        Some(("http", rest)) => rest,
        Some((scheme, _)) => {
            return Err(format!("HTTPS_PROXY: a proxy is reached by http://, not by {scheme}://"));
        }
    };
    let rest = rest.split('/').next().unwrap_or_default();
    let (credentials, host) = match rest.rsplit_once('@') {
        Some((credentials, host)) => (Some(credentials), host),
        None => (None, rest),
    };
    let (name, port) = split(host);
    if name.is_empty() {
        return Err("HTTPS_PROXY names no host; it is written http://HOST:PORT".to_owned());
    }
    let name = if name.contains(':') { format!("[{name}]") } else { name };
    let credentials = credentials.map(|text| format!("Basic {}", STANDARD.encode(unescaped(text))));
    Ok(Proxy { address: format!("{name}:{}", port.unwrap_or(80)), credentials })
}

/// `%41` is `A`: letters that a URL gives another meaning are written so.
pub(crate) fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// Host and port of an address; brackets around an IPv6 host are taken off.
fn split(address: &str) -> (String, Option<u16>) {
    if let Some((host, rest)) = address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host.to_lowercase(), rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host.to_lowercase(), port.parse().ok()),
        _ => (address.to_lowercase(), None),
    }
}

fn read_exempt(item: &str) -> Option<Exempt> {
    if item == "*" {
        return Some(Exempt::Everything);
    }
    if let Some((address, bits)) = item.split_once('/') {
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        return Some(Exempt::Network { address, bits: bits.parse().ok().filter(|bits| *bits <= most)? });
    }
    let (name, port) = split(item);
    let name = name.trim_start_matches('*').trim_start_matches('.').to_owned();
    (!name.is_empty()).then_some(Exempt::Host { name, port })
}

impl Exempt {
    fn fits(&self, host: &str, port: Option<u16>) -> bool {
        match self {
            Self::Everything => true,
            Self::Host { name, port: only } => {
                let below = || host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (only.is_none() || *only == port) && (host == name || below())
            }
            Self::Network { address, bits } => match (address, host.parse::<IpAddr>()) {
                (IpAddr::V4(net), Ok(IpAddr::V4(host))) => {
                    let shift = 32 - u32::from(*bits);
                    net.to_bits().checked_shr(shift) == host.to_bits().checked_shr(shift)
                }
                (IpAddr::V6(net), Ok(IpAddr::V6(host))) => {
                    let shift = 128 - u32::from(*bits);
                    net.to_bits().checked_shr(shift) == host.to_bits().checked_shr(shift)
                }
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_exempts_hosts_domains_ports_and_networks() {
        let rows = [
            ("hub.example.com:443", "", false),
            ("hub.example.com:443", "hub.example.com", true),
            ("hub.example.com:443", "other, .example.com", true),
            ("hub.example.com:443", "*.example.com", true),
            ("badexample.com:443", "example.com", false),
            ("hub.example.com:443", "example.com:443", true),
            ("hub.example.com:7443", "example.com:443", false),
            ("HUB.example.com:443", "hub.EXAMPLE.com", true),
            ("10.1.2.3:443", "10.0.0.0/8", true),
            ("11.1.2.3:443", "10.0.0.0/8", false),
            ("11.1.2.3:443", "0.0.0.0/0", true),
            ("[fd00::1]:443", "fd00::/8", true),
            ("[fe00::1]:443", "fd00::/8", false),
            ("10.1.2.3:443", "10.1.2.3", true),
            ("10.1.2.3:443", "*", true),
            ("10.1.2.3:443", "10.0.0.0/99", false),
        ];
        for (address, exempt, expected) in rows {
            let outward = Outward::new(Some("http://proxy:3128"), Some(exempt));
            assert_eq!(outward.is_exempt(address), expected, "{address} {exempt}");
        }
    }

    #[test]
    fn a_proxy_is_read_with_its_credentials_and_shown_without() {
        let proxy = |url: &str| match Outward::new(Some(url), None).way {
            Way::Through(proxy) => (proxy.address.clone(), proxy.credentials.clone().unwrap_or_default()),
            other => (format!("{other:?}"), String::new()),
        };
        assert_eq!(proxy("http://proxy:3128/"), ("proxy:3128".into(), String::new()));
        assert_eq!(proxy("proxy"), ("proxy:80".into(), String::new()));
        assert_eq!(proxy("http://[fd00::1]:8080").0, "[fd00::1]:8080");
        let basic = format!("Basic {}", STANDARD.encode("ann:p@ss"));
        assert_eq!(proxy("http://ann:p%40ss@proxy:3128"), ("proxy:3128".into(), basic));
        assert!(proxy("https://proxy").0.contains("reached by http://"));
        let shown = format!("{:?}", Outward::new(Some("http://ann:secret@proxy:1"), None));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
