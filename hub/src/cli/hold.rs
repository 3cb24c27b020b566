//! `hub hold`.

use clap::Subcommand;
use nave_proto::v1;

use super::client::{Client, view};
use super::output::{Format, moment, show, table};
use super::{Exit, done};
use crate::operator::views::HoldView;

/// `hub hold`.
#[derive(Subcommand)]
pub enum Hold {
    /// List changes that wait, oldest first
    List {
        /// How to show it
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show what exactly waits
    Show {
        /// Which
        id: String,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Let it go: exactly what `show` shows
    Approve {
        /// Which
        id: String,
        /// For the audit log
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
}

impl Hold {
    pub(super) async fn run(self, client: &mut Client) -> anyhow::Result<Exit> {
        match self {
            Self::List { output } => {
                let holds: Vec<HoldView> = view(client.hold_list(v1::HoldListRequest {}).await)?;
                show(output, &holds, |_| list(&holds), || holds.iter().map(id).collect())?;
                Ok(Exit::Done)
            }
            Self::Show { id: wanted, output } => {
                let hold: HoldView = view(client.hold_show(v1::HoldRequest { id: wanted }).await)?;
                show(output, &hold, |_| one(&hold), || vec![id(&hold)])?;
                Ok(Exit::Done)
            }
            Self::Approve { id, reason } => {
                done(&view(client.hold_approve(v1::HoldApproveRequest { id, reason }).await)?)
            }
        }
    }
}

fn id(hold: &HoldView) -> String {
    hold.record.hold.id.clone()
}

fn list(holds: &[HoldView]) -> String {
    let cells = |h: &HoldView| {
        vec![id(h), moment(h.record.since_ms), h.record.commit.short().to_owned(), h.message.clone()]
    };
    table(&["ID", "SINCE", "COMMIT", "WHAT"], &holds.iter().map(cells).collect::<Vec<_>>())
}

fn one(hold: &HoldView) -> String {
    let record = &hold.record;
    let mut text = format!("{}: {}\n", id(hold), hold.message);
    text += &format!(
        "since {}, catalog {} at commit {}\n",
        moment(record.since_ms),
        record.catalog,
        record.commit
    );
    if !record.hold.entries.is_empty() {
        let rows: Vec<_> =
            record.hold.entries.iter().map(|(app, c)| vec![app.to_string(), c.to_string()]).collect();
        text += &format!("\n{}", table(&["APP", "CLUSTER"], &rows));
    }
    text + &format!("\nhub hold approve {} --reason …\n", id(hold))
}
