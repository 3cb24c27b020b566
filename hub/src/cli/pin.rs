//! `hub rollback` and `hub pin`: an app stays at an earlier version until somebody lets it go on.

use clap::{Args, Subcommand};
use nave_proto::v1;

use super::Outcome;
use super::client::{Hub, document, request};
use super::output::{Format, Output, Style, View, time};
use super::table::Table;
use crate::operator::views::{DoneView, PinView};

/// Arguments of `hub rollback`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  hub rollback web --reason 'incident 812'\n  hub rollback web --to 1f2e3d4c -l env=prod --reason 'incident 812'"
)]
pub struct Rollback {
    /// The app
    app: String,
    /// The commit whose version it gets; absent: the version before the one that it is at, or on its way to
    #[arg(long, value_name = "COMMIT", default_value = "", hide_default_value = true)]
    to: String,
    /// Only on clusters with these labels, as kubectl selects: `env=prod,tier!=edge`
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    selector: String,
    /// Why, for the audit log and for whoever sees it
    #[arg(long)]
    reason: String,
}

/// Arguments of `hub pin`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    /// List pins
    #[command(after_help = "Example: hub pin list")]
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Let an app go on to the version that Git says
    #[command(after_help = "Example: hub pin remove web --reason 'mended in 1f2e3d4c'")]
    Remove {
        /// The pin, or its app
        #[arg(value_name = "PIN")]
        pin: String,
        /// Why, for the audit log
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
}

/// Takes an app back.
pub async fn rollback(
    Rollback { app, to, selector, reason }: Rollback,
    hub: &Hub,
) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let asked = v1::RollbackRequest { app, to, selector, reason };
    document(client.rollback(request(asked)).await)?.print::<DoneView>(Output::Table)?;
    Ok(Outcome::Done)
}

/// Lists or removes pins.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    match arguments.order {
        Order::List { format } => {
            let answer = document(client.pin_list(request(v1::PinListRequest {})).await)?;
            answer.print::<Vec<PinView>>(format.output)?;
        }
        Order::Remove { pin, reason } => {
            let asked = v1::PinRemoveRequest { pin, reason };
            document(client.pin_remove(request(asked)).await)?.print::<DoneView>(Output::Table)?;
        }
    }
    Ok(Outcome::Done)
}

impl View for Vec<PinView> {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(["PIN", "APP", "COMMIT", "ON", "CLUSTERS", "BY", "SINCE", "REASON"]);
        for pin in self {
            let record = &pin.record;
            let on =
                if record.selector.0.is_empty() { "all".to_owned() } else { record.selector.to_string() };
            let reason = pin.problem.as_ref().unwrap_or(&record.reason);
            table.row([
                record.id.clone().into(),
                record.app.to_string().into(),
                record.commit.short().into(),
                on.into(),
                pin.clusters.to_string().into(),
                record.by.clone().into(),
                time(record.at_ms).into(),
                style.message(reason).into(),
            ]);
        }
        if table.is_empty() { "Nothing is pinned.\n".to_owned() } else { table.to_string() }
    }

    fn names(&self) -> Vec<String> {
        self.iter().map(|pin| pin.record.id.clone()).collect()
    }
}
