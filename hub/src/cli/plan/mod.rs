//! `hub plan`: what a revision would do, before it is in effect.
//!
//! In: a [`PlanView`] of the hub's. Out: text, or JSON; exit code 0 nothing changes, 3 something changes, 1 it would be held or
//! is wrong.
//! Never: decides; changes anything.

mod text;

use clap::{Args, ValueEnum};
use nave_proto::limits::REQUEST_TIMEOUT;
use nave_proto::v1;
use tonic::{Request, Status, Streaming};

use super::Outcome;
use super::client::{Client, Hub, refused};
use super::output::{Document, is_coloured, print};
use crate::operator::LONGEST;
use crate::planning::view::PlanView;

/// Its arguments.
#[derive(Args)]
#[command(after_help = "\
Exit codes: 0 nothing changes, 1 it would be held or is wrong, 2 usage, 3 something changes.
Example, before a merge: hub plan my-branch")]
pub struct Arguments {
    /// A branch, tag or commit of the hub's repository [default: the newest of the catalog's branch]
    rev: Option<String>,
    /// Compare with this branch, tag or commit [default: the commit in effect]
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// The catalog [default: the root catalog]
    #[arg(long, value_name = "NAME")]
    catalog: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Form,
}

/// The forms of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    #[default]
    Text,
    /// The whole document
    Json,
}

/// Plans.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let json = asked(&mut client, &arguments).await?;
    let document = Document::read(&json)?;
    let view: PlanView = document.view()?;
    match arguments.output {
        Form::Text => print(&text::text(&view, is_coloured()))?,
        Form::Json => print(&document.pretty()?)?,
    }
    Ok(outcome(&view))
}

/// How the command ends.
fn outcome(view: &PlanView) -> Outcome {
    match (view.is_stopped(), view.changes()) {
        (true, _) => Outcome::Failed,
        (false, true) => Outcome::Different,
        (false, false) => Outcome::Done,
    }
}

/// The hub's plan.
async fn asked(client: &mut Client, arguments: &Arguments) -> anyhow::Result<Vec<u8>> {
    let Arguments { rev, base, catalog, .. } = arguments;
    let mut request = Request::new(v1::PlanRequest {
        rev: rev.clone().unwrap_or_default(),
        base: base.clone().unwrap_or_default(),
        catalog: catalog.clone().unwrap_or_default(),
    });
    // The hub gives up before.
    request.set_timeout(LONGEST + REQUEST_TIMEOUT);
    let answer = client.plan(request).await.map_err(|status| refused(&status))?;
    whole(answer.into_inner()).await.map_err(|status| refused(&status))
}

/// The pieces put together.
async fn whole(mut pieces: Streaming<v1::Piece>) -> Result<Vec<u8>, Status> {
    let mut whole = Vec::new();
    while let Some(piece) = pieces.message().await? {
        whole.extend_from_slice(&piece.data);
    }
    Ok(whole)
}
