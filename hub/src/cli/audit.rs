//! `hub audit`.

use anyhow::bail;
use clap::{Args, Subcommand};
use nave_proto::v1;

use super::Exit;
use super::client::{Client, view};
use super::output::{Format, moment, show, table};
use crate::operator::views::AuditView;
use crate::state::records::AuditRecord;
use crate::state::verify_chain;

/// `hub audit`.
#[derive(Args)]
pub struct Audit {
    /// The newest so many lines
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Check that no line is missing, changed or out of order
    Verify,
}

impl Audit {
    pub(super) async fn run(self, client: &mut Client) -> anyhow::Result<Exit> {
        if let Some(Command::Verify) = self.command {
            return verify(client).await;
        }
        let last = page(client, u64::MAX).await?.last;
        let lines = all(client, last.saturating_sub(self.limit)).await?;
        show(
            self.output,
            &lines,
            |_| list(&lines),
            || lines.iter().map(|l| l.sequence.to_string()).collect(),
        )?;
        Ok(Exit::Done)
    }
}

async fn page(client: &mut Client, after: u64) -> anyhow::Result<AuditView> {
    view(client.audit_list(v1::AuditListRequest { after, limit: 0 }).await)
}

/// All lines after a sequence.
async fn all(client: &mut Client, mut after: u64) -> anyhow::Result<Vec<AuditRecord>> {
    let mut lines = Vec::new();
    loop {
        let view = page(client, after).await?;
        let Some(newest) = view.lines.last().map(|line| line.sequence) else { return Ok(lines) };
        lines.extend(view.lines);
        if newest >= view.last {
            return Ok(lines);
        }
        after = newest;
    }
}

async fn verify(client: &mut Client) -> anyhow::Result<Exit> {
    let lines = all(client, 0).await?;
    let last = page(client, u64::MAX).await?.last;
    match verify_chain(&lines) {
        // Lines may have been added since they were read; none may be missing at the end.
        Ok(tail)
            if tail.sequence == lines.len() as u64
                && last >= tail.sequence
                && !(lines.is_empty() && last > 0) =>
        {
            println!("{} lines, whole and in order; the last has hash {}", tail.sequence, tail.hash);
            Ok(Exit::Done)
        }
        Ok(tail) => bail!("the log ends after line {}, and {last} were written", tail.sequence),
        Err(sequence) => bail!("line {sequence} is missing, changed or out of order"),
    }
}

fn list(lines: &[AuditRecord]) -> String {
    let cells = |line: &AuditRecord| {
        let details = line.details.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ");
        let why = [line.why.as_str(), details.as_str()]
            .iter()
            .filter(|s| !s.is_empty())
            .copied()
            .collect::<Vec<_>>();
        vec![
            line.sequence.to_string(),
            moment(line.at_ms),
            line.who.clone(),
            line.what.clone(),
            line.subject.clone(),
            why.join(" "),
        ]
    };
    table(&["LINE", "WHEN", "WHO", "WHAT", "SUBJECT", "WHY"], &lines.iter().map(cells).collect::<Vec<_>>())
}
