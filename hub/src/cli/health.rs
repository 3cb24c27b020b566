//! `hub health`: how a spoke would judge objects, offline, for people who write health rules.
//!
//! In: a file of objects as `kubectl get -o yaml` prints them, perhaps an app with rules. Out: a verdict for each.
//! Never: asks the hub or a cluster; fails because something is unhealthy.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use nave_placement::catalog::{HealthRule, Problem, Spec, parse_file};
use nave_placement::render::live_objects;
use nave_spoke::observe::health::{Given, Rules, judge, key};
use nave_spoke::target::HealthState;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Outcome;
use super::output::{Document, Format, Style, View};
use super::table::{Cell, Colour, Table};

/// A dump of a whole cluster is larger than this, and is not what anybody reads a verdict of.
const MAX_BYTES: u64 = 64 << 20;

/// Its arguments.
#[derive(Args)]
#[command(
    after_help = "Example: kubectl get deployments,pods -A -o yaml | hub health -f -\n         hub health -f database.yaml --app-file fleet/database.yaml"
)]
pub struct Arguments {
    /// Objects with their status, as YAML or JSON; `-` reads them from stdin
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: PathBuf,
    /// The App whose health rules apply
    #[arg(long, value_name = "APP.yaml")]
    app_file: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

/// The verdict on one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HealthView {
    api_version: String,
    group: String,
    kind: String,
    /// Empty for what has none.
    namespace: String,
    name: String,
    /// Healthy | Progressing | Degraded | Suspended | Unknown.
    state: HealthState,
    /// CamelCase; empty when healthy.
    reason: String,
    /// What is missing.
    message: String,
}

/// Judges.
pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let rules = match &arguments.app_file {
        Some(file) => Rules::read(&rules_of(file)?),
        None => Rules::default(),
    };
    let content = content(&arguments.file)?;
    let name =
        if is_stdin(&arguments.file) { "stdin".to_owned() } else { arguments.file.display().to_string() };
    let objects = live_objects(&name, &content).map_err(|problems| told(&problems))?;
    let given = Given { rules: Some(&rules), applied: None, now: Some(jiff::Timestamp::now()) };
    let views: Vec<HealthView> = objects.iter().map(|object| view(object, &given)).collect();
    Document::of(&views)?.print::<Vec<HealthView>>(arguments.format.output)?;
    Ok(Outcome::Done)
}

fn view(object: &Value, given: &Given<'_>) -> HealthView {
    let key = key(object);
    let health = judge(object, given);
    HealthView {
        api_version: object["apiVersion"].as_str().unwrap_or_default().to_owned(),
        group: key.group,
        kind: key.kind,
        namespace: key.namespace,
        name: key.name,
        state: health.state,
        reason: health.reason,
        message: health.message,
    }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn content(file: &Path) -> anyhow::Result<Vec<u8>> {
    let what = || format!("cannot read {}", file.display());
    let mut content = Vec::new();
    if is_stdin(file) {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut content).with_context(what)?;
    } else {
        let open = std::fs::File::open(file).with_context(what)?;
        open.take(MAX_BYTES + 1).read_to_end(&mut content).with_context(what)?;
    }
    ensure!(
        content.len() as u64 <= MAX_BYTES,
        "{} has more than {} MiB; take fewer objects",
        file.display(),
        MAX_BYTES >> 20
    );
    Ok(content)
}

/// The health rules of the one App in a file.
fn rules_of(file: &Path) -> anyhow::Result<Vec<HealthRule>> {
    let content = content(file)?;
    // Its source is not looked at; a directory that is deep enough lets it stand where it likes.
    let place = "0/1/2/3/4/5/6/7/app.yaml";
    let mut parsed = parse_file(place, &content);
    for problem in &mut parsed.problems {
        problem.file = file.display().to_string().into();
    }
    let errors: Vec<Problem> = parsed.problems.into_iter().filter(Problem::is_error).collect();
    if !errors.is_empty() {
        return Err(told(&errors));
    }
    let objects = parsed.documents.iter().filter_map(|document| document.object.as_ref());
    let mut apps = objects.filter_map(|object| match &object.spec {
        Spec::App(app) => Some(app.treatment.health.clone()),
        _ => None,
    });
    match (apps.next(), apps.next()) {
        (Some(rules), None) => Ok(rules),
        (None, _) => bail!("{}:1:1: there is no App (apiVersion nave.dev/v1alpha1) in it", file.display()),
        (Some(_), Some(_)) => bail!("{} has several Apps; give a file with one", file.display()),
    }
}

