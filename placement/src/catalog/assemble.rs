//! Assemble: the files of a commit become the catalog that is in effect.
//!
//! In: parsed files, the tree for what templates make of it, the last good form of every object. Out: a [`Catalog`].
//! Never: removes an object unless every file was understood and none of them may still mean it.

mod defined;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::candidates::is_configured;
use super::problems::{Position, Problem};
use super::{
    App, Catalog, CommitId, Document, Effective, FileKind, Kind, ObjectId, ParsedFile, Source, Spec, Tree,
    What, dependency, divisions, paths, references,
};
use crate::CatalogName;

pub(super) use defined::{Defined, Named};
pub use defined::{object_of, paths_of};

/// So often it is looked for apps that wait for each other.
const CIRCLES: usize = 3;

/// The last good form of every object.
pub type LastGood = BTreeMap<ObjectId, Effective>;

/// The parsed files of a commit by path.
pub type Files = BTreeMap<Arc<str>, Arc<ParsedFile>>;

/// Makes a catalog of parsed files. `root` is whether it is the root catalog, which alone may hold `Fleet`, `Cluster`,
/// `ClusterSet` and `Catalog`.
///
/// # Assumptions
/// `files` holds every candidate that may hold documents and every candidate that held an object of `last_good`; one
/// that could not be read stands there as [`ParsedFile::unread`] or [`ParsedFile::too_large`].
///
/// # Guarantees
/// An object of `last_good` is missing from the outcome only if no file was unreadable, and its own file is gone or was
/// read and holds nothing that may be the object, spoiled. What a template made is missing only if the template is gone, or
/// valid and its directory gone.
pub fn assemble(
    name: &CatalogName,
    commit: &CommitId,
    root: bool,
    tree: &Tree,
    files: &Files,
    last_good: &LastGood,
) -> Catalog {
    let documents: Vec<&Document> = files.values().flat_map(|file| &file.documents).collect();
    let mut assembly = Assembly {
        commit,
        root,
        tree,
        files,
        last_good,
        objects: BTreeMap::new(),
        taken: Vec::new(),
        named: Named::default(),
        problems: files.values().flat_map(|file| file.problems.clone()).collect(),
    };
    let ours: Vec<&Document> = documents.iter().copied().filter(|d| d.ours).collect();
    let (apps, others): (Vec<&Document>, Vec<&Document>) = ours.iter().partition(|d| is_app(d));
    let apps = assembly.define(&apps);
    assembly.named.ids.extend(others.iter().filter_map(|document| document.id.clone()));
    assembly.take(&apps);
    assembly.keep_absent(|id| id.kind == Kind::App);
    let others = assembly.without_manifests(others);
    let others = assembly.define(&others);
    assembly.take(&others);
    assembly.keep_absent(|id| id.kind != Kind::App);
    assembly.one_fleet();
    assembly.one_division();
    assembly.no_circle();
    assembly.known_grants();
    assembly.finish(name.clone(), ours.iter().all(|document| is_configured(&document.origin.file)))
}

fn is_app(document: &Document) -> bool {
    document.id.as_ref().is_some_and(|id| id.kind == Kind::App)
}

struct Assembly<'a> {
    commit: &'a CommitId,
    root: bool,
    tree: &'a Tree,
    files: &'a Files,
    last_good: &'a LastGood,
    objects: BTreeMap<ObjectId, Effective>,
    /// What is in effect as this commit's documents define it.
    taken: Vec<Defined<'a>>,
    named: Named<'a>,
    problems: Vec<Problem>,
}

