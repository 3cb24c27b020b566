//! `hub plan`: what a revision would do, before it is in effect.
//!
//! In: a [`PlanView`] of the hub's, or a directory and a snapshot. Out: text, JSON or Markdown; exit code 0 nothing changes, 3 something changes, 1 it would be held or
//! is wrong.
//! Never: decides; changes anything.

mod live;
mod markdown;
mod text;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use nave_placement::CatalogName;
use nave_proto::limits::REQUEST_TIMEOUT;
use nave_proto::v1;
use tonic::Request;

use super::Outcome;
use super::client::{Client, Hub, refused, whole};
use super::directory::Checkout;
use super::fetching::Fetching;
use super::output::{Document, is_coloured, print};
use crate::operator::LONGEST;
use crate::planning::snapshot;
use crate::planning::view::PlanView;

/// Arguments of plans that are made here, of a directory.
const OF_A_DIRECTORY: [&str; 4] = ["dir", "snapshot", "message", "fetch"];

/// Its arguments.
#[derive(Args)]
#[command(after_help = "\
Exit codes: 0 nothing changes, 1 it would be held or is wrong, 2 usage, 3 something changes.
Examples, before a merge: hub plan my-branch
  with what clusters say to it: hub plan my-branch --live
  from a checkout, by the hub's state: hub plan --dir .
  with what its apps take from elsewhere: hub plan --dir . --fetch --config hub.yaml
  in a pipeline that cannot reach the hub: hub plan --dir . --snapshot fleet.snapshot -o markdown")]
pub struct Arguments {
    /// A branch, tag or commit of the hub's repository [default: the newest of the catalog's branch]
    #[arg(conflicts_with_all = OF_A_DIRECTORY)]
    rev: Option<String>,
    /// Compare with this branch, tag or commit [default: the commit in effect]
    #[arg(long, value_name = "REV", conflicts_with_all = OF_A_DIRECTORY)]
    base: Option<String>,
    /// Plan what stands in this directory, as if it were a commit: a checkout of the whole repository
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// With --dir: by this file of `hub snapshot`, without asking the hub
    #[arg(long, value_name = "FILE", requires = "dir")]
    snapshot: Option<PathBuf>,
    /// With --dir: the message of the commit that it will be, for its trailers; - is stdin
    #[arg(long, value_name = "FILE", requires = "dir")]
    message: Option<PathBuf>,
    #[command(flatten)]
    fetching: Fetching,
    /// The catalog [default: the root catalog]
    #[arg(long, value_name = "NAME")]
    catalog: Option<String>,
    /// Ask clusters too, up to five of each change, by server-side dry-runs of what they would get; needs the role operator
    #[arg(long, conflicts_with_all = OF_A_DIRECTORY)]
    live: bool,
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
    /// For a comment on a pull request, 60,000 characters at most
    Markdown,
}

/// Plans.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let document = match &arguments.dir {
        Some(dir) => Document::of(&of_directory(dir, &arguments, hub).await?)?,
        None => Document::read(&asked(&mut hub.connect().await?, &arguments).await?)?,
    };
    let view: PlanView = document.view()?;
    match arguments.output {
        Form::Text => print(&text::text(&view, is_coloured()))?,
        Form::Json => print(&document.pretty()?)?,
        Form::Markdown => print(&markdown::markdown(&view))?,
    }
    Ok(outcome(&view))
}

/// The plan of a directory, made here.
async fn of_directory(dir: &Path, arguments: &Arguments, hub: &Hub) -> anyhow::Result<PlanView> {
    let snapshot = match &arguments.snapshot {
        Some(file) => {
            let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            snapshot::read(&bytes).with_context(|| file.display().to_string())?
        }
        None => snapshot::read(&super::snapshot::asked(&mut hub.connect().await?).await?)
            .context("the hub's snapshot")?,
    };
    let places = snapshot.places();
    let name = match &arguments.catalog {
        Some(name) => name.parse()?,
        None => snapshot.header.catalog.clone(),
    };
    let known: Vec<&str> = places.keys().map(CatalogName::as_str).collect();
    let (place, commit) = places
        .get(&name)
        .zip(snapshot.commit_of(&name))
        .with_context(|| format!("there is no catalog {name}; the snapshot has {}", known.join(", ")))?;
    let catalog = dir.join(&place.directory);
    ensure!(
        catalog.is_dir(),
        "{} is not a directory; is {} the whole repository?",
        catalog.display(),
        dir.display()
    );
    let message = arguments.message.as_deref().map(message).transpose()?.unwrap_or_default();
    let (checkout, tree) = Checkout::of(dir.to_owned(), commit)?;
    let elsewhere = arguments.fetching.open()?;
    let ways = (&elsewhere.engines, &*elsewhere.remotes());
    Ok(snapshot::plan(&snapshot, &name, (&checkout, tree), &message, ways).await?)
}

/// The message of a commit, from a file or stdin.
fn message(file: &Path) -> anyhow::Result<String> {
    match file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()).context("cannot read the message from stdin"),
        _ => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display())),
    }
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
    let Arguments { rev, base, catalog, live, .. } = arguments;
    let mut request = Request::new(v1::PlanRequest {
        rev: rev.clone().unwrap_or_default(),
        base: base.clone().unwrap_or_default(),
        catalog: catalog.clone().unwrap_or_default(),
        live: *live,
    });
    // The hub gives up before.
    request.set_timeout(LONGEST + REQUEST_TIMEOUT);
    let answer = client.plan(request).await.map_err(|status| refused(&status))?;
    whole(answer.into_inner()).await.map_err(|status| refused(&status))
}
