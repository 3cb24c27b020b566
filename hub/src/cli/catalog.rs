//! `hub catalog check`: what the hub would say of a catalog, before it is pushed; `schema` and `explain` are its reference.
//!
//! In: a directory. Out: every problem as `FILE:LINE:COLUMN: error: …`, and a summary; exit code 1 with an error.
//! Never: asks the hub; needs Git, or, without `--fetch`, a network.

pub mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::ensure;
use clap::{Args, Subcommand};
use nave_placement::aims;
use nave_placement::catalog::{CONSEQUENCE, Catalog, CommitId, Kind, LastGood, Problem, Sources};
use nave_placement::claims::{Clash, Shared};
use nave_placement::decide::Wanted;
use nave_placement::fleet::{Fleet, Membership, candidate};
use nave_placement::overrides::{self, Asking, Forms, Lack, Lacking, Variant};
use nave_placement::render::{Asks, Capabilities};
use nave_placement::{CatalogName, ClusterName, Digest, decide};
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::directory::Directory;
use super::fetching::{Elsewhere, Fetching};
use super::output::{Document, Format, Style, View};
use super::status::count;
use crate::deciding::lacking::lacks;
use crate::deciding::revision::{Asked, Ground, Loader, Place, Rendered, render};

/// Its arguments.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    /// Check a catalog offline, as the hub will read it
    #[command(after_help = "\
Examples, for CI: hub catalog check . --path fleet
  with what apps take from elsewhere: hub catalog check . --fetch --config hub.yaml")]
    Check {
        /// The repository's directory
        dir: PathBuf,
        /// The catalog's directory in the repository [default: all of it]
        #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
        path: String,
        /// Check it as a tenant's catalog, which holds apps and what belongs to them alone
        #[arg(long)]
        tenant: bool,
        #[command(flatten)]
        fetching: Fetching,
        #[command(flatten)]
        format: Format,
    },
    /// Print the JSON Schema of the catalog's kinds, for editors and CI
    #[command(after_help = "Example: hub catalog schema > nave.schema.json")]
    Schema(schema::Schema),
    /// Tell what a field of the catalog says, as kubectl explain does
    #[command(after_help = "Example: hub catalog explain Placement.spec.pick")]
    Explain(schema::Explain),
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CheckView {
    /// Objects by kind.
    objects: BTreeMap<Kind, usize>,
    /// Apps that could be rendered.
    rendered: usize,
    /// There is not a single catalog document: the hub would take nothing of it.
    empty: bool,
    /// What is wrong, by position.
    problems: Vec<Problem>,
}

/// Does it.
pub async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let (dir, path, is_root, fetching, format) = match arguments.order {
        Order::Check { dir, path, tenant, fetching, format } => (dir, path, !tenant, fetching, format),
        Order::Schema(arguments) => return schema::schema(&arguments),
        Order::Explain(arguments) => return schema::explain(&arguments),
    };
    let view = check(dir, &path, is_root, &fetching.open()?).await?;
    Document::of(&view)?.print::<CheckView>(format.output)?;
    Ok(if view.is_good() { Outcome::Done } else { Outcome::Failed })
}

async fn check(dir: PathBuf, path: &str, is_root: bool, elsewhere: &Elsewhere) -> anyhow::Result<CheckView> {
    ensure!(dir.is_dir(), "{} is not a directory", dir.display());
    let path = path.trim_start_matches("./").trim_matches('/');
    ensure!(dir.join(path).is_dir(), "{} is not a directory", dir.join(path).display());
    let directory = Directory::new(dir);
    let tree = directory.tree()?;
    let place = Place { name: CatalogName::root(), directory: path.to_owned(), is_root, configured: None };
    let commit = CommitId("0000000000000000000000000000000000000000".into());
    let catalog = Loader::default().catalog(&directory, &place, &commit, &tree, &LastGood::new()).await;
    let declared = Declared::of(&catalog);
    let asked = declared.variants(&catalog);
    let (content, sources) = (&directory, &Sources::new());
    let (engines, remotes) = (&elsewhere.engines, &*elsewhere.remotes());
    let ground = Ground { content, tree: &tree, remotes, sources };
    let mut rendered = render(ground, engines, &catalog, &asked, &Forms::new(), &|_| false).await;
    // No cluster answers charts that ask something.
    let asked = assumed(&rendered.asking);
    let of_charts = render(ground, engines, &catalog, &asked, &Forms::new(), &|_| false).await;
    for (app, problems) in of_charts.problems {
        rendered.problems.entry(app).or_default().extend(problems);
    }
    rendered.bundles.extend(of_charts.bundles);
    for (app, variants) in of_charts.forms {
        rendered.forms.entry(app).or_default().extend(variants);
    }
    let mut objects = BTreeMap::new();
    for id in catalog.objects.keys() {
        *objects.entry(id.kind).or_default() += 1;
    }
    let mut problems = catalog.problems.clone();
    problems.extend(rendered.problems.values().flatten().cloned());
    problems.extend(declared.problems(&catalog, &rendered));
    problems.sort();
    problems.dedup();
    Ok(CheckView { objects, rendered: rendered.forms.len(), empty: catalog.empty, problems })
}

/// Variants of apps whose charts ask something, for what is assumed of clusters.
fn assumed(asking: &Asking) -> Asked {
    let variants = |asks: &BTreeMap<Variant, Asks>| {
        asks.keys().map(|variant| variant.with(Capabilities::default())).collect()
    };
    asking.iter().map(|(app, asks)| (app.clone(), variants(asks))).collect()
}

