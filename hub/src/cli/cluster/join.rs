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

/// As the argument's default says.
const DEFAULT_VALID: Duration = Duration::from_secs(3600);

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

impl Arguments {
    /// The same order, but for a manifest: it makes a token of its own, which knows only what stands in it.
    fn manifest_command(&self) -> String {
        let mut command = format!("hub cluster join {}", self.name);
        for (key, value) in &self.label {
            command += &format!(" --label {}", quoted(&format!("{key}={value}")));
        }
        if !self.set.is_empty() {
            command += &format!(" --set {}", quoted(&self.set));
        }
        command + &for_a_manifest(self.valid)
    }
}

impl Replacing {
    /// The same order, but for a manifest: the token that it makes takes the place of the one that this makes.
    fn manifest_command(&self) -> String {
        let mut command = format!("hub cluster replace {}", self.name);
        if !self.reason.is_empty() {
            command += &format!(" --reason {}", quoted(&self.reason));
        }
        command + &for_a_manifest(self.valid)
    }
}

fn for_a_manifest(valid: Duration) -> String {
    let valid = if valid == DEFAULT_VALID { String::new() } else { format!(" --valid {}ms", millis(valid)) };
    valid + " -o manifest"
}

/// One word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Makes the token.
pub(super) async fn run(client: &mut Client, arguments: Arguments) -> anyhow::Result<()> {
    let manifest_command = arguments.manifest_command();
    let Arguments { name, label, set, valid, output, install } = arguments;
    install.check(output == Form::Manifest)?;
    let policy = install.policy()?;
    let labels = label.into_iter().collect();
    let asked = v1::ClusterJoinRequest { cluster: name, labels, set, valid_ms: millis(valid) };
    let answer = document(client.cluster_join(request(asked)).await)?;
    show(&answer, output, &install, policy.as_deref(), &manifest_command)
}

/// Makes the token for the cluster that replaces one.
pub(super) async fn replace(client: &mut Client, arguments: Replacing) -> anyhow::Result<()> {
    let manifest_command = arguments.manifest_command();
    let Replacing { name, valid, reason, output, install } = arguments;
    install.check(output == Form::Manifest)?;
    let policy = install.policy()?;
    let asked = v1::ClusterReplaceRequest { cluster: name, valid_ms: millis(valid), reason };
    let answer = document(client.cluster_replace(request(asked)).await)?;
    show(&answer, output, &install, policy.as_deref(), &manifest_command)
}

/// Prints the token in its form; for people, with the command that makes a manifest.
fn show(
    answer: &Document,
    output: Form,
    install: &Install,
    policy: Option<&str>,
    manifest_command: &str,
) -> anyhow::Result<()> {
    if let Some(warning) = answer.view::<JoinView>()?.warning {
        eprintln!("warning: {warning}");
    }
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
            eprintln!("or, on Kubernetes, install the spoke there: {manifest_command} | kubectl apply -f -");
            return Ok(());
        }
        Form::Json => Output::Json,
        Form::Yaml => Output::Yaml,
        Form::Name => Output::Name,
    };
    answer.print::<JoinView>(form)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        join: Arguments,
    }

    #[test]
    fn the_hint_repeats_what_was_said_of_the_cluster() {
        let rows = [
            ("join fra-1", "hub cluster join fra-1 -o manifest"),
            ("join fra-1 --valid 60m", "hub cluster join fra-1 -o manifest"),
            (
                "join fra-1 --label env=prod --label region=eu --set prod --valid 2m",
                "hub cluster join fra-1 --label env=prod --label region=eu --set prod --valid 120000ms -o manifest",
            ),
            ("join fra-1 --label a=$b'c", r"hub cluster join fra-1 --label 'a=$b'\''c' -o manifest"),
        ];
        for (typed, hint) in rows {
            let command = Command::parse_from(typed.split(' '));
            assert_eq!(command.join.manifest_command(), hint);
            let words = hint.split(' ').skip(2).map(|word| word.replace(r"'\''", "\u{1}").replace('\'', ""));
            let again = Command::parse_from(words.map(|word| word.replace('\u{1}', "'")));
            assert_eq!(again.join.label, command.join.label);
            assert_eq!((again.join.set, again.join.valid), (command.join.set, command.join.valid));
        }
    }

    #[test]
    fn the_hint_for_a_replacement_replaces() {
        #[derive(Parser)]
        struct Command {
            #[command(flatten)]
            replace: Replacing,
        }
        let rows: [(&[&str], &str); 2] = [
            (&["replace", "fra-1"], "hub cluster replace fra-1 -o manifest"),
            (
                &["replace", "fra-1", "--reason", "new disks", "--valid", "2m"],
                "hub cluster replace fra-1 --reason 'new disks' --valid 120000ms -o manifest",
            ),
        ];
        for (typed, hint) in rows {
            assert_eq!(Command::parse_from(typed).replace.manifest_command(), hint);
        }
    }
}
