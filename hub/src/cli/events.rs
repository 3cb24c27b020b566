//! `hub events`: what happened to the fleet, and who is told of it.
//!
//! In: [`EventView`]s as they come. Out: a table; JSON lines for programs.
//! Never: goes on in silence when the hub is gone: it connects again and takes up after the last event it has.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use nave_proto::backoff::Backoff;
use nave_proto::limits::REQUEST_TIMEOUT;
use nave_proto::v1;
use tonic::{Request, Streaming};

use super::Outcome;
use super::arguments::{interval, millis};
use super::client::{Client, Hub, document, refused, request};
use super::output::{Document, Format, Output, Style, View, print, time};
use super::table::{Cell, Colour, Table};
use crate::events::Event;
use crate::operator::views::{EventView, SinkView};

/// Widths of WHEN, EVENT and SUBJECT where the rows that come are not known yet.
const WIDTHS: [usize; 3] = [20, 21, 24];
/// A hub that is gone is looked for again after so long, and later up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(500);
/// A restarted hub is found within so long.
const LONGEST: Duration = Duration::from_secs(15);

/// Its arguments.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  hub events --since 1h\n  hub events --watch --app web -o json\n  hub events sinks"
)]
pub struct Arguments {
    /// Go on with what comes
    #[arg(short, long)]
    watch: bool,
    /// Only of this app; a `*` at the end stands for anything
    #[arg(long, value_name = "APP", default_value = "", hide_default_value = true)]
    app: String,
    /// Only what names this cluster; a `*` at the end stands for anything
    #[arg(long, value_name = "CLUSTER", default_value = "", hide_default_value = true)]
    cluster: String,
    /// Only what names clusters with these labels, as kubectl selects: `env=prod,tier!=edge`
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    selector: String,
    /// Only what is not older
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    since: Option<Duration>,
    #[command(flatten)]
    format: Format,
    #[command(subcommand)]
    order: Option<Order>,
}

#[derive(Subcommand)]
enum Order {
    /// Show who is told of events, and how that goes
    #[command(after_help = "Example: hub events sinks")]
    Sinks {
        #[command(flatten)]
        format: Format,
    },
}

/// Shows them.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    if let Some(Order::Sinks { format }) = arguments.order {
        let answer = document(client.event_sinks(request(v1::EventSinksRequest {})).await)?;
        answer.print::<Vec<SinkView>>(format.output)?;
        return Ok(Outcome::Done);
    }
    let since = arguments.since.map(|since| {
        let now = jiff::Timestamp::now().as_millisecond();
        u64::try_from(now).unwrap_or_default().saturating_sub(millis(since))
    });
    let asked = v1::EventsRequest {
        filter: Some(v1::Filter {
            app: arguments.app,
            cluster: arguments.cluster,
            selector: arguments.selector,
            commit: String::new(),
        }),
        since_ms: since.unwrap_or_default(),
        follow: arguments.watch,
        after: 0,
    };
    let output = arguments.format.output;
    if arguments.watch {
        watch(client, hub, asked, output).await
    } else {
        list(&mut client, asked, output).await
    }
}

async fn list(client: &mut Client, asked: v1::EventsRequest, output: Output) -> anyhow::Result<Outcome> {
    let mut events = client.events(request(asked)).await.map_err(|status| refused(&status))?.into_inner();
    let mut views = Vec::new();
    while let Some(event) = events.message().await.map_err(|status| refused(&status))? {
        views.push(
            serde_json::from_slice::<serde_json::Value>(&event.json).context("an event cannot be read")?,
        );
    }
    Document::of(&views)?.print::<Vec<EventView>>(output)?;
    Ok(Outcome::Done)
}

async fn watch(
    mut client: Client,
    hub: &Hub,
    mut asked: v1::EventsRequest,
    output: Output,
) -> anyhow::Result<Outcome> {
    let mut backoff = Backoff::new(FIRST, LONGEST);
    let mut follower = Follower { output, has_headers: false };
    let mut events = open(&mut client, &asked).await?;
    loop {
        match events.message().await {
            Ok(Some(event)) => {
                backoff.reset();
                let event = Document::read(&event.json)?;
                asked.after = follower.show(&event)?.max(asked.after);
                continue;
            }
            // The hub ends, or is gone. What it refuses it refuses when it is asked again.
            Ok(None) => {}
            Err(status) => eprintln!("{:#}; looking for the hub again", refused(&status)),
        }
        loop {
            tokio::time::sleep(backoff.after_failure(fastrand::f64())).await;
            match hub.connect().await {
                Ok(again) => client = again,
                Err(_) => continue,
            }
            events = open(&mut client, &asked).await?;
            break;
        }
    }
}

