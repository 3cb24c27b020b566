//! HTTP: health and metrics for machines, and webhooks of forges.
//!
//! In: requests, on loopback unless configured otherwise. Out: text.
//! Never: anything that an operator's role would be needed for.

pub mod webhook;

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};

use crate::operator::OperatorService;
use crate::operator::views::SinkView;
use webhook::Webhooks;

/// What answers.
struct Rooms {
    operator: OperatorService,
    webhooks: Webhooks,
}

type Shared = State<Arc<Rooms>>;

/// The routes.
pub fn routes(operator: OperatorService, webhooks: Webhooks) -> axum::Router {
    axum::Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/webhook", post(take))
        .with_state(Arc::new(Rooms { operator, webhooks }))
}

async fn take(State(rooms): Shared, headers: HeaderMap, body: Body) -> (StatusCode, &'static str) {
    let (_, code, said) = rooms.webhooks.take(&headers, body).await;
    (code, said)
}

/// What became of webhooks.
fn webhooks(text: &mut String, webhooks: &Webhooks) {
    let mut counts = webhooks.counts().peekable();
    if counts.peek().is_some() {
        text.push_str("# HELP nave_webhooks Webhooks that came.\n# TYPE nave_webhooks counter\n");
    }
    for (outcome, count) in counts {
        let _ = writeln!(text, "nave_webhooks_total{{outcome=\"{outcome:?}\"}} {count}");
    }
}

/// Ready once the newest commit is decided, so that a rollout of hubs waits for it.
async fn readyz(State(rooms): Shared) -> (StatusCode, &'static str) {
    match rooms.operator.look(|look| look.picture.settled.is_some()) {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "no commit was decided yet"),
    }
}

/// How the receivers of events stand; counters count since the receiver is known.
fn sinks(text: &mut String, sinks: &[SinkView]) {
    type Number = fn(&SinkView) -> u64;
    let numbers: [(&str, &str, &str, Number); 5] = [
        ("sink_events_behind", "gauge", "Events that a sink has not got yet.", |sink| sink.behind),
        ("sink_events_sent_total", "counter", "Events that a sink took.", |sink| sink.sent),
        ("sink_events_refused_total", "counter", "Events that a sink refused for good.", |sink| sink.refused),
        ("sink_events_missed_total", "counter", "Events that were gone before a sink got them.", |sink| {
            sink.missed
        }),
        ("sink_attempts_failing", "gauge", "Failed attempts at the event that a sink is sent.", |sink| {
            sink.trouble.as_ref().map_or(0, |trouble| trouble.attempts)
        }),
    ];
    for (name, kind, help, number) in numbers {
        if sinks.is_empty() {
            return;
        }
        // The family of a counter is named without the end of its samples.
        let family = name.strip_suffix("_total").unwrap_or(name);
        let _ = writeln!(text, "# HELP nave_{family} {help}\n# TYPE nave_{family} {kind}");
        for sink in sinks {
            let _ = writeln!(text, "nave_{name}{{sink=\"{}\"}} {}", sink.name, number(sink));
        }
    }
}

/// The OpenMetrics text format; names end in their unit.
async fn metrics(State(rooms): Shared) -> String {
    let operator = &rooms.operator;
    let status = operator.look(|look| look.status(&crate::operator::Selection::default(), true));
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: usize| {
        let _ = writeln!(text, "# HELP nave_{name} {help}\n# TYPE nave_{name} gauge\nnave_{name} {value}");
    };
    gauge("clusters", "Members of the fleet.", status.clusters);
    gauge("clusters_connected", "Members whose spoke is connected.", status.connected);
    gauge("entries", "Apps on clusters.", status.entries);
    gauge("holds", "Changes that wait for approval.", status.holds.len());
    gauge("catalog_problems", "Problems of the catalog.", status.problems.len());
    gauge(
        "doubt",
        "1 while the hub's store is in doubt and nothing is sent.",
        usize::from(status.doubt.is_some()),
    );
    for (phase, count) in &status.phases {
        let _ = writeln!(text, "nave_entries_by_phase{{phase=\"{phase:?}\"}} {count}");
    }
    sinks(&mut text, &operator.sinks());
    webhooks(&mut text, &rooms.webhooks);
    text.push_str("# EOF\n");
    text
}
