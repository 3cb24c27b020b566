//! `hub drift`: what is not as wanted on the clusters, field by field, and who owns it.
//!
//! In: perhaps an app. Out: a line for each field; or JSON patches that lead from live to wanted; exit code 3 where
//! something differs. Never: says "nothing differs" of a cluster that did not answer (exit code 1).

use clap::{Args, ValueEnum};
use futures::StreamExt as _;
use futures::stream;
use nave_placement::AppKey;
use nave_proto::v1::{self, question::Question};
use nave_spoke::target::ask::answers::{DiffAnswer, DiffState};
use serde_json::{Value, json};

use super::Outcome;
use super::asking::{Clusters, Fleetwide, OfCluster, ask};
use super::client::{Client, Hub, document, request};
use super::output::{Document, Output, Style, View, print};
use super::table::{Table, one_line};
use crate::operator::views::AppRow;

/// Apps that are asked about at once, each on all of its clusters.
const AT_ONCE: usize = 4;
/// Characters of a value in a table that is not wide.
const VALUE: usize = 40;

/// Its arguments.
#[derive(Args)]
#[command(after_help = "\
Every cluster compares by a server-side dry-run; nothing is written. Values of Secrets are shown as <changed>.
Exit codes: 0 nothing differs, 3 something does, 1 a cluster did not answer and nothing else differs.
JSON: {\"clusters\": [{cluster, app, answer: {objects, equal, differing: [{object, state: Absent|Differs|Unknown,
changes: [{op, path, live, wanted, manager}], problem}]}, truncated, problem}]}
-o patch: [{cluster, app, object, patch: [RFC 6902 operations from live to wanted]}]

Example: hub drift web -l env=prod")]
pub struct Arguments {
    /// Only this app [default: all]
    app: Option<AppKey>,
    #[command(flatten)]
    clusters: Clusters,
    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Form,
}

/// The forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    #[default]
    Table,
    /// For people, with everything
    Wide,
    /// The whole document
    Json,
    /// The whole document
    Yaml,
    /// One name a line
    Name,
    /// JSON patches, from live to wanted
    Patch,
}

/// Asks, and prints.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let Arguments { app, clusters, output } = arguments;
    let apps = match app {
        Some(app) => vec![app],
        None => {
            let answer = document(client.app_list(request(v1::AppListRequest {})).await)?;
            answer.view::<Vec<AppRow>>()?.into_iter().map(|row| row.app).collect()
        }
    };
    let each: Vec<_> = apps.iter().map(|app| of_app(client.clone(), &clusters, app)).collect();
    let mut answers = stream::iter(each).buffered(AT_ONCE);
    let mut all = Fleetwide::default();
    while let Some(answer) = answers.next().await {
        all.clusters.extend(answer?.clusters);
    }
    all.clusters.sort_by(|a, b| (&a.cluster, &a.app).cmp(&(&b.cluster, &b.app)));
    let document = Document::of(&all)?;
    match output {
        Form::Patch => print(&(serde_json::to_string_pretty(&patches(&all))? + "\n"))?,
        Form::Table => document.print::<Fleetwide<DiffAnswer>>(Output::Table)?,
        Form::Wide => document.print::<Fleetwide<DiffAnswer>>(Output::Wide)?,
        Form::Json => document.print::<Fleetwide<DiffAnswer>>(Output::Json)?,
        Form::Yaml => document.print::<Fleetwide<DiffAnswer>>(Output::Yaml)?,
        Form::Name => document.print::<Fleetwide<DiffAnswer>>(Output::Name)?,
    }
    let unknown = tell_unknown(&all);
    all.tell_problems("ask for one app of one cluster");
    Ok(outcome(&all, unknown))
}

async fn of_app(
    mut client: Client,
    clusters: &Clusters,
    app: &AppKey,
) -> anyhow::Result<Fleetwide<DiffAnswer>> {
    let diff = v1::EntryDiff { app: Some(nave_proto::app_to_proto(app)) };
    ask(&mut client, clusters, Some(app), Question::Diff(diff)).await
}

/// Names on stderr the objects that could not be compared.
fn tell_unknown(all: &Fleetwide<DiffAnswer>) -> bool {
    let mut any = false;
    for (cluster, answer) in all.answers() {
        for object in answer.differing.iter().filter(|o| o.state == DiffState::Unknown) {
            any = true;
            eprintln!(
                "{cluster}: {}: {}",
                object.object,
                one_line(object.problem.as_deref().unwrap_or("unknown"))
            );
        }
    }
    any
}

fn outcome(all: &Fleetwide<DiffAnswer>, unknown: bool) -> Outcome {
    let differs = |answer: &DiffAnswer| answer.differing.iter().any(|o| o.state != DiffState::Unknown);
    if all.answers().any(|(_, answer)| differs(answer)) {
        Outcome::Different
    } else if unknown || all.has_problems() || all.clusters.iter().any(|of| of.truncated) {
        Outcome::Failed
    } else {
        Outcome::Done
    }
}

