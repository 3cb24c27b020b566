//! `hub cluster join` and `replace`: a token, and what starts a spoke with it.
//!
//! In: a name, perhaps labels, how the spoke is to be installed. Out: a command, a manifest, or the token for a script.
//! Never: makes a token for something that cannot be installed.

use std::time::Duration;

use clap::{Args, ValueEnum};
use nave_proto::v1;

use super::super::arguments::{interval, label, millis};
use super::super::client::{Client, document, request};
use super::super::output::{Document, Output, print};
use super::install::Install;
use super::manifest::manifest;
use crate::operator::views::JoinView;

/// Its arguments.
#[derive(Args)]
pub(super) struct Arguments {
    /// The cluster's name
    name: String,
    /// A label; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// The set it belongs to
    #[arg(long, value_name = "SET", default_value = "", hide_default_value = true)]
    set: String,
    /// How long the token is valid
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = interval)]
    valid: Duration,
    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Form,
    #[command(flatten)]
    install: Install,
}

/// Arguments of `replace`.
#[derive(Args)]
pub(super) struct Replacing {
    /// The cluster's name
    name: String,
    /// How long the token is valid
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = interval)]
    valid: Duration,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Form,
    #[command(flatten)]
    install: Install,
}

/// The forms of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The command that starts the spoke
    #[default]
    Table,
    /// The same
    Wide,
    /// Cluster, token, expiry, command
    Json,
    /// The same
    Yaml,
    /// The cluster's name
    Name,
    /// What `kubectl apply -f -` installs, with the token inside
    Manifest,
}

/// Makes the token.
pub(super) async fn run(client: &mut Client, arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { name, label, set, valid, output, install } = arguments;
    install.check(output == Form::Manifest)?;
    let policy = install.policy()?;
    let labels = label.into_iter().collect();
    let asked = v1::ClusterJoinRequest { cluster: name, labels, set, valid_ms: millis(valid) };
    let answer = document(client.cluster_join(request(asked)).await)?;
    show(&answer, output, &install, policy.as_deref())
}

/// Makes the token for the cluster that replaces one.
pub(super) async fn replace(client: &mut Client, arguments: Replacing) -> anyhow::Result<()> {
    let Replacing { name, valid, reason, output, install } = arguments;
    install.check(output == Form::Manifest)?;
    let policy = install.policy()?;
    let asked = v1::ClusterReplaceRequest { cluster: name, valid_ms: millis(valid), reason };
    let answer = document(client.cluster_replace(request(asked)).await)?;
    show(&answer, output, &install, policy.as_deref())
}

/// Prints the token in its form.
fn show(answer: &Document, output: Form, install: &Install, policy: Option<&str>) -> anyhow::Result<()> {
    let form = match output {
        Form::Manifest => {
            let view: JoinView = answer.view()?;
            eprintln!(
                "Apply this to cluster {} before {}; the token in it works once. It runs image {}.",
                view.cluster,
                view.expires,
                install.image()
            );
            return print(&manifest(install, policy, &view.token)?);
        }
        Form::Table | Form::Wide => {
            let view: JoinView = answer.view()?;
            eprintln!(
                "Run this where cluster {} can be reached, before {}; it works once:",
                view.cluster, view.expires
            );
            print(&answer.render::<JoinView>(Output::Table)?)?;
            eprintln!(
                "or, on Kubernetes, install the spoke there: hub cluster join {} -o manifest | kubectl apply -f -",
                view.cluster
            );
            return Ok(());
        }
        Form::Json => Output::Json,
        Form::Yaml => Output::Yaml,
        Form::Name => Output::Name,
    };
    answer.print::<JoinView>(form)
}
