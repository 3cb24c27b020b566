//! Install: how a spoke is to be installed on Kubernetes, and what it may do there.
//!
//! In: arguments. Out: the same, found to be sound. Never: asks the cluster; guesses what a kind's resource is called.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use nave_spoke::policy::Policy;
use nave_spoke::target::kube::DEFAULT_NAMESPACE;

/// What becomes of the plain manifest.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of -o manifest")]
pub(super) struct Install {
    /// The spoke's image [default: nave-spoke, of this program's version]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// The spoke's own namespace, which no app may touch
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// What the spoke may do
    #[arg(long, value_enum, value_name = "RIGHTS", default_value_t)]
    pub rbac: Rights,
    /// The namespaces where it may do anything; they must exist
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub allow_namespaces: Vec<String>,
    /// The only resources there, as `kubectl api-resources -o name` prints them [default: all]
    #[arg(long, value_name = "RESOURCES", value_delimiter = ',')]
    pub allow_kinds: Vec<Resource>,
    /// Service accounts that apps name as their `serviceAccount`; in such a namespace the spoke itself only looks
    #[arg(long, value_name = "NAMESPACE/NAME", value_delimiter = ',')]
    pub impersonate: Vec<Account>,
    /// A local policy, which even the hub cannot override
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The proxy on the way to the hub
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
}

/// What a spoke may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Rights {
    /// Anything
    #[default]
    ClusterAdmin,
    /// Only in namespaces that are named
    Namespaces,
}

/// A resource as RBAC names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    /// In plural.
    pub name: String,
    /// Empty for Kubernetes' core.
    pub group: String,
}

impl std::str::FromStr for Resource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, group) = text.split_once('.').unwrap_or((text, ""));
        let legal = |part: &str| {
            part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        };
        if name.is_empty() || !legal(name) || !legal(group) {
            return Err(
                "write it as `kubectl api-resources -o name` does: configmaps, deployments.apps".to_owned()
            );
        }
        Ok(Self { name: name.to_owned(), group: group.to_owned() })
    }
}

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::str::FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if is_label(namespace) && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("write NAMESPACE/NAME".to_owned()),
        }
    }
}

/// RFC 1123, as a namespace is named.
fn is_label(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(legal)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl Install {
    /// Whether these go together, and can be installed.
    ///
    /// # Errors
    /// When not; says what would be right.
    pub fn check(&self, prints_manifest: bool) -> anyhow::Result<()> {
        let narrow =
            !(self.allow_namespaces.is_empty() && self.allow_kinds.is_empty() && self.impersonate.is_empty());
        let given = narrow
            || self.rbac == Rights::Namespaces
            || self.namespace != DEFAULT_NAMESPACE
            || [self.image.is_some(), self.policy.is_some(), self.proxy.is_some()].contains(&true);
        ensure!(prints_manifest || !given, "the options of a manifest need -o manifest");
        if narrow && self.rbac == Rights::ClusterAdmin {
            bail!("--allow-namespaces, --allow-kinds and --impersonate need --rbac namespaces");
        }
        let namespaces = self.namespaces();
        if self.rbac == Rights::Namespaces && namespaces.is_empty() {
            bail!("--rbac namespaces needs --allow-namespaces NAMES, or --impersonate NAMESPACE/NAME");
        }
        for namespace in namespaces.keys().copied().chain([self.namespace.as_str()]) {
            ensure!(is_label(namespace), "{namespace:?} cannot be the name of a namespace");
        }
        ensure!(
            !namespaces.contains_key(self.namespace.as_str()),
            "{}: no app may touch the spoke's own namespace",
            self.namespace
        );
        Ok(())
    }

    /// The image that runs.
    pub fn image(&self) -> String {
        self.image.clone().unwrap_or_else(|| format!("nave-spoke:{}", env!("CARGO_PKG_VERSION")))
    }

    /// The text of the local policy.
    ///
    /// # Errors
    /// When there is one that a spoke could not read.
    pub fn policy(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.policy else { return Ok(None) };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Policy::read(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        Ok(Some(text))
    }

    /// The namespaces in which the spoke may do something, and the accounts there in whose name.
    pub fn namespaces(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut namespaces: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for namespace in &self.allow_namespaces {
            namespaces.entry(namespace).or_default();
        }
        for account in &self.impersonate {
            namespaces.entry(&account.namespace).or_default().insert(&account.name);
        }
        namespaces
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        install: Install,
    }

    fn said(arguments: &str) -> String {
        let parsed = Cli::try_parse_from(["x"].into_iter().chain(arguments.split_whitespace()));
        match parsed {
            Ok(cli) => {
                cli.install.check(true).map_or_else(|error| error.to_string(), |()| "sound".to_owned())
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_cannot_be_installed_is_said_before_a_token_is_made() {
        let rows = [
            ("", "sound"),
            ("--rbac namespaces --allow-namespaces a,b --allow-kinds configmaps,deployments.apps", "sound"),
            ("--rbac namespaces --impersonate shop/deployer", "sound"),
            ("--rbac namespaces", "needs --allow-namespaces"),
            ("--allow-namespaces a", "need --rbac namespaces"),
            ("--rbac namespaces --allow-namespaces nave-system", "the spoke's own namespace"),
            ("--rbac namespaces --allow-namespaces A", "cannot be the name of a namespace"),
            ("--rbac namespaces --allow-namespaces a --allow-kinds ConfigMap", "kubectl api-resources"),
            ("--rbac namespaces --impersonate deployer", "write NAMESPACE/NAME"),
        ];
        for (arguments, expected) in rows {
            assert!(said(arguments).contains(expected), "{arguments}: {}", said(arguments));
        }
    }
}
