//! `hub cluster join`: a token, and what starts a spoke with it.
//!
//! In: a name, labels, how the spoke is to be installed. Out: a command, a manifest, or the token for a script.
//! Never: makes a token for something that cannot be installed.

use std::time::Duration;

use clap::{Args, ValueEnum};
use nave_proto::v1;

use super::super::arguments::{interval, label, millis};
use super::super::client::{Client, document, request};
use super::super::output::{Output, print};
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
        if self.valid != DEFAULT_VALID {
            command += &format!(" --valid {}ms", millis(self.valid));
        }
        command + " -o manifest"
    }
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
    let form = match output {
        Form::Manifest => {
            let view: JoinView = answer.view()?;
            eprintln!(
                "Apply this to cluster {} before {}; the token in it works once. It runs image {}.",
                view.cluster,
                view.expires,
                install.image()
            );
            return print(&manifest(&install, policy.as_deref(), &view.token)?);
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
}
