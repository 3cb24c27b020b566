//! `hub accept-restore`: the store is older than what was sent; go on with it all the same.

use clap::Args;
use nave_proto::v1;

use super::Outcome;
use super::client::{Hub, document, request};
use super::output::{Output, Style, View};
use crate::operator::views::DoneView;

/// Its arguments.
#[derive(Args)]
#[command(after_help = "Example: hub accept-restore --reason 'disk lost, restored from last night'")]
pub struct Arguments {
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

/// Accepts it.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let asked = v1::AcceptRestoreRequest { reason: arguments.reason };
    document(client.accept_restore(request(asked)).await)?.print::<DoneView>(Output::Table)?;
    Ok(Outcome::Done)
}

impl View for DoneView {
    fn text(&self, _: Style) -> String {
        format!("{}\n", self.message)
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}
