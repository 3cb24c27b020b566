//! `hub hold`: changes that wait for approval.
//!
//! In: [`HoldView`]s. Out: what would go, and how to let it go.
//! Never: approves what was not named.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use nave_placement::guard::HoldCause;
use nave_proto::v1;

use super::Outcome;
use super::client::{Hub, document, request};
use super::output::{Format, Output, Style, View, time};
use super::table::Table;
use crate::operator::views::{DoneView, HoldView};

/// Its arguments.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    /// List holds, oldest first
    #[command(after_help = "Example: hub hold list")]
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Show a hold and everything that waits for it
    #[command(after_help = "Example: hub hold show h-1f2e3d4c")]
    Show {
        /// The hold
        id: String,
        #[command(flatten)]
        format: Format,
    },
    /// Let go what holds stop
    #[command(after_help = "Example: hub hold approve h-1f2e3d4c --reason 'shop is retired, ticket 812'")]
    Approve {
        /// The holds
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Why, for the audit log
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Say that what holds stop shall stay; it may still be approved later
    #[command(after_help = "Example: hub hold reject h-1f2e3d4c --reason 'shop is still sold'")]
    Reject {
        /// The holds
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Why, for the audit log and for whoever sees it
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
}

/// Does it.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    match arguments.order {
        Order::List { format } => {
            let answer = document(client.hold_list(request(v1::HoldListRequest {})).await)?;
            answer.print::<Vec<HoldView>>(format.output)?;
        }
        Order::Show { id, format } => {
            let answer = document(client.hold_show(request(v1::HoldRequest { id })).await)?;
            answer.print::<HoldView>(format.output)?;
        }
        Order::Reject { ids, reason } => {
            for id in ids {
                let asked = v1::HoldRejectRequest { id, reason: reason.clone() };
                document(client.hold_reject(request(asked)).await)?.print::<DoneView>(Output::Table)?;
            }
        }
        Order::Approve { ids, reason } => {
            for id in ids {
                let asked = v1::HoldApproveRequest { id, reason: reason.clone() };
                document(client.hold_approve(request(asked)).await)?.print::<DoneView>(Output::Table)?;
            }
        }
    }
    Ok(Outcome::Done)
}

impl View for Vec<HoldView> {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(["HOLD", "SINCE", "COMMIT", "WHAT"]);
        for hold in self {
            let record = &hold.record;
            table.row([
                record.hold.id.clone().into(),
                time(record.since_ms).into(),
                record.commit.short().into(),
                style.message(&hold.message).into(),
            ]);
        }
        if table.is_empty() { "Nothing is held.\n".to_owned() } else { table.to_string() }
    }

    fn names(&self) -> Vec<String> {
        self.iter().map(|hold| hold.record.hold.id.clone()).collect()
    }
}

impl View for HoldView {
    fn text(&self, _: Style) -> String {
        let record = &self.record;
        let mut text = format!("Hold {}: {}\n", record.hold.id, self.message);
        let _ = writeln!(
            text,
            "Since {} at commit {} of catalog {}",
            time(record.since_ms),
            record.commit,
            record.catalog
        );
        if let Some(count) = self.would_leave {
            let entries = if count == 1 { "entry" } else { "entries" };
            let _ = writeln!(
                text,
                "\nOnce it is taken, {count} {entries} would leave: all that the catalog has. What of these breaks a limit, or is \
                 protected, is held again."
            );
        }
        let mut table = Table::new(["APP", "CLUSTER"]);
        for (app, cluster) in &record.hold.entries {
            table.row([app.to_string().into(), cluster.as_str().into()]);
        }
        if !table.is_empty() {
            let heading = match record.hold.cause {
                HoldCause::Leftovers { .. } => "Where",
                _ => "Would go",
            };
            let _ = write!(text, "\n{heading}:\n{table}");
        }
        let mut table = Table::new(["OBJECT"]);
        for object in &self.objects {
            table.row([object.to_string().into()]);
        }
        if !table.is_empty() {
            let more = record.hold.losing.saturating_sub(self.objects.len());
            let _ = write!(text, "\nObjects:\n{table}");
            if more > 0 {
                let _ = writeln!(text, "and {more} more");
            }
        }
        let _ = writeln!(
            text,
            "\nApprove: hub hold approve {} --reason WHY. Otherwise everything stays; taking the change back ends the hold.",
            record.hold.id
        );
        text
    }

    fn names(&self) -> Vec<String> {
        vec![self.record.hold.id.clone()]
    }
}
