//! A plan as text, for people.
//!
//! In: a [`PlanView`]. Out: what would stop it first, then app by app. Never: leaves out an app, a hold or a problem.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use nave_placement::ClusterName;

use super::super::status::count;
use super::super::table::{Cell, Colour};
use super::live::lines;
use crate::planning::view::{
    AppPlan, CatalogChange, CatalogPlan, Change, FieldChange, HoldPlan, Moved, Moves, ObjectChange,
    ObjectPlan, PlanView, Summary, WavePlan,
};

/// Names of clusters that are shown where there are more.
const NAMED: usize = 5;

/// Why an entry goes of which no placement says anything.
const KEPT: &str = "no placement chose it before either: it was kept for another reason, which is over";

/// The text.
pub fn text(view: &PlanView, is_coloured: bool) -> String {
    let mut page = Page { text: String::new(), is_coloured };
    page.line(0, None, &head(view));
    if let Some(obstacle) = &view.obstacle {
        page.line(0, Some(Colour::Yellow), obstacle);
    }
    for hold in &view.holds {
        page.line(0, Some(Colour::Red), &held(hold));
        page.line(1, None, &format!("to let it go: {}", hold.allow.join(", or ")));
    }
    for problem in &view.problems {
        let colour = if problem.is_error() { Colour::Red } else { Colour::Yellow };
        page.line(0, Some(colour), &problem.to_string());
    }
    for plan in &view.catalogs {
        let colour = match plan.change {
            CatalogChange::Added => Colour::Green,
            CatalogChange::Changed => Colour::Yellow,
            CatalogChange::Removed => Colour::Red,
        };
        page.line(0, Some(colour), &catalog(plan));
        for line in said(plan) {
            page.line(2, None, &line);
        }
    }
    for app in &view.apps {
        page.app(app);
    }
    page.text
}

/// A catalog in a line.
pub fn catalog(plan: &CatalogPlan) -> String {
    let (mark, word) = match plan.change {
        CatalogChange::Added => ("+", "is new"),
        CatalogChange::Changed => ("~", "changes"),
        CatalogChange::Removed => ("-", "is named no more"),
    };
    format!("{mark} catalog {} {word}: {}", plan.catalog, plan.message)
}

/// What is said of a catalog, a line each.
pub fn said(plan: &CatalogPlan) -> Vec<String> {
    let line = |field: &FieldChange| match (plan.change, &field.to) {
        (CatalogChange::Added, Some(value)) => Some(format!("{}: {value}", field.name)),
        (CatalogChange::Changed, _) => Some(field_change(field)),
        (CatalogChange::Added | CatalogChange::Removed, _) => None,
    };
    plan.fields.iter().filter_map(line).collect()
}

fn field_change(field: &FieldChange) -> String {
    let side =
        |value: &Option<serde_json::Value>| value.as_ref().map_or("none".to_owned(), ToString::to_string);
    format!("{}: {} → {}", field.name, side(&field.from), side(&field.to))
}

/// What is planned, and all of it in numbers.
pub fn head(view: &PlanView) -> String {
    let what = view.commit.as_ref().map_or("these files", |commit| commit.short());
    let numbers = numbers(&view.summary);
    format!("plan of {what} against {}: {numbers}", view.base.short())
}