/// The clusters that the catalog itself names, and what they shall run.
struct Declared {
    fleet: Fleet,
    wanted: Wanted,
}

impl Declared {
    fn of(catalog: &Catalog) -> Self {
        let declared = catalog.objects.keys().filter(|id| id.kind == Kind::Cluster);
        let names = declared.filter_map(|id| ClusterName::new(&id.name).ok());
        let member = Membership::default();
        let fleet = names.map(|name| (name.clone(), candidate(Some(catalog), &name, &member, 0))).collect();
        let decisions = decide::decide(catalog, &fleet, &decide::Memory::new(), decide::Moment::at(0));
        let wanted = decide::wanted(&decisions);
        Self { fleet, wanted }
    }

    /// The variants of these clusters; and every override by itself that none of them has: it has to fit as well.
    fn variants(&self, catalog: &Catalog) -> Asked {
        let mut asked =
            overrides::needed(catalog, &self.fleet, &self.wanted, &Asking::new(), &overrides::judged);
        for (app, variants) in &mut asked {
            for named in overrides::of_app(catalog, app) {
                let alone = overrides::variant(&[named]);
                let has = |variant: &Variant| variant.names().any(|name| *name == *named.0.object.id.name);
                if !variants.iter().any(has) {
                    variants.insert(alone);
                }
            }
        }
        asked
    }

    /// Objects that two apps define on one of them, objects whose replicas are divided and that are not there, and parameters
    /// that nobody sets. What operators and spokes would say of them is not known here.
    fn problems(&self, catalog: &Catalog, rendered: &Rendered) -> Vec<Problem> {
        let objects = |digest: &Digest| {
            let bundle = rendered.bundles.iter().find(|bundle| bundle.digest == *digest);
            bundle.map(|bundle| bundle.objects.clone())
        };
        let (shapes, lacking) = overrides::shapes(
            catalog,
            &self.fleet,
            &self.wanted,
            &rendered.forms,
            &rendered.asking,
            &overrides::judged,
        );
        let problem = |clash: Clash| {
            let object = &catalog.app(clash.other.name())?.0.object;
            Some(Problem::at(&object.origin, clash.to_string()).of(Some(&object.id)))
        };
        let clashes = Shared::of(&rendered.forms, objects).clashes(&self.wanted, &shapes);
        let of_git = |lacking: &Lacking| matches!(&lacking.lack, Lack::NoValue(name) | Lack::NoText(name) if name.starts_with("parameters."));
        let lacking: BTreeSet<Lacking> = lacking.into_iter().filter(of_git).collect();
        let nowhere = unset(catalog, &rendered.forms, &lacking);
        let lacks = lacks(catalog, &lacking).into_iter().map(Problem::warning);
        let missed = aims::missed(catalog, &rendered.forms, objects);
        clashes.into_iter().filter_map(problem).chain(lacks).chain(nowhere).chain(missed).collect()
    }
}

/// Parameters that no layer sets, where no cluster of the catalog shows it.
fn unset(catalog: &Catalog, forms: &Forms, shown: &BTreeSet<Lacking>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (app, variants) in forms {
        let Some((effective, _)) = catalog.app_of(app) else { continue };
        let uses = variants.values().flat_map(|form| overrides::unset(catalog, app, &form.uses));
        let lacks = uses.map(|name| Lack::NoValue(name.to_owned())).collect::<BTreeSet<Lack>>();
        let is_shown = |lack: &Lack| shown.iter().any(|lacking| lacking.app == *app && lacking.lack == *lack);
        for lack in lacks.into_iter().filter(|lack| !is_shown(lack)) {
            let object = &effective.object;
            let message = format!("no layer of this catalog sets it: {lack}");
            problems.push(Problem::at(&object.origin, message).of(Some(&object.id)).warning());
        }
    }
    problems
}

impl CheckView {
    fn is_good(&self) -> bool {
        !self.empty && !self.problems.iter().any(Problem::is_error)
    }
}

impl View for CheckView {
    fn text(&self, _: Style) -> String {
        let mut text: String = self.problems.iter().map(|problem| format!("{problem}\n")).collect();
        if self.problems.iter().any(Problem::is_error) {
            let _ = writeln!(text, "{CONSEQUENCE}");
        }
        if self.empty {
            text.push_str(
                "error: there is no catalog document (apiVersion nave.dev/v1alpha1) here; is --path right?\n",
            );
        }
        let errors =
            self.problems.iter().filter(|problem| problem.is_error()).count() + usize::from(self.empty);
        let warnings = self.problems.iter().filter(|problem| !problem.is_error()).count();
        let objects: usize = self.objects.values().sum();
        let apps = self.objects.get(&Kind::App).copied().unwrap_or(0);
        let _ = writeln!(
            text,
            "{}, {} of {} rendered: {}, {}",
            count(objects, "object", "objects"),
            self.rendered,
            count(apps, "app", "apps"),
            count(errors, "error", "errors"),
            count(warnings, "warning", "warnings"),
        );
        text
    }

    fn names(&self) -> Vec<String> {
        let mut files: Vec<String> = self.problems.iter().map(|problem| problem.file.to_string()).collect();
        files.dedup();
        files
    }
}

#[cfg(test)]
mod tests;
