//! Asking: one question to many clusters, and what comes of it.
//!
//! In: which clusters, a question. Out: every cluster's answer, or why it has none; those are named on stderr.
//! Never: takes a cluster that did not answer for one that has nothing to say.
//!
//! The JSON of all these commands is `{"clusters": [{"cluster", "app"?, "answer"?, "truncated"?, "problem"?}]}`; the shape
//! of `answer` is the question's (`nave_spoke::target::ask::answers`).

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use nave_placement::AppKey;
use nave_proto::limits::REQUEST_TIMEOUT;
use nave_proto::v1::{self, ask_answer, question::Question};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tonic::Request;

use super::arguments::{interval, millis};
use super::client::{Client, refused};
use super::table::one_line;

/// Names of clusters in one line on stderr.
const NAMED: usize = 20;

/// Which clusters are asked, and how long they have.
#[derive(Args, Clone, Debug)]
pub struct Clusters {
    /// Only this cluster
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Only clusters with these labels, as kubectl selects: `env=prod,tier!=edge`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Clusters that have not answered by then are named, not waited for
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = interval)]
    pub timeout: Duration,
}

/// What all clusters said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fleetwide<A> {
    /// By name.
    pub clusters: Vec<OfCluster<A>>,
}

/// What one cluster said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfCluster<A> {
    /// Which one.
    pub cluster: String,
    /// The app that was asked about, where the question is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppKey>,
    /// What it said.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub answer: Option<A>,
    /// It has more to say than fits an answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Why it said nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

fn none<A>() -> Option<A> {
    None
}

impl<A> Fleetwide<A> {
    /// The answers, with the names of their clusters.
    pub fn answers(&self) -> impl Iterator<Item = (&str, &A)> {
        self.clusters.iter().filter_map(|of| Some((of.cluster.as_str(), of.answer.as_ref()?)))
    }

    /// Whether some cluster did not answer.
    pub fn has_problems(&self) -> bool {
        self.clusters.iter().any(|of| of.problem.is_some())
    }

    /// Whether no cluster answered, though some were asked.
    pub fn is_silent(&self) -> bool {
        !self.clusters.is_empty() && self.clusters.iter().all(|of| of.answer.is_none())
    }

    /// Names on stderr who did not answer, and who has more to say; `hint` tells how to ask for less.
    pub fn tell_problems(&self, hint: &str) {
        for line in self.problems(hint) {
            eprintln!("{line}");
        }
    }

    fn problems(&self, hint: &str) -> Vec<String> {
        let mut by_problem: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for of in &self.clusters {
            let app = of.app.as_ref().map(|app| format!(" (app {app})")).unwrap_or_default();
            let name = format!("{}{app}", of.cluster);
            if let Some(problem) = &of.problem {
                by_problem.entry(one_line(problem)).or_default().push(name);
            } else if of.truncated {
                by_problem
                    .entry(format!("there is more than one answer holds; {hint}"))
                    .or_default()
                    .push(name);
            }
        }
        if self.clusters.is_empty() {
            return vec!["no cluster was asked: none matches".to_owned()];
        }
        by_problem.into_iter().map(|(problem, names)| format!("{}: {problem}", listed(&names))).collect()
    }
}

fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut text = names[..names.len() - more].join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// Asks; with an app, the clusters that are assigned it.
///
/// # Errors
/// When the hub refuses the question, or the connection breaks before all have answered.
pub async fn ask<A: DeserializeOwned>(
    client: &mut Client,
    clusters: &Clusters,
    app: Option<&AppKey>,
    question: Question,
) -> anyhow::Result<Fleetwide<A>> {
    let filter = v1::Filter {
        app: app.map(ToString::to_string).unwrap_or_default(),
        cluster: clusters.cluster.clone().unwrap_or_default(),
        selector: clusters.selector.clone().unwrap_or_default(),
        commit: String::new(),
    };
    let question = v1::Question { question: Some(question), ..v1::Question::default() };
    let timeout_ms = millis(clusters.timeout);
    let mut request =
        Request::new(v1::AskRequest { filter: Some(filter), question: Some(question), timeout_ms });
    // The hub ends in time, unless it is not well.
    request.set_timeout(clusters.timeout.saturating_add(REQUEST_TIMEOUT));
    let mut answers = client.ask(request).await.map_err(|status| refused(&status))?.into_inner();
    let mut all = Fleetwide { clusters: Vec::new() };
    while let Some(answer) = answers.message().await.map_err(|status| refused(&status))? {
        all.clusters.push(read(answer, app));
    }
    all.clusters.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    Ok(all)
}

fn read<A: DeserializeOwned>(answer: v1::AskAnswer, app: Option<&AppKey>) -> OfCluster<A> {
    let v1::AskAnswer { cluster, answer, truncated } = answer;
    let of = |answer, problem| OfCluster { cluster, app: app.cloned(), answer, truncated, problem };
    match answer {
        Some(ask_answer::Answer::Json(json)) => match serde_json::from_slice(&json) {
            Ok(answer) => of(Some(answer), None),
            // A newer spoke than this program.
            Err(error) => of(None, Some(format!("its answer has another shape: {error}"))),
        },
        Some(ask_answer::Answer::Problem(problem)) => of(None, Some(problem)),
        None => of(None, Some("it answered nothing".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_that_say_nothing_are_named_by_their_reason() {
        let of = |cluster: &str, problem: Option<&str>, truncated| OfCluster {
            cluster: cluster.to_owned(),
            app: None,
            answer: problem.is_none().then_some(1),
            truncated,
            problem: problem.map(str::to_owned),
        };
        let all = Fleetwide {
            clusters: vec![
                of("a", None, false),
                of("b", Some("offline"), false),
                of("c", Some("slow"), false),
                of("d", Some("offline"), false),
                of("e", None, true),
            ],
        };
        let expected = ["b, d: offline", "c: slow", "e: there is more than one answer holds; ask for less"];
        assert_eq!(all.problems("ask for less"), expected);
        assert!(all.has_problems() && !all.is_silent());
        let names: Vec<String> = (0..25).map(|n| format!("c{n}")).collect();
        assert!(listed(&names).ends_with("c19 and 5 more"));
    }
}