fn numbers(summary: &Summary) -> String {
    let Summary { changes, gained, lost, changed, stays, apps, catalogs, clusters, held, errors, warnings } =
        *summary;
    let mut parts = vec![match changes {
        0 if catalogs > 0 || apps > 0 => "no entry changes".to_owned(),
        0 => "nothing changes".to_owned(),
        1 => "1 entry changes".to_owned(),
        _ => {
            let kinds = [(gained, "gained"), (lost, "lost"), (changed, "changed")];
            let kinds = kinds.iter().filter(|(number, _)| *number > 0);
            let kinds: Vec<String> = kinds.map(|(number, word)| format!("{number} {word}")).collect();
            let on = count(clusters, "cluster", "clusters");
            format!("{changes} entries change on {on} ({})", kinds.join(", "))
        }
    }];
    let more = [
        (stays, format!("{} as before", count(stays, "entry stays", "entries stay"))),
        (
            catalogs,
            format!("{catalogs} {}", if catalogs == 1 { "catalog changes" } else { "catalogs change" }),
        ),
        (held, count(held, "hold", "holds")),
        (errors, count(errors, "new error", "new errors")),
        (warnings, count(warnings, "new warning", "new warnings")),
    ];
    parts.extend(more.into_iter().filter(|(number, _)| *number > 0).map(|(_, words)| words));
    parts.join("; ")
}

/// A hold in a line.
pub fn held(hold: &HoldPlan) -> String {
    format!("held {}: {}", hold.id, hold.message)
}

/// How an app moves; nothing, where its waves say it.
pub fn moves(app: &AppPlan) -> Option<&'static str> {
    match app.moves {
        Moves::InWaves => None,
        Moves::NotYet => Some("nothing of it moves yet"),
        Moves::AtOnce => Some("at once, on all of these clusters"),
        Moves::UnderWay => Some("with the rollout that is under way"),
        Moves::FirstInstallation => Some("at once, since it is a first installation"),
    }
}

/// Clusters that stay as they are though something is on its way to them.
pub fn stays(app: &AppPlan) -> String {
    format!("{} stay as they are: what is on its way there does not come", clusters(&app.stays))
}

/// Clusters that it leaves in the waves that begin, and does not leave by this.
pub fn leaving(app: &AppPlan) -> String {
    format!("{} left in these waves, as is in effect already", clusters(&app.leaving))
}

/// A wave in a line.
pub fn wave(wave: &WavePlan) -> String {
    let waits: Vec<&str> = wave.waits_for.iter().map(|waits| waits.message.as_str()).collect();
    let waits = if waits.is_empty() { String::new() } else { format!("; waits for: {}", waits.join(", ")) };
    format!("wave {}: {}{waits}", wave.name, clusters(&wave.clusters))
}

/// `2 clusters (a, b)`.
pub fn clusters(names: &[ClusterName]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut shown: Vec<&str> = names[..names.len() - more].iter().map(|name| name.as_str()).collect();
    if more > 0 {
        shown.push("…");
    }
    format!("{} ({})", count(names.len(), "cluster", "clusters"), shown.join(", "))
}

/// Clusters that come or go, those with the same reason together, most first.
pub fn by_reason(moved: &[Moved]) -> Vec<(String, Vec<ClusterName>)> {
    let mut by: BTreeMap<String, Vec<ClusterName>> = BTreeMap::new();
    for Moved { cluster, why } in moved {
        let words: Vec<&str> = why.iter().map(|why| why.message.as_str()).collect();
        let words = if words.is_empty() { KEPT.to_owned() } else { words.join("; ") };
        by.entry(words).or_default().push(cluster.clone());
    }
    let mut rows: Vec<_> = by.into_iter().collect();
    rows.sort_by_key(|(_, clusters)| std::cmp::Reverse(clusters.len()));
    rows
}

/// An object in a line.
pub fn object(plan: &ObjectPlan) -> String {
    let ObjectPlan { group, kind, namespace, name, .. } = plan;
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
    let note = if plan.change == ObjectChange::Left { ", which stays on the cluster" } else { "" };
    format!("{} {kind}{group} {namespace}{name}{note}", mark(plan.change))
}

fn mark(change: ObjectChange) -> &'static str {
    match change {
        ObjectChange::Created => "+",
        ObjectChange::Changed => "~",
        ObjectChange::Deleted | ObjectChange::Left => "-",
        ObjectChange::Unknown => "?",
    }
}

