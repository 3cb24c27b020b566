//! `credentials`: how repositories, and charts of registries, below a URL are reached.
//!
//! In: an entry as it is written. Out: an [`Access`], checked. Never: reads the files that it names.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Wrong, named, url, wrong};
use crate::git::{Access, App, Login};

/// Whose API it is where none is named.
const GITHUB: &str = "https://api.github.com";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Credential {
    pub name: Spanned<String>,
    url: Spanned<String>,
    basic: Option<Basic>,
    github_app: Option<GitHubApp>,
    ssh: Option<Ssh>,
    ca_file: Option<PathBuf>,
    proxy: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Basic {
    username: Option<String>,
    password_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GitHubApp {
    app_id: Spanned<String>,
    installation_id: Spanned<String>,
    private_key_file: PathBuf,
    api_url: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Ssh {
    private_key_file: Option<PathBuf>,
    known_hosts_file: PathBuf,
}

impl Credential {
    pub fn checked(self, directory: &Path) -> Result<Access, Wrong> {
        let Self { name, url: at, basic, github_app, ssh, ca_file, proxy } = self;
        named(&name, "credentials")?;
        let is_ssh = at.value.starts_with("ssh://");
        let is_oci = at.value.starts_with("oci://");
        let login = match (basic, github_app, ssh) {
            (None, None, None) if !is_ssh => Login::None,
            (Some(Basic { username, password_file }), None, None) if !is_ssh => Login::Basic {
                username: username.unwrap_or_else(|| "git".to_owned()),
                password_file: directory.join(password_file),
            },
            (None, Some(app), None) if !is_ssh && !is_oci => Login::GitHubApp(app.checked(directory)?),
            (None, None, Some(Ssh { private_key_file, known_hosts_file })) if is_ssh => Login::Ssh {
                key_file: private_key_file.map(|file| directory.join(file)),
                known_hosts_file: directory.join(known_hosts_file),
            },
            _ if is_ssh => {
                return wrong(&at, "what is reached by ssh:// needs `ssh`, and nothing else");
            }
            _ if is_oci => return wrong(&at, "what is reached by oci:// needs at most `basic`"),
            _ => {
                let message = "what is reached by https:// needs at most one of `basic` and `githubApp`";
                return wrong(&at, message);
            }
        };
        let (proxied, secured) =
            (proxy.is_some(), matches!(login, Login::Basic { .. } | Login::GitHubApp(_)));
        if is_ssh {
            let written = at.value.replacen("ssh://", "https://", 1).replace("git@", "");
            reqwest::Url::parse(&written).map_or_else(
                |_| wrong(&at, format!("{:?} is no URL; write ssh://git@HOST/PATH", at.value)),
                |_| Ok(()),
            )?;
            if proxied || ca_file.is_some() {
                return wrong(&at, "`proxy` and `caFile` are for https:// alone");
            }
        } else if is_oci {
            let written = at.value.replacen("oci://", "https://", 1);
            let parsed = reqwest::Url::parse(&written).ok();
            if !parsed.is_some_and(|url| url.username().is_empty() && url.password().is_none()) {
                return wrong(&at, "it is no place in a registry; write oci://HOST/PATH");
            }
        } else {
            url(&at)?;
            if secured && !at.value.starts_with("https://") {
                return wrong(&at, "secrets are never sent in clear text; write https://");
            }
        }
        let proxy = proxy.as_ref().map(url).transpose()?;
        let ca_file = ca_file.map(|file| directory.join(file));
        Ok(Access { name: name.value, url: at.value, login, ca_file, proxy })
    }
}

impl GitHubApp {
    fn checked(self, directory: &Path) -> Result<App, Wrong> {
        for id in [&self.app_id, &self.installation_id] {
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '.';
            if id.value.is_empty() || !id.value.chars().all(legal) {
                return wrong(id, format!("{:?} is no id; the App's page shows it", id.value));
            }
        }
        let api = self.api_url.as_ref().map(url).transpose()?.unwrap_or_else(|| GITHUB.to_owned());
        if let Some(at) = self.api_url.as_ref().filter(|at| !at.value.starts_with("https://")) {
            return wrong(at, "secrets are never sent in clear text; write https://");
        }
        Ok(App {
            id: self.app_id.value,
            installation: self.installation_id.value,
            key_file: directory.join(self.private_key_file),
            api,
        })
    }
}
