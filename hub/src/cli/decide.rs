//! `hub decide`: what a catalog's placements choose for a given fleet, and why.
//!
//! In: a directory, a stream of `Cluster` documents whose `status` says what spokes would report, an earlier decision. Out:
//! for each placement those that it chose, best first, and why the others were not. Never: asks the hub.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use nave_placement::CatalogName;
use nave_placement::catalog::{Catalog, CommitId, LastGood, Problem};
use nave_placement::decide::{Memory, Reason};
use nave_placement::offline::{self, Decided};

use super::Outcome;
use super::directory::Directory;
use super::output::{Document, Format, Style, View};
use super::table::Colour;
use crate::deciding::revision::{Loader, Place};

/// Its arguments.
#[derive(Args)]
#[command(after_help = "Example: hub decide --dir . --fleet fleet.yaml -o json > decided.json\n\
    Then, after a change: hub decide --dir . --fleet fleet.yaml --previous decided.json")]
pub struct Arguments {
    /// The repository's directory
    #[arg(long)]
    dir: PathBuf,
    /// The catalog's directory in the repository [default: all of it]
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    path: String,
    /// Cluster documents with `status: {connected, facts}`
    #[arg(long, value_name = "FILE")]
    fleet: PathBuf,
    /// What was decided before: the output of `hub decide -o json`
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

/// Decides.
pub async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let catalog = catalog(&arguments.dir, &arguments.path).await?;
    let errors: Vec<&Problem> = catalog.problems.iter().filter(|problem| problem.is_error()).collect();
    errors.iter().for_each(|problem| eprintln!("{problem}"));
    let given = offline::fleet(&arguments.fleet.display().to_string(), &read(&arguments.fleet)?, &catalog);
    let given = match given {
        Ok(given) => given,
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            bail!("{} is no fleet", arguments.fleet.display());
        }
    };
    let previous = match &arguments.previous {
        Some(file) => previous(file)?,
        None => Memory::new(),
    };
    let decided = offline::decide(&catalog, &given, &previous);
    Document::of(&decided)?.print::<Decided>(arguments.format.output)?;
    // What could not be read has decided nothing.
    Ok(if errors.is_empty() { Outcome::Done } else { Outcome::Failed })
}