async fn open(client: &mut Client, asked: &v1::EventsRequest) -> anyhow::Result<Streaming<v1::Document>> {
    // The call is answered at once; what follows may take its time.
    let opened = tokio::time::timeout(REQUEST_TIMEOUT, client.events(Request::new(asked.clone()))).await;
    let opened = opened.context("the hub does not answer")?;
    Ok(opened.map_err(|status| refused(&status))?.into_inner())
}

/// Shows one after another.
struct Follower {
    output: Output,
    has_headers: bool,
}

impl Follower {
    /// Shows it; gives its number.
    fn show(&mut self, event: &Document) -> anyhow::Result<u64> {
        let view: EventView = event.view()?;
        let sequence = view.record.sequence;
        match self.output {
            Output::Json => print(&(event.line()? + "\n"))?,
            Output::Yaml => print(&format!("---\n{}", event.render::<Vec<EventView>>(self.output)?))?,
            Output::Name => print(&format!("{}\n", view.record.id))?,
            Output::Table | Output::Wide => {
                let mut text = String::new();
                if !std::mem::replace(&mut self.has_headers, true) {
                    text += &columns(["WHEN", "EVENT", "SUBJECT"], "WHY");
                }
                let row = [&*time(view.record.at_ms), view.record.event.kind(), &view.subject];
                text += &columns(row, &super::table::one_line(&view.message));
                print(&text)?;
            }
        }
        Ok(sequence)
    }
}

/// A row of a table whose later rows are not known.
fn columns(cells: [&str; 3], last: &str) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        let _ = write!(text, "{:width$}  ", super::table::one_line(cell));
    }
    format!("{}\n", (text + last).trim_end())
}

impl View for Vec<EventView> {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(["WHEN", "EVENT", "SUBJECT", "WHY"]);
        for view in self {
            let kind = Cell::from(view.record.event.kind());
            table.row([
                time(view.record.at_ms).into(),
                kind.paint(style.colour(colour(&view.record.event))),
                view.subject.clone().into(),
                style.message(&view.message).into(),
            ]);
        }
        if table.is_empty() { "Nothing happened.\n".to_owned() } else { table.to_string() }
    }

    fn names(&self) -> Vec<String> {
        self.iter().map(|view| view.record.id.clone()).collect()
    }
}

fn colour(event: &Event) -> Colour {
    match event {
        Event::Converged { .. }
        | Event::HoldEnded(_)
        | Event::DriftEnded { .. }
        | Event::ClusterBack { .. } => Colour::Green,
        Event::Failed { .. }
        | Event::RollingBack(_)
        | Event::RolledBack(_)
        | Event::RolloutHalted(_)
        | Event::Held(_)
        | Event::ClusterOffline { .. }
        | Event::CertificateNearExpiry { .. } => Colour::Red,
        Event::Taken { .. } | Event::AwaitsApproval(_) | Event::Drifted { .. } | Event::Missed { .. } => {
            Colour::Yellow
        }
    }
}

impl View for Vec<SinkView> {
    fn text(&self, style: Style) -> String {
        let mut table =
            Table::new(["SINK", "KIND", "TO", "BEHIND", "SENT", "REFUSED", "MISSED", "LAST", "PROBLEM"]);
        for sink in self {
            let trouble = sink.trouble.as_ref();
            let problem = trouble.map(|trouble| style.message(&trouble.message)).unwrap_or_default();
            table.row([
                sink.name.clone().into(),
                sink.kind.clone().into(),
                sink.to.clone().into(),
                sink.behind.to_string().into(),
                sink.sent.to_string().into(),
                sink.refused.to_string().into(),
                sink.missed.to_string().into(),
                sink.success_ms.map(time).unwrap_or_default().into(),
                Cell::from(problem).paint(style.colour(Colour::Red)),
            ]);
        }
        match table.is_empty() {
            true => "Nobody is told of events; `hub serve --config` names who shall be.\n".to_owned(),
            false => table.to_string(),
        }
    }

    fn names(&self) -> Vec<String> {
        self.iter().map(|sink| sink.name.clone()).collect()
    }
}
