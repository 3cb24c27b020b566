//! URLs of repositories of Git, as far as the catalog can tell.
//!
//! In: text. Out: that it names a place of files, or why not. Never: takes a secret in a URL, which Git would keep for ever; a path
//! of the hub's own machine; a host or a user that a program could take for an option.

use std::net::IpAddr;

/// What repositories of Git are reached by.
const GIT: [&str; 3] = ["https://", "ssh://", "http://"];
const SECRET: &str = "holds a user or a secret, which would stay in Git for ever; put it into the hub's configuration under credentials, and name the repository alone";

/// Checks one.
pub(super) fn check(url: &str) -> Result<(), String> {
    if url.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        let message = "it holds a space, a backslash or a control character; write them as %20 and the like";
        return Err(message.to_owned());
    }
    if let Some((scheme, rest)) = url.split_once("://") {
        let no_scheme =
            || format!("{scheme}:// is nothing that a repository is reached by; write https:// or ssh://");
        GIT.contains(&&*format!("{scheme}://")).then_some(()).ok_or_else(no_scheme)?;
        return authority(rest, scheme == "ssh");
    }
    // SSH's short form.
    let short = url.split_once(':').filter(|(host, path)| !host.contains('/') && !path.is_empty());
    match short {
        // Two colons name a program that helps Git.
        Some((host, path)) if !path.starts_with(['-', ':']) => authority(host, true),
        _ => Err("it is no URL; write https://HOST/PATH, ssh://git@HOST/PATH or git@HOST:PATH".to_owned()),
    }
}

/// What stands behind the scheme.
fn authority(rest: &str, may_name_user: bool) -> Result<(), String> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    match user {
        Some(user) if !may_name_user || user.contains(':') => return Err(format!("it {SECRET}")),
        Some(user) if user.is_empty() || user.starts_with('-') => {
            return Err(format!("{user:?} is no user"));
        }
        _ => {}
    }
    if host.is_empty() || host.starts_with(['-', ':']) {
        return Err(format!("{host:?} is no host"));
    }
    if is_link_local(host) {
        return Err(format!(
            "{host} is a link-local address, where a machine is told what is for nobody else; name a host"
        ));
    }
    Ok(())
}

/// Whether somebody is between whoever asks and the server who could read and change what is said.
pub(super) fn is_in_clear(url: &str) -> bool {
    let scheme = "http://";
    let Some(rest) = url
        .get(..scheme.len())
        .filter(|start| start.eq_ignore_ascii_case(scheme))
        .map(|_| &url[scheme.len()..])
    else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let is_loopback = match address(host) {
        Some(address) => address.is_loopback(),
        None => {
            host.split(':').next().is_some_and(|name| name == "localhost" || name.ends_with(".localhost"))
        }
    };
    !is_loopback
}

/// The address that a host is, if it is written as one.
fn address(host: &str) -> Option<IpAddr> {
    let address = host.strip_prefix('[').and_then(|rest| Some(rest.split_once(']')?.0));
    address.unwrap_or_else(|| host.split(':').next().unwrap_or(host)).parse().ok()
}

/// Where clouds tell a machine who it is: no repository is there, and what it says is for nobody else.
fn is_link_local(host: &str) -> bool {
    match address(host) {
        Some(IpAddr::V4(address)) => address.is_link_local(),
        Some(IpAddr::V6(address)) => {
            let mapped = address.to_ipv4_mapped().is_some_and(|address| address.is_link_local());
            address.is_unicast_link_local() || mapped
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_machine_unencrypted_is_in_clear() {
        for (url, expected) in [
            ("http://git.example.com/shop", true),
            ("HTTP://10.0.0.1:3000/shop", true),
            ("http://localhost.example.com/", true),
            ("http://[2001:db8::1]/x", true),
            ("https://git.example.com/shop", false),
            ("ssh://git@git.example.com/shop", false),
            ("git@http:shop", false),
            ("http://localhost:8080/shop", false),
            ("http://git.localhost/shop", false),
            ("http://127.0.0.1:3000/shop", false),
            ("http://[::1]:80/shop", false),
            ("http", false),
        ] {
            assert_eq!(is_in_clear(url), expected, "{url}");
        }
    }

    #[test]
    fn a_url_names_a_place_and_no_secret() {
        // (URL, whether it is one)
        let rows = [
            ("https://git.example.com/shop/deploy", true),
            ("http://git.example.com:8080/shop/deploy.git", true),
            ("ssh://git@git.example.com:2222/shop/deploy", true),
            ("git@git.example.com:shop/deploy.git", true),
            ("git.example.com:shop/deploy.git", true),
            ("oci://ghcr.io/acme/charts", false),
            ("https://me@git.example.com/shop", false),
            ("https://me:secret@git.example.com/shop", false),
            ("ssh://git:secret@git.example.com/shop", false),
            ("ssh://-oProxyCommand=x/shop", false),
            ("ssh://-oProxyCommand=x@host/shop", false),
            ("-oProxyCommand=x:shop", false),
            ("git@host:-x", false),
            ("file:///srv/git", false),
            ("ext::sh -c x", false),
            ("ext::x", false),
            ("/srv/git", false),
            ("../deploy", false),
            ("https://", false),
            ("http://169.254.169.254/latest/meta-data", false),
            ("http://[fe80::1]:80/x", false),
            ("http://[::ffff:169.254.169.254]/x", false),
            ("https://[2001:db8::1]/x", true),
            ("http://10.0.0.1:3000/x", true),
            ("https:///shop", false),
            ("https://a b/shop", false),
            ("", false),
        ];
        for (url, is_one) in rows {
            assert_eq!(check(url).is_ok(), is_one, "{url}: {:?}", check(url));
        }
    }
}