async fn catalog(dir: &Path, path: &str) -> anyhow::Result<Catalog> {
    let path = path.trim_start_matches("./").trim_matches('/');
    ensure!(dir.join(path).is_dir(), "{} is not a directory", dir.join(path).display());
    let directory = Directory::new(dir.to_owned());
    let tree = directory.tree()?;
    let place = Place { name: CatalogName::root(), directory: path.to_owned() };
    let commit = CommitId("0000000000000000000000000000000000000000".into());
    Ok(Loader::default().catalog(&directory, &place, &commit, &tree, &LastGood::new()).await)
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn previous(file: &Path) -> anyhow::Result<Memory> {
    let what = || format!("{} is not what `hub decide -o json` printed", file.display());
    let decided: Decided = serde_json::from_str(&read(file)?).with_context(what)?;
    Ok(decided.memory())
}

/// Reasons in one line.
fn told(reasons: &[Reason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl View for Decided {
    fn text(&self, style: Style) -> String {
        if self.placements.is_empty() {
            return "The catalog has no placement.\n".to_owned();
        }
        let mut text = String::new();
        for report in &self.placements {
            let apps = report.apps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let all = report.chosen.len() + report.rejected.len();
            let apps = if apps.is_empty() { "no app".to_owned() } else { apps };
            let _ = writeln!(
                text,
                "placement {}: {apps} on {} of {all} clusters",
                report.placement,
                report.chosen.len()
            );
            for chosen in &report.chosen {
                let mark = super::table::Cell::from("✓").paint(style.colour(Colour::Green));
                let score =
                    if chosen.parts.is_empty() { String::new() } else { format!(", score {}", chosen.score) };
                let replicas = chosen.replicas.map(|n| format!(", {n} replicas")).unwrap_or_default();
                let reasons = told(&chosen.reasons);
                let _ = writeln!(text, "  {mark} {}{score}{replicas}: {reasons}", chosen.cluster);
            }
            // Those with the same reasons together: a large fleet has few.
            let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for rejected in &report.rejected {
                alike.entry(told(&rejected.reasons)).or_default().push(rejected.cluster.as_str());
            }
            for (reasons, clusters) in alike {
                let mark = super::table::Cell::from("✗").paint(style.colour(Colour::Red));
                let _ = writeln!(text, "  {mark} {}: {reasons}", listed(&clusters));
            }
        }
        text
    }

    fn names(&self) -> Vec<String> {
        let chosen = |report: &nave_placement::decide::DecisionReport| {
            let name = report.placement.clone();
            report.chosen.iter().map(move |chosen| format!("{name}/{}", chosen.cluster)).collect::<Vec<_>>()
        };
        self.placements.iter().flat_map(chosen).collect()
    }
}

/// The first few, and how many more.
fn listed(clusters: &[&str]) -> String {
    const SHOWN: usize = 5;
    match clusters.len() {
        0..=SHOWN => clusters.join(", "),
        many => format!("{} and {} more", clusters[..SHOWN].join(", "), many - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOG: &str = "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: web}\nspec: {source: {path: ./web}}\n---\napiVersion: nave.dev/v1alpha1\nkind: Placement\nmetadata: {name: prod}\nspec: {apps: {names: [web]}, clusters: {selector: {matchLabels: {env: prod}}}, pick: {count: 1}}\n";
    const FLEET: &str = "apiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {name: a, labels: {env: prod}}\nstatus: {connected: true}\n---\napiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {name: b, labels: {env: dev}}\nstatus: {connected: true}\n";

    #[tokio::test]
    async fn a_directory_and_a_fleet_are_decided_and_what_is_printed_reads_back() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("web")).expect("a directory");
        std::fs::write(dir.path().join("web/c.yaml"), "kind: ConfigMap\n").expect("a file");
        std::fs::write(dir.path().join("catalog.yaml"), CATALOG).expect("a file");
        let catalog = catalog(dir.path(), "").await.expect("a catalog");
        let given = offline::fleet("fleet.yaml", FLEET, &catalog).expect("a fleet");
        let decided = offline::decide(&catalog, &given, &Memory::new());
        let expected = "\
placement prod: web on 1 of 2 clusters
  ✓ a: it was picked as number 1 of 1
  ✗ b: its label env is \"dev\", clusters.selector wants env=prod
";
        assert_eq!(decided.text(Style::default()), expected);
        let file = dir.path().join("decided.json");
        std::fs::write(&file, serde_json::to_string(&decided).expect("JSON")).expect("a file");
        assert_eq!(previous(&file).expect("it reads back"), decided.memory());
        std::fs::write(&file, "{").expect("a file");
        assert!(previous(&file).is_err());
    }

    #[test]
    fn a_fleet_that_cannot_be_read_is_told_with_its_place() {
        let catalog = Catalog {
            name: CatalogName::root(),
            commit: CommitId("1".into()),
            objects: BTreeMap::new(),
            problems: Vec::new(),
            empty: true,
        };
        let rows = [
            (String::new(), "fleet.yaml:1:1: error: there is no Cluster"),
            ("a: [".to_owned(), "fleet.yaml:"),
            ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n".to_owned(), "Pod of v1 is no Cluster"),
            (
                FLEET.replace("connected", "conected"),
                "fleet.yaml:4:10: error: unknown field conected; did you mean connected?",
            ),
            (
                FLEET.replace("name: b", "nome: b"),
                "fleet.yaml:8:12: error: unknown field nome; did you mean name?",
            ),
            (FLEET.replace("{name: b, labels: {env: dev}}", "{labels: {env: dev}}"), "field name is missing"),
            (
                FLEET.replace("{connected: true}\n---", "\n  facts:\n    nodes: many\n---"),
                "fleet.yaml:6:12: error: status.facts.nodes: it is the text \"many\"; a whole number is wanted",
            ),
            ("web\n".to_owned(), "fleet.yaml:1:1: error: it is the text \"web\"; a mapping is wanted"),
            (FLEET.replace("name: b", "name: a"), "Cluster/a stands there twice"),
            (
                FLEET.replace("true}\n---", "false, silentFor: 5}\n---"),
                "status.silentFor: it is the number 5; a text is wanted",
            ),
        ];
        for (text, expected) in rows {
            let problems = offline::fleet("fleet.yaml", &text, &catalog).expect_err(&text);
            assert!(problems[0].to_string().contains(expected), "{}", problems[0]);
        }
    }
}