/// What else of a change than objects there is, a line each.
pub fn fields(change: &Change) -> Vec<String> {
    let field = |word: &str, field: &FieldChange| format!("{word} {}", field_change(field));
    let options = change.options.iter().map(|option| field("option", option));
    let values = change.values.iter().map(|value| field("value", value));
    let replicas = change.replicas.iter().map(|replicas| field("replicas of", replicas));
    let lacks = change.not_compared.iter().map(|why| format!("no objects: {why}"));
    options.chain(values).chain(replicas).chain(lacks).collect()
}

/// Lines, with colours on a terminal.
struct Page {
    text: String,
    is_coloured: bool,
}

impl Page {
    fn line(&mut self, depth: usize, colour: Option<Colour>, text: &str) {
        let cell = Cell::verbatim(text).paint(colour.filter(|_| self.is_coloured));
        let _ = writeln!(self.text, "{:1$}{cell}", "", depth * 2);
    }

    fn app(&mut self, app: &AppPlan) {
        let name = &app.app;
        for (why, moved) in by_reason(&app.gained) {
            self.line(0, Some(Colour::Green), &format!("+ {name}: {} gained: {why}", clusters(&moved)));
        }
        for (why, moved) in by_reason(&app.lost) {
            self.line(0, Some(Colour::Red), &format!("- {name}: {} lost: {why}", clusters(&moved)));
        }
        if !app.stays.is_empty() {
            self.line(0, Some(Colour::Yellow), &format!("= {name}: {}", stays(app)));
        }
        if !app.leaving.is_empty() {
            self.line(0, Some(Colour::Red), &format!("- {name}: {}", leaving(app)));
        }
        for change in &app.changed {
            let changed = format!("~ {name}: {} changed", clusters(&change.clusters));
            self.line(0, Some(Colour::Yellow), &changed);
            self.change(change);
        }
        for change in app.installed.iter().chain(&app.removed) {
            let word = if change.to.is_some() { "what comes" } else { "what goes" };
            self.line(1, None, &format!("{word} on {}:", clusters(&change.clusters)));
            self.change(change);
        }
        let is_there = !(app.gained.is_empty() && app.lost.is_empty() && app.changed.is_empty());
        if !is_there && app.stays.is_empty() {
            let what = match &app.rollout {
                Some(_) => "what is on its way begins anew",
                None => "nothing changes yet",
            };
            self.line(0, None, &format!("  {name}: {what}"));
        }
        if let Some(rollout) = &app.rollout {
            self.line(1, None, &format!("rollout {} ({:?}):", rollout.id, rollout.cause));
        }
        for planned in &app.waves {
            self.line(2, None, &wave(planned));
        }
        for wait in &app.waits {
            let clusters = clusters(&wait.clusters);
            self.line(1, Some(Colour::Yellow), &format!("waits: {clusters}: {}", wait.message));
        }
        if let Some(moves) = moves(app).filter(|_| is_there) {
            self.line(1, None, moves);
        }
        for hold in &app.holds {
            self.line(1, Some(Colour::Red), &format!("held by {}", hold.id));
        }
    }

    fn change(&mut self, change: &Change) {
        for object_plan in &change.objects {
            let colour = match object_plan.change {
                ObjectChange::Created => Colour::Green,
                ObjectChange::Changed | ObjectChange::Unknown => Colour::Yellow,
                ObjectChange::Deleted | ObjectChange::Left => Colour::Red,
            };
            self.line(2, Some(colour), &object(object_plan));
            for line in object_plan.diff.lines() {
                let colour = match line.as_bytes().first() {
                    Some(b'+') => Some(Colour::Green),
                    Some(b'-') => Some(Colour::Red),
                    _ => None,
                };
                self.line(3, colour, line);
            }
        }
        for field in fields(change) {
            self.line(2, None, &field);
        }
        for (depth, line) in lines(change) {
            let colour = line.starts_with('!').then_some(Colour::Red);
            self.line(2 + depth, colour, &line);
        }
    }
}
