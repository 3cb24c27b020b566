//! `hub get`: live objects of all clusters, as kubectl shows those of one.
//!
//! In: a kind, perhaps a name. Out: the API servers' own tables, under each other, with a CLUSTER column.
//! Never: shows the value of a Secret (it does not leave the cluster).

use clap::Args;
use nave_proto::v1::{self, question::Question};
use nave_spoke::target::ask::answers::{EventsAnswer, ObjectsAnswer};
use serde_json::Value;

use super::Outcome;
use super::asking::{Clusters, Fleetwide, ask};
use super::client::Hub;
use super::output::{Document, Format, Output, Style, View};
use super::table::{Cell, Table};

/// Its arguments.
#[derive(Args)]
#[command(after_help = "\
-l selects clusters by their labels, as everywhere; --object-selector selects objects by theirs.
Clusters that do not answer are named on stderr. Exit code 1 when none answers, or no cluster has the named object.
JSON: {\"clusters\": [{cluster, answer: {apiVersion, kind, resource, namespaced, items: [whole objects]}, truncated, problem}]}

Examples:
  hub get deployments -A -l env=prod
  hub get pods -n shop --object-selector app=web -o wide
  hub get configmap web -n shop --cluster fra-1 -o yaml
  hub get deploy web -n shop --events")]
pub struct Arguments {
    /// Kind, plural, singular or short name, `.GROUP` behind it where needed
    kind: String,
    /// Only the object of this name
    name: Option<String>,
    /// The namespace
    #[arg(
        short,
        long,
        value_name = "NAMESPACE",
        default_value = "default",
        conflicts_with = "all_namespaces"
    )]
    namespace: String,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only objects with these labels (on clusters, kubectl's -l)
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    object_selector: String,
    /// Most objects of each cluster
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    limit: u32,
    /// Show the events about the named object instead
    #[arg(long, requires = "name")]
    events: bool,
    #[command(flatten)]
    clusters: Clusters,
    #[command(flatten)]
    format: Format,
}

/// Asks, and prints.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let Arguments { kind, clusters, .. } = &arguments;
    let name = arguments.name.clone().unwrap_or_default();
    let namespace = if arguments.all_namespaces { String::new() } else { arguments.namespace.clone() };
    let output = arguments.format.output;
    let hint = "narrow it with -n, NAME, --object-selector or --limit";
    if arguments.events {
        let question = Question::Events(v1::ObjectEvents { kind: kind.clone(), namespace, name });
        let all: Fleetwide<EventsAnswer> = ask(&mut client, clusters, None, question).await?;
        Document::of(&all)?.print::<Fleetwide<EventsAnswer>>(output)?;
        all.tell_problems("only the newest are shown");
        return Ok(if all.is_silent() { Outcome::Failed } else { Outcome::Done });
    }
    let question = Question::Objects(v1::LiveObjects {
        kind: kind.clone(),
        namespace,
        name: name.clone(),
        selector: arguments.object_selector.clone(),
        limit: arguments.limit,
        whole: matches!(output, Output::Json | Output::Yaml),
    });
    let all: Fleetwide<ObjectsAnswer> = ask(&mut client, clusters, None, question).await?;
    Document::of(&all)?.print::<Fleetwide<ObjectsAnswer>>(output)?;
    let found = all.answers().any(|(_, answer)| !answer.rows.is_empty() || !answer.items.is_empty());
    if !found && all.answers().next().is_some() {
        match name.as_str() {
            "" => eprintln!("no objects found"),
            name => eprintln!("no cluster that answered has {kind} {name:?}"),
        }
    }
    all.tell_problems(hint);
    let failed = all.is_silent() || (!found && !name.is_empty());
    Ok(if failed { Outcome::Failed } else { Outcome::Done })
}

/// A cell as kubectl prints it.
fn cell(value: Option<&Value>) -> Cell {
    match value {
        None | Some(Value::Null) => "".into(),
        Some(Value::String(text)) => text.as_str().into(),
        Some(other) => other.to_string().into(),
    }
}

