//! A story: blocks of documents, each below a line that says what they are.
//!
//! `== catalog` replaces the catalog, `== fleet` adds clusters or replaces those of the same name, `== without NAME` takes one
//! away, `== decide` decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use nave_placement::catalog::{
    BlobId, Catalog, CommitId, FileKind, Files, LastGood, Tree, TreeEntry, assemble, parse_file,
};
use nave_placement::decide::{Memory, Moment, apps};
use nave_placement::offline::{Decided, decide, fleet};
use nave_placement::{AppKey, CatalogName, ClusterName, check};

const CATALOG: &str = "catalog.yaml";

#[derive(Default)]
struct World {
    catalog: Option<Catalog>,
    last_good: LastGood,
    /// Documents by the cluster's name.
    clusters: BTreeMap<String, String>,
    previous: Memory,
}

/// Tells a story again as it really goes: what comes of a block stands below its first line.
pub fn play(told: &str) -> String {
    let mut world = World::default();
    let kept: String =
        told.lines().filter(|line| !line.starts_with('>')).map(|line| format!("{line}\n")).collect();
    let mut blocks = kept.split("\n== ");
    let mut went = blocks.next().unwrap_or_default().to_owned() + "\n";
    for block in blocks {
        let (what, text) = block.split_once('\n').unwrap_or((block, ""));
        writeln!(went, "== {what}").unwrap();
        world.block(what, text).lines().for_each(|line| writeln!(went, "> {line}").unwrap());
        writeln!(went, "{text}").unwrap();
    }
    went.truncate(went.trim_end().len());
    went + "\n"
}

impl World {
    fn block(&mut self, what: &str, text: &str) -> String {
        match what.split_once(' ').unwrap_or((what, "")) {
            ("catalog", _) => self.read_catalog(text),
            ("fleet", _) => {
                for document in text.split("---\n").filter(|document| !document.trim().is_empty()) {
                    let name =
                        document.split("name: ").nth(1).expect("a name").split([',', '}', '\n']).next();
                    self.clusters.insert(name.expect("a name").trim().to_owned(), document.to_owned());
                }
                String::new()
            }
            ("without", name) => {
                self.clusters.remove(name).expect("such a cluster");
                String::new()
            }
            ("decide", _) => self.decide(),
            _ => panic!("not understood: {what}"),
        }
    }

    fn read_catalog(&mut self, text: &str) -> String {
        let line = |line: &str| match line.starts_with("kind: ") {
            true => format!("apiVersion: nave.dev/v1alpha1\n{line}\n"),
            false => format!("{line}\n"),
        };
        let text: String = text.lines().map(line).collect();
        let file: Arc<str> = CATALOG.into();
        let entry = |path: &str| TreeEntry { kind: FileKind::File, blob: BlobId(path.into()), size: 1 };
        let paths = [CATALOG, "web/web.yaml", "db/db.yaml"];
        let tree: Tree = paths.iter().map(|path| ((*path).into(), entry(path))).collect();
        let files = Files::from([(file, Arc::new(parse_file(CATALOG, text.as_bytes())))]);
        let commit = CommitId("1".into());
        let catalog = assemble(&CatalogName::root(), &commit, true, &tree, &files, &self.last_good);
        let problems: String = catalog
            .problems
            .iter()
            .map(|p| {
                format!("{}: {}\n", p.object.as_ref().map(ToString::to_string).unwrap_or_default(), p.message)
            })
            .collect();
        self.last_good = catalog.objects.clone();
        self.catalog = Some(catalog);
        problems
    }

    fn decide(&mut self) -> String {
        let catalog = self.catalog.as_ref().expect("a catalog");
        let document = |text: &String| format!("apiVersion: nave.dev/v1alpha1\nkind: Cluster\n{text}");
        let text = self.clusters.values().map(document).collect::<Vec<_>>().join("---\n");
        let given = match fleet("fleet.yaml", &text, catalog) {
            Ok(given) => given,
            Err(problems) => return problems.iter().map(|problem| format!("{problem}\n")).collect(),
        };
        let decided = decide(catalog, &given, &self.previous);
        // Room is another matter: what was taken is free again for who decides as if spokes had reported since.
        let fits =
            catalog.placements().any(|(_, p)| p.pick.as_ref().is_some_and(|pick| !pick.fits.is_empty()));
        let again = decide(catalog, &given, &decided.memory());
        assert!(fits || again.memory() == decided.memory(), "deciding again changes nothing");
        let json = serde_json::to_string(&decided).unwrap();
        assert_eq!(serde_json::from_str::<Decided>(&json).unwrap(), decided, "it reads back what it prints");
        let healthy =
            |cluster: &ClusterName, app: &AppKey| given.healthy.contains(&(cluster.clone(), app.clone()));
        let moment = Moment { healthy: &healthy, ..Moment::at(1_800_000_000_000) };
        let mut said = String::new();
        for report in &decided.placements {
            writeln!(said, "{}", report.placement).unwrap();
            let before = self.previous.get(&report.placement).cloned().unwrap_or_default();
            for chosen in &report.chosen {
                let sign = if before.chosen.contains_key(&chosen.cluster) { ' ' } else { '+' };
                let replicas = chosen.replicas.map(|n| format!(" with {n}")).unwrap_or_default();
                let score =
                    if chosen.parts.is_empty() { String::new() } else { format!(" ({})", chosen.score) };
                let reasons: Vec<String> = chosen.reasons.iter().map(ToString::to_string).collect();
                writeln!(said, " {sign}{}{score}{replicas}: {}", chosen.cluster, reasons.join("; ")).unwrap();
            }
            for rejected in &report.rejected {
                let sign = if before.chosen.contains_key(&rejected.cluster) { '-' } else { '·' };
                let reasons: Vec<String> = rejected.reasons.iter().map(ToString::to_string).collect();
                writeln!(said, " {sign}{}: {}", rejected.cluster, reasons.join("; ")).unwrap();
            }
            let (object, placement) = catalog
                .placements()
                .find(|(object, _)| object.object.id.name == report.placement)
                .expect("such a placement");
            let apps: BTreeSet<AppKey> = apps(catalog, &placement.apps);
            let next = report.settled();
            let step = check::DecisionStep {
                placement,
                apps: &apps,
                fleet: &given.fleet,
                previous: &before,
                next: &next,
                moment,
            };
            assert_eq!(check::decision(&step), Vec::new(), "{}: {said}", object.object.id);
        }
        self.previous = decided.memory();
        said
    }
}
