//! `hub secret`: whom secrets are encrypted to.
//!
//! In: [`RecipientRow`]s. Out: a table, or what belongs into `.sops.yaml`.
//! Never: sees a secret key; leaves a cluster without recipient unmentioned.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use nave_proto::v1;

use super::Outcome;
use super::client::{Hub, document, request};
use super::output::{Format, Output, Style, View, print};
use super::table::Table;
use crate::operator::views::RecipientRow;

/// Its arguments.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    /// Print the clusters' age recipients; with -o yaml as a rule for .sops.yaml
    #[command(after_help = "Example: hub secret recipients -l env=prod -o yaml >> .sops.yaml")]
    Recipients {
        /// Only clusters with these labels, as kubectl selects
        #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
        selector: String,
        /// Only this cluster
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        cluster: String,
        #[command(flatten)]
        format: Format,
    },
}

/// Does it.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let Order::Recipients { selector, cluster, format } = arguments.order;
    let filter = Some(v1::Filter { selector, cluster, ..v1::Filter::default() });
    let answer = document(client.secret_recipients(request(v1::SecretRecipientsRequest { filter })).await)?;
    let rows: Vec<RecipientRow> = answer.view()?;
    match format.output {
        Output::Yaml => print(&rule(&rows))?,
        output => answer.print::<Vec<RecipientRow>>(output)?,
    }
    let without: Vec<&str> = without(&rows).collect();
    if !without.is_empty() {
        eprintln!(
            "hint: no recipient is known yet of {}; their spokes have not reported one",
            without.join(", ")
        );
    }
    Ok(Outcome::Done)
}

fn without(rows: &[RecipientRow]) -> impl Iterator<Item = &str> {
    rows.iter().filter(|row| row.recipient.is_none()).map(|row| row.cluster.as_str())
}

/// A rule of `.sops.yaml` that encrypts to all of them.
fn rule(rows: &[RecipientRow]) -> String {
    let mut text =
        "# Put this into .sops.yaml at the root of the repository, and correct path_regex.\n".to_owned();
    for row in rows {
        let recipient =
            row.recipient.as_deref().unwrap_or("no recipient yet: secrets cannot be opened there");
        let _ = writeln!(text, "# {}: {recipient}", row.cluster);
    }
    let known: Vec<&str> = rows.iter().filter_map(|row| row.recipient.as_deref()).collect();
    text.push_str("creation_rules:\n  - path_regex: manifests/.*secret.*\\.ya?ml$\n");
    // What a cluster needs to know which object it is stays in clear.
    text.push_str("    encrypted_regex: ^(data|stringData)$\n");
    let _ = writeln!(text, "    age: {:?}", known.join(","));
    text
}

impl View for Vec<RecipientRow> {
    fn text(&self, _: Style) -> String {
        let mut table = Table::new(["CLUSTER", "RECIPIENT"]);
        for row in self {
            table.row([row.cluster.as_str().into(), row.recipient.as_deref().unwrap_or("unknown").into()]);
        }
        if table.is_empty() { "No cluster is selected.\n".to_owned() } else { table.to_string() }
    }

    fn names(&self) -> Vec<String> {
        self.iter().filter_map(|row| row.recipient.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_encrypts_to_every_cluster_and_names_those_without_a_recipient() {
        let row = |name: &str, recipient: Option<&str>| RecipientRow {
            cluster: name.parse().expect("a name"),
            recipient: recipient.map(str::to_owned),
        };
        let rows = [row("a", Some("age1a")), row("b", Some("age1b")), row("c", None)];
        assert_eq!(
            rule(&rows),
            "# Put this into .sops.yaml at the root of the repository, and correct path_regex.\n\
             # a: age1a\n# b: age1b\n# c: no recipient yet: secrets cannot be opened there\n\
             creation_rules:\n  - path_regex: manifests/.*secret.*\\.ya?ml$\n    \
             encrypted_regex: ^(data|stringData)$\n    age: \"age1a,age1b\"\n"
        );
        assert_eq!(without(&rows).collect::<Vec<_>>(), ["c"]);
    }
}
