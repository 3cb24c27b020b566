//! `hub adopt check`: what an app would meet on its clusters, and who manages it today.
//!
//! In: an app. Out: every object of it on every cluster: equal, different, absent or ours; its managers.
//! Never: adopts (the app's `adopt` does).

use clap::{Args, Subcommand};
use nave_placement::AppKey;
use nave_proto::v1::{self, question::Question};
use nave_spoke::target::ask::answers::{AdoptionAnswer, AdoptionState, ObjectAdoption};
use nave_spoke::target::ask::managers::{Manager, Tool};

use super::Outcome;
use super::asking::{Clusters, Fleetwide, ask};
use super::client::Hub;
use super::output::{Document, Format, Style, View};
use super::table::{Cell, Colour, Table, one_line};

/// Fields in a table that is not wide.
const FIELDS: usize = 3;

/// Its arguments.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    /// Show what an app meets on its clusters: equal, different, absent, and who still manages it
    #[command(after_help = "\
Every cluster compares by a server-side dry-run; nothing is written. Values of Secrets are shown as <changed>.
Exit codes: 0 nothing differs, 3 something does, 1 a cluster did not answer and nothing else differs.
JSON: {\"clusters\": [{cluster, app, answer: {objects: [{object, state: Absent|Equal|Differs|Ours|Unknown,
changes: [{op, path, live, wanted, manager}], managers: [{tool, name, by}], problem}]}, truncated, problem}]}

Example: hub adopt check web --cluster fra-1")]
    Check {
        /// The app
        app: AppKey,
        #[command(flatten)]
        clusters: Clusters,
        #[command(flatten)]
        format: Format,
    },
}

/// Asks, and prints.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let Order::Check { app, clusters, format } = arguments.order;
    let mut client = hub.connect().await?;
    let question = Question::Adoption(v1::Adoption { app: Some(nave_proto::app_to_proto(&app)) });
    let all: Fleetwide<AdoptionAnswer> = ask(&mut client, &clusters, Some(&app), question).await?;
    Document::of(&all)?.print::<Fleetwide<AdoptionAnswer>>(format.output)?;
    all.tell_problems("ask for one cluster");
    let states = || all.answers().flat_map(|(_, answer)| &answer.objects).map(|object| object.state);
    Ok(if states().any(|state| state == AdoptionState::Differs) {
        Outcome::Different
    } else if all.has_problems() || states().any(|state| state == AdoptionState::Unknown) {
        Outcome::Failed
    } else {
        Outcome::Done
    })
}

/// As people call it.
fn called(manager: &Manager) -> String {
    let tool = match manager.tool {
        Tool::Helm => "Helm release",
        Tool::ArgoCd => "Argo CD",
        Tool::Flux => "Flux",
        Tool::RancherFleet => "Rancher Fleet",
        Tool::Karmada => "Karmada",
        Tool::OpenClusterManagement => "Open Cluster Management",
        Tool::Kubectl => "kubectl",
        Tool::Controller => "controller",
        Tool::ServerSideApply => "server-side apply by",
    };
    format!("{tool} {}", manager.name).trim_end().to_owned()
}

fn fields(object: &ObjectAdoption, style: Style) -> String {
    if let Some(problem) = &object.problem {
        return style.message(problem);
    }
    let paths: Vec<&str> = object.changes.iter().map(|change| change.path.as_str()).collect();
    let shown = if style.is_wide { paths.len() } else { paths.len().min(FIELDS) };
    let more = if shown < paths.len() { format!(", +{}", paths.len() - shown) } else { String::new() };
    paths[..shown].join(", ") + &more
}

impl View for Fleetwide<AdoptionAnswer> {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(["CLUSTER", "OBJECT", "STATE", "MANAGED BY", "DIFFERS IN"]);
        for (cluster, answer) in self.answers() {
            let mut objects: Vec<&ObjectAdoption> = answer.objects.iter().collect();
            objects.sort_by(|a, b| (a.state, &a.object).cmp(&(b.state, &b.object)));
            for object in objects {
                let colour = match object.state {
                    AdoptionState::Unknown | AdoptionState::Differs => Colour::Red,
                    AdoptionState::Equal | AdoptionState::Ours => Colour::Green,
                    AdoptionState::Absent => Colour::Yellow,
                };
                let managers: Vec<String> = object.managers.iter().map(called).collect();
                table.row([
                    cluster.into(),
                    object.object.to_string().into(),
                    Cell::from(format!("{:?}", object.state)).paint(style.colour(colour)),
                    one_line(&managers.join(", ")).into(),
                    fields(object, style).into(),
                ]);
            }
        }
        if table.is_empty() { String::new() } else { table.to_string() }
    }

    fn names(&self) -> Vec<String> {
        let of = |(cluster, answer): (&str, &AdoptionAnswer)| {
            answer.objects.iter().map(|object| format!("{cluster} {}", object.object)).collect::<Vec<_>>()
        };
        self.answers().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_needs_somebody_stands_first_with_those_who_manage_it() {
        let object = |name: &str, state: &str, managers: serde_json::Value, paths: &[&str]| {
            let changes: Vec<_> = paths.iter().map(|path| json!({"op": "add", "path": path})).collect();
            json!({"object": {"kind": "ConfigMap", "name": name}, "state": state, "managers": managers, "changes": changes})
        };
        let helm = json!([{"tool": "Helm", "name": "shop/web", "by": "meta.helm.sh/release-name"}, {"tool": "Kubectl", "name": "edit", "by": "managedFields"}]);
        let all: Fleetwide<AdoptionAnswer> =
            serde_json::from_value(json!({"clusters": [{"cluster": "a", "answer": {"objects": [
                object("one", "Ours", json!([]), &[]),
                object("two", "Absent", json!([]), &[]),
                object("three", "Differs", helm, &["/a", "/b", "/c", "/d"]),
            ]}}]}))
            .expect("the shape");
        let expected = "\
CLUSTER  OBJECT           STATE    MANAGED BY                           DIFFERS IN
a        ConfigMap three  Differs  Helm release shop/web, kubectl edit  /a, /b, /c, +1
a        ConfigMap two    Absent
a        ConfigMap one    Ours
";
        assert_eq!(all.text(Style::default()), expected);
    }
}