impl<'a> Assembly<'a> {
    /// What documents that are ours define.
    fn define(&mut self, documents: &[&'a Document]) -> Vec<Defined<'a>> {
        let mut all = Vec::new();
        for document in documents {
            let defined::Definition { defined, problems, open } = defined::of(document, self.tree);
            self.named.ids.extend(defined.iter().map(|defined| defined.id.clone()));
            self.named.open.extend(open);
            self.problems.extend(problems);
            all.extend(defined);
        }
        all
    }

    /// Takes what is defined. What cannot be taken stays in the last good form.
    fn take(&mut self, defined: &[Defined<'a>]) {
        let mut by_id: BTreeMap<&ObjectId, Vec<&Defined<'a>>> = BTreeMap::new();
        for defined in defined {
            by_id.entry(&defined.id).or_default().push(defined);
        }
        for (id, defined) in by_id {
            match defined.as_slice() {
                _ if !self.root
                    && matches!(id.kind, Kind::Fleet | Kind::Cluster | Kind::ClusterSet | Kind::Catalog) =>
                {
                    let message = format!("kind {} exists only in the root catalog; move it there", id.kind);
                    let origins = defined.iter().map(|defined| &defined.document.origin);
                    self.problems.extend(origins.map(|origin| Problem::at(origin, &message).of(Some(id))));
                }
                [defined] if defined.object.is_some() => self.put(defined),
                [_] => self.keep(id),
                _ => {
                    self.report_duplicates(id, &defined);
                    self.keep(id);
                }
            }
        }
    }

    /// Puts a valid object. One whose content did not change keeps the commit that changed it last, in which its file has it: who has lost
    /// its form reads it there again.
    fn put(&mut self, defined: &Defined<'a>) {
        let Some(object) = defined.object.clone() else {
            return;
        };
        let same = |e: &&Effective| {
            let (was, is) = (&e.object, &object);
            was.labels == is.labels && was.spec == is.spec && was.origin.file == is.origin.file
        };
        let commit = self.last_good.get(&object.id).filter(same).map_or(self.commit, |e| &e.commit).clone();
        self.taken.push(defined.clone());
        self.objects.insert(object.id.clone(), Effective { object, commit });
    }

    /// Keeps the last good form, if there is one.
    fn keep(&mut self, id: &ObjectId) {
        if let Some(effective) = self.last_good.get(id) {
            self.objects.insert(id.clone(), effective.clone());
        }
    }

    fn report_duplicates(&mut self, id: &ObjectId, all: &[&Defined<'_>]) {
        let is_made = all.iter().any(|defined| defined.directory.is_some());
        let how = if is_made { "rename" } else { "remove" };
        for (i, defined) in all.iter().enumerate() {
            let message = format!("{}; {how} one of them", all[usize::from(i == 0)].place());
            self.problems.push(Problem::at(&defined.document.origin, message).of(Some(id)));
        }
    }

    /// Drops the documents that stand below an app's source: they are its manifests. Where an object would be lost by
    /// that, it is an error.
    fn without_manifests(&mut self, documents: Vec<&'a Document>) -> Vec<&'a Document> {
        let sources: Vec<(Arc<str>, Arc<str>)> = self
            .objects
            .values()
            .filter_map(|e| match &e.object.spec {
                // What a kustomization names is told by its files; no candidate lies in a chart.
                Spec::App(App { source: Source { remote: None, what: What::Path(path), .. }, .. }) => {
                    Some((path.clone(), e.object.id.name.clone()))
                }
                _ => None,
            })
            .collect();
        let source_of = |d: &Document| sources.iter().find(|(path, _)| paths::is_below(&d.origin.file, path));
        let (manifests, kept): (Vec<&Document>, Vec<&Document>) =
            documents.into_iter().partition(|d| source_of(d).is_some());
        let defined: BTreeSet<&ObjectId> = kept.iter().filter_map(|d| d.id.as_ref()).collect();
        for document in manifests {
            let Some((path, app)) = source_of(document) else { continue };
            let id = document.id.as_ref();
            let held = id.is_some_and(|id| self.last_good.contains_key(id) && !defined.contains(id));
            let shown = if path.is_empty() { "the repository's root" } else { path };
            let message = format!(
                "this document stands below {shown}, the source of App/{app}, and is none of the catalog's; move it out of there"
            );
            let problem = Problem::at(&document.origin, message).of(id);
            self.problems.push(if held { problem } else { problem.warning() });
        }
        kept
    }

    /// Keeps the objects of the last good revision that this commit does not plainly drop. What is dropped leaves
    /// nothing behind: no document of its name, no document in its file that may be it, no file that was not understood, no
    /// template that may make it.
    fn keep_absent(&mut self, concerned: impl Fn(&ObjectId) -> bool) {
        for (id, effective) in self.last_good {
            if !concerned(id) || self.objects.contains_key(id) || self.is_refused(id) {
                continue;
            }
            if self.named.has(id) {
                self.keep(id);
                continue;
            }
            if let Some(problem) = self.why_kept(id, &effective.object.origin.file) {
                self.problems.push(problem.of(Some(id)));
                self.keep(id);
            }
        }
    }

    /// An object that may not be in this catalog at all is not kept either.
    fn is_refused(&self, id: &ObjectId) -> bool {
        !self.root && matches!(id.kind, Kind::Fleet | Kind::Cluster | Kind::ClusterSet | Kind::Catalog)
    }

    /// Why an object that no document defines is not removed; `None` when it is.
    fn why_kept(&self, id: &ObjectId, file: &Arc<str>) -> Option<Problem> {
        const KEPT: &str = "its last good form stays in effect";
        let parsed = self.files.get(file);
        let is_it = |own: &ObjectId| own.kind == id.kind && own.means(&id.name);
        let spoiled = |d: &&Document| !d.ours && (d.stray || d.id.as_ref().is_some_and(is_it));
        if let Some(document) = parsed.and_then(|p| p.documents.iter().find(spoiled)) {
            let message = format!(
                "this document is no catalog object, but one stood in this file; {KEPT}: write apiVersion {} and its kind, or remove the document, or move it to another file",
                super::API_VERSION
            );
            return Some(Problem::at(&document.origin, message));
        }
        match self.tree.get(file).map(|entry| entry.kind) {
            Some(FileKind::Symlink) => {
                let message = format!(
                    "this file is now a symbolic link, which is not followed; {KEPT}: put the file itself here"
                );
                return Some(Problem::error(file, Position::START, message));
            }
            Some(_) if parsed.is_none() => {
                let message = format!(
                    "the file that held it is now ignored, in a Helm chart or outside the catalog's directory; {KEPT}: remove the document to remove the object"
                );
                return Some(Problem::error(file, Position::START, message));
            }
            _ => {}
        }
        let (unreadable, parsed) = self.files.iter().find(|(_, parsed)| parsed.unreadable)?;
        let first = parsed.problems.iter().min();
        let at = first.map_or(Position::START, |p| Position { line: p.line, column: p.column });
        let message = format!(
            "no document defines it any more, but it could stand in this file, which cannot be read; {KEPT} until it can"
        );
        Some(Problem::error(unreadable, at, message).warning())
    }

    /// At most one `Fleet`: of several, the one that was in effect before stays as it was.
    fn one_fleet(&mut self) {
        let fleets: Vec<ObjectId> =
            self.objects.keys().filter(|id| id.kind == Kind::Fleet).cloned().collect();
        if fleets.len() < 2 {
            return;
        }
        let origins: Vec<_> = fleets.iter().map(|id| self.objects[id].object.origin.clone()).collect();
        for (i, id) in fleets.iter().enumerate() {
            let other = usize::from(i == 0);
            let message = format!(
                "{} at {}:{} is a Fleet too, there is at most one; remove one of them",
                fleets[other],
                origins[other].file,
                origins[other].position()
            );
            self.problems.push(Problem::at(&origins[i], message).of(Some(id)));
            self.objects.remove(id);
            self.taken.retain(|defined| defined.id != *id);
        }
        if let Some(before) = fleets.iter().find(|id| self.last_good.contains_key(*id)) {
            self.keep(before);
        }
    }

    /// Placements that divide the replicas of one app differently: all of them stay as they were before.
    fn one_division(&mut self) {
        for (id, message) in divisions::contradictions(&self.objects) {
            let origin = self.objects[&id].object.origin.clone();
            self.problems.push(Problem::at(&origin, message).of(Some(&id)));
            self.as_before(&id);
        }
    }

    /// Apps that wait for each other: all of them stay as they were before.
    fn no_circle(&mut self) {
        // What they were before may make another one with what others are now.
        for _ in 0..CIRCLES {
            let circles = dependency::circles(&self.objects);
            if circles.is_empty() {
                return;
            }
            for (id, message) in circles {
                let origin = self.objects[&id].object.origin.clone();
                self.problems.push(Problem::at(&origin, message).of(Some(&id)));
                self.as_before(&id);
            }
        }
        // It comes of what the fleet says of all.
        let fleets = self.objects.keys().filter(|id| id.kind == Kind::Fleet).cloned();
        fleets.collect::<Vec<_>>().iter().for_each(|id| self.as_before(id));
    }

    /// A grant of sets that are not there would withdraw what was granted: such a `Catalog` stays as it was before.
    fn known_grants(&mut self) {
        let is_there = |set: &String| {
            let id = ObjectId { kind: Kind::ClusterSet, name: set.as_str().into() };
            self.objects.contains_key(&id) || self.named.has(&id)
        };
        let lacks = |effective: &Effective| {
            let Spec::Catalog(tenant) = &effective.object.spec else { return None };
            let lacking: Vec<String> = tenant.sets().into_iter().filter(|set| !is_there(set)).collect();
            (!lacking.is_empty()).then(|| (effective.object.clone(), lacking.join(", ")))
        };
        let lacking: Vec<_> = self.objects.values().filter_map(lacks).collect();
        for (object, sets) in lacking {
            // One that is in effect since before may name a set that is gone: its grants stay as they are.
            if self.taken.iter().any(|defined| defined.id == object.id) {
                let message = format!(
                    "spec.grants: there is no ClusterSet {sets}; add it, or correct the name: until then the last valid grants stay"
                );
                self.problems.push(Problem::at(&object.origin, message).of(Some(&object.id)));
                self.as_before(&object.id);
            }
        }
    }

    /// An object stays as it was before.
    fn as_before(&mut self, id: &ObjectId) {
        self.objects.remove(id);
        self.taken.retain(|defined| defined.id != *id);
        self.keep(id);
    }

    fn finish(self, name: CatalogName, empty: bool) -> Catalog {
        let Self { commit, root, tree, objects, taken, named, mut problems, .. } = self;
        let (problems_yet, tenants) = (Vec::new(), BTreeMap::new());
        let mut catalog =
            Catalog { name, commit: commit.clone(), objects, problems: problems_yet, empty, tenants };
        problems.extend(references::check(&catalog, &taken, &named, root, tree));
        problems.sort();
        problems.dedup();
        catalog.problems = problems;
        catalog
    }
}