/// All problems as one error, a line each; that they are errors is said once, before them.
fn told(problems: &[Problem]) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(|p| p.to_string().replacen("error: ", "", 1)).collect();
    anyhow::anyhow!("{}", lines.join("\n"))
}

impl View for Vec<HealthView> {
    fn text(&self, style: Style) -> String {
        let mut worst_first: Vec<&HealthView> = self.iter().collect();
        worst_first.sort_by_key(|view| std::cmp::Reverse(view.state));
        let mut table = Table::new(["STATE", "NAMESPACE", "OBJECT", "REASON", "MESSAGE"]);
        for view in worst_first {
            let colour = match view.state {
                HealthState::Healthy | HealthState::Suspended => Colour::Green,
                HealthState::Progressing | HealthState::Unknown => Colour::Yellow,
                HealthState::Degraded => Colour::Red,
            };
            let kind = if view.group.is_empty() {
                view.kind.clone()
            } else {
                format!("{}.{}", view.kind, view.group)
            };
            table.row([
                Cell::from(format!("{:?}", view.state)).paint(style.colour(colour)),
                view.namespace.as_str().into(),
                format!("{kind}/{}", view.name).into(),
                view.reason.as_str().into(),
                style.message(&view.message).into(),
            ]);
        }
        table.to_string()
    }

    fn names(&self) -> Vec<String> {
        self.iter().map(|view| format!("{}/{}", view.kind, view.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: web}\nstatus: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: '0/1 nodes'}]}\n";
    const DATABASE: &str =
        "---\napiVersion: example.com/v1\nkind: Database\nmetadata: {name: main}\nstatus: {phase: Ready}\n";
    const APP: &str = "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: db}\nspec:\n  source: {path: ../../manifests}\n  health:\n  - target: {kind: Database}\n    healthy: object.status.phase == 'Done'\n";

    fn write(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        (dir, path)
    }

    #[test]
    fn objects_are_judged_as_a_spoke_does_it_and_rules_of_the_app_decide() {
        let (_app_dir, app) = write("app.yaml", APP);
        let objects = live_objects("x", format!("{POD}{DATABASE}").as_bytes()).expect("objects");
        let judged = |rules: &Rules| -> Vec<HealthView> {
            let given = Given { rules: Some(rules), applied: None, now: Some(jiff::Timestamp::now()) };
            objects.iter().map(|object| view(object, &given)).collect()
        };
        let plain = judged(&Rules::default());
        let expected = "\
STATE     NAMESPACE  OBJECT                     REASON         MESSAGE
Degraded  web        Pod/web-1                  Unschedulable  0/1 nodes
Healthy              Database.example.com/main
";
        assert_eq!(plain.text(Style::default()), expected);
        let ruled = judged(&Rules::read(&rules_of(&app).expect("an app")));
        assert_eq!((ruled[1].state, ruled[1].reason.as_str()), (HealthState::Progressing, "RuleNotMet"));
        let json = serde_json::to_value(&ruled).expect("JSON");
        assert_eq!(json[1]["kind"], "Database");
        assert_eq!(json[1]["apiVersion"], "example.com/v1");
        assert_eq!(json[0]["state"], "Degraded");
    }

    #[test]
    fn an_app_that_cannot_be_read_is_told_with_its_place() {
        let rows = [
            (
                APP.replace("object.", "objekt."),
                "app.yaml:8:14: App/db: spec.health[0].healthy: objekt is no known",
            ),
            (APP.replace("kind: App", "kind: Placement"), "app.yaml:"),
            ("a: [".to_owned(), "app.yaml:"),
            (POD.to_owned(), "there is no App"),
            (format!("{APP}---\n{}", APP.replace("name: db", "name: other")), "has several Apps"),
        ];
        for (text, expected) in rows {
            let (_dir, app) = write("app.yaml", &text);
            let error = rules_of(&app).expect_err(&text).to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(rules_of(Path::new("/nowhere/app.yaml")).is_err());
    }
}