fn patches(all: &Fleetwide<DiffAnswer>) -> Value {
    let of = |of: &OfCluster<DiffAnswer>| {
        let objects = of.answer.iter().flat_map(|answer| &answer.differing);
        let differing = objects.filter(|object| object.state == DiffState::Differs);
        let patch = |object: &nave_spoke::target::ask::answers::ObjectDiff| {
            let operations: Vec<Value> = object.changes.iter().map(|change| change.to_patch()).collect();
            json!({"cluster": of.cluster, "app": of.app, "object": object.object, "patch": operations})
        };
        differing.map(patch).collect::<Vec<_>>()
    };
    all.clusters.iter().flat_map(of).collect()
}

/// A value in one line.
pub fn shown(value: Option<&Value>, style: Style) -> String {
    let text = match value {
        None => "-".to_owned(),
        Some(Value::String(text)) => one_line(text),
        Some(other) => one_line(&other.to_string()),
    };
    if style.is_wide || text.chars().count() <= VALUE {
        return text;
    }
    text.chars().take(VALUE - 1).chain(['…']).collect()
}

impl View for Fleetwide<DiffAnswer> {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(["CLUSTER", "APP", "OBJECT", "FIELD", "LIVE", "WANTED", "MANAGER"]);
        for of in &self.clusters {
            let app = of.app.as_ref().map(ToString::to_string).unwrap_or_default();
            for object in of.answer.iter().flat_map(|answer| &answer.differing) {
                let mut row = |field: &str, live: String, wanted: String, manager: &str| {
                    table.row([
                        of.cluster.as_str().into(),
                        app.as_str().into(),
                        object.object.to_string().into(),
                        field.into(),
                        live.into(),
                        wanted.into(),
                        manager.into(),
                    ]);
                };
                match object.state {
                    DiffState::Absent => row("", "(absent)".to_owned(), "(created)".to_owned(), ""),
                    DiffState::Unknown => row("", "(unknown)".to_owned(), String::new(), ""),
                    DiffState::Differs => {
                        for change in &object.changes {
                            let (live, wanted) = (change.live.as_ref(), change.wanted.as_ref());
                            let manager = change.manager.as_deref().unwrap_or_default();
                            row(&change.path, shown(live, style), shown(wanted, style), manager);
                        }
                    }
                }
            }
        }
        if !table.is_empty() {
            return table.to_string();
        }
        let objects: usize = self.answers().map(|(_, answer)| answer.objects).sum();
        if self.answers().next().is_some() {
            format!("Nothing differs: {objects} objects are as wanted.\n")
        } else {
            String::new()
        }
    }

    fn names(&self) -> Vec<String> {
        let of = |of: &OfCluster<DiffAnswer>| {
            let objects = of.answer.iter().flat_map(|answer| &answer.differing);
            objects.map(|object| format!("{} {}", of.cluster, object.object)).collect::<Vec<_>>()
        };
        self.clusters.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(problem: Option<&str>, differing: Value) -> Fleetwide<DiffAnswer> {
        let answer = problem.is_none().then(|| json!({"objects": 3, "equal": 1, "differing": differing}));
        let value =
            json!({"clusters": [{"cluster": "a", "app": "main/web", "answer": answer, "problem": problem}]});
        serde_json::from_value(value).expect("the shape")
    }

    #[test]
    fn each_field_has_a_line_and_a_patch_and_what_is_unknown_is_not_equal() {
        let object = json!({"kind": "ConfigMap", "namespace": "web", "name": "web"});
        let change = json!({"op": "replace", "path": "/data/value", "live": "theirs", "wanted": "ours", "manager": "kubectl-edit"});
        let differs = all(
            None,
            json!([
                {"object": object, "state": "Differs", "changes": [change]},
                {"object": {"kind": "ConfigMap", "namespace": "web", "name": "b"}, "state": "Absent"},
            ]),
        );
        let expected = "\
CLUSTER  APP  OBJECT             FIELD        LIVE      WANTED     MANAGER
a        web  ConfigMap web/web  /data/value  theirs    ours       kubectl-edit
a        web  ConfigMap web/b                 (absent)  (created)
";
        assert_eq!(differs.text(Style::default()), expected);
        let patch = json!([{"op": "replace", "path": "/data/value", "value": "ours"}]);
        assert_eq!(patches(&differs)[0]["patch"], patch);
        assert_eq!(patches(&differs).as_array().map(Vec::len), Some(1), "what is absent has no patch");
        assert_eq!(outcome(&differs, false), Outcome::Different);
        assert_eq!(outcome(&all(None, json!([])), false), Outcome::Done);
        assert_eq!(outcome(&all(None, json!([])), true), Outcome::Failed);
        assert_eq!(outcome(&all(Some("offline"), json!([])), false), Outcome::Failed);
        assert_eq!(
            all(None, json!([])).text(Style::default()),
            "Nothing differs: 3 objects are as wanted.\n"
        );
    }
}