impl View for Fleetwide<ObjectsAnswer> {
    fn text(&self, style: Style) -> String {
        // Clusters of another version may have other columns: each name once, where it came first.
        let mut columns: Vec<&str> = Vec::new();
        for column in self.answers().flat_map(|(_, answer)| &answer.columns) {
            if (style.is_wide || !column.wide) && !columns.contains(&column.name.as_str()) {
                columns.push(&column.name);
            }
        }
        let namespaced = self.answers().any(|(_, answer)| answer.namespaced);
        let mut headers: Vec<Cell> = vec!["CLUSTER".into()];
        headers.extend(namespaced.then(|| "NAMESPACE".into()));
        headers.extend(columns.iter().map(|name| Cell::from(name.to_uppercase())));
        let mut table = Table::of(headers);
        for (cluster, answer) in self.answers() {
            let mut rows: Vec<_> = answer.rows.iter().collect();
            rows.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
            for row in rows {
                let mut cells: Vec<Cell> = vec![cluster.into()];
                cells.extend(namespaced.then(|| Cell::from(row.namespace.as_str())));
                cells.extend(columns.iter().map(|name| {
                    let at = answer.columns.iter().position(|column| column.name == **name);
                    cell(at.and_then(|at| row.cells.get(at)))
                }));
                table.row_of(cells);
            }
        }
        if table.is_empty() { String::new() } else { table.to_string() }
    }

    fn names(&self) -> Vec<String> {
        let of = |(cluster, answer): (&str, &ObjectsAnswer)| {
            let mut rows: Vec<_> = answer.rows.iter().map(|row| (&row.namespace, &row.name)).collect();
            rows.sort();
            let named = |(_, name)| format!("{cluster} {}/{name}", answer.resource);
            rows.into_iter().map(named).collect::<Vec<_>>()
        };
        self.answers().flat_map(of).collect()
    }
}

impl View for Fleetwide<EventsAnswer> {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(["CLUSTER", "LAST", "TYPE", "REASON", "COUNT", "MESSAGE"]);
        for (cluster, answer) in self.answers() {
            for event in &answer.events {
                table.row([
                    cluster.into(),
                    event.last.as_str().into(),
                    event.r#type.as_str().into(),
                    event.reason.as_str().into(),
                    event.count.to_string().into(),
                    style.message(&event.message).into(),
                ]);
            }
        }
        if table.is_empty() { "No events.\n".to_owned() } else { table.to_string() }
    }

    fn names(&self) -> Vec<String> {
        self.answers().filter(|(_, a)| !a.events.is_empty()).map(|(cluster, _)| cluster.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::asking::OfCluster;
    use super::*;
    use nave_spoke::target::ask::answers::{Column, Row};
    use serde_json::json;

    fn of(
        cluster: &str,
        columns: &[(&str, bool)],
        rows: &[(&str, &str, &[Value])],
    ) -> OfCluster<ObjectsAnswer> {
        let column = |(name, wide): &(&str, bool)| Column { name: (*name).to_owned(), wide: *wide };
        let row = |(namespace, name, cells): &(&str, &str, &[Value])| Row {
            namespace: (*namespace).to_owned(),
            name: (*name).to_owned(),
            cells: cells.to_vec(),
        };
        let answer = ObjectsAnswer {
            resource: "deployment.apps".into(),
            namespaced: true,
            columns: columns.iter().map(column).collect(),
            rows: rows.iter().map(row).collect(),
            ..ObjectsAnswer::default()
        };
        OfCluster {
            cluster: cluster.into(),
            app: None,
            answer: Some(answer),
            truncated: false,
            problem: None,
        }
    }

    #[test]
    fn tables_of_clusters_of_different_versions_stand_under_each_other() {
        let all = Fleetwide {
            clusters: vec![
                of(
                    "a",
                    &[("Name", false), ("Ready", false)],
                    &[("x", "b", &[json!("b"), json!("1/1")]), ("x", "a", &[json!("a"), json!(2)])],
                ),
                of(
                    "b",
                    &[("Name", false), ("Age", false), ("Images", true)],
                    &[("x", "c", &[json!("c"), json!("5m"), json!("i")])],
                ),
            ],
        };
        let expected = "\
CLUSTER  NAMESPACE  NAME  READY  AGE
a        x          a     2
a        x          b     1/1
b        x          c            5m
";
        assert_eq!(all.text(Style::default()), expected);
        assert!(all.text(Style { is_wide: true, ..Style::default() }).contains("IMAGES"));
        assert_eq!(all.names(), ["a deployment.apps/a", "a deployment.apps/b", "b deployment.apps/c"]);
    }
}
