//! A story's world: the words of its lines become a fleet, a catalog, a decision.
//!
//! In: text. Out: the same text with what really came of each line. Never: decides; it calls the stages in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use nave_placement::assign::{
    AllRules, AppForm, Cause, Codec, EncodedEntry, EncodedRelations, EncodedSchedule, Entry, Epoch, Inputs,
    Member, Options, ShareOut, Told, assign, survey,
};
use nave_placement::catalog::{CommitId, OnRemove, Treatment};
use nave_placement::decide::Wanted;
use nave_placement::guard::{Allowance, Approval, Guarded, Hold, PastLoss, Question, judge};
use nave_placement::overrides::Shapes;
use nave_placement::report::{EntryReason, EntryReport, EntryState, Report};
use nave_placement::{AppKey, ClusterName, Digest, Fingerprints, ObjectKey, check};

/// An app as the newest commit has it.
#[derive(Clone, Default)]
struct App {
    objects: BTreeSet<String>,
    formerly: BTreeSet<AppKey>,
    env: Option<String>,
    orphan: bool,
    broken: bool,
}

/// Entries as JSON, bundles by their digest.
#[derive(Clone, Default)]
pub struct Books(pub BTreeMap<Digest, Arc<BTreeSet<ObjectKey>>>);

impl Codec for Books {
    fn encode(&self, entry: &Entry) -> EncodedEntry {
        let parts = (
            (entry.bundle, &entry.values, &entry.options, entry.version),
            (&entry.commit, entry.objects, entry.drops, &entry.drops_cause, &entry.drops_of),
        );
        EncodedEntry::new(serde_json::to_vec(&parts).expect("the story says so"))
    }

    fn decode(&self, entry: &EncodedEntry) -> Option<Entry> {
        let ((bundle, values, options, version), (commit, objects, drops, drops_cause, drops_of)) =
            serde_json::from_slice(&entry.bytes).ok()?;
        Some(Entry {
            bundle,
            values,
            options,
            version,
            commit,
            objects,
            drops,
            drops_cause,
            drops_of,
            at_once: false,
            source_at: None,
        })
    }

    fn objects(&self, bundle: &Digest) -> Option<Arc<BTreeSet<ObjectKey>>> {
        self.0.get(bundle).cloned()
    }
}

/// Everything between two lines.
#[derive(Clone, Default)]
pub struct World {
    clusters: BTreeMap<ClusterName, String>,
    emptied: BTreeMap<ClusterName, String>,
    apps: BTreeMap<AppKey, App>,
    forms: BTreeMap<AppKey, AppForm>,
    pub books: Books,
    pub told: BTreeMap<ClusterName, Arc<Told>>,
    pub reports: BTreeMap<ClusterName, Report>,
    pub shares: ShareOut,
    window: Vec<PastLoss>,
    holds: Vec<Hold>,
    approvals: Vec<Approval>,
    guarded: Guarded,
    rules: AllRules,
    commit: String,
    now_ms: u64,
}

/// What a step looked at and made, for the checker.
pub struct Made {
    pub previous: BTreeMap<ClusterName, Arc<Told>>,
    pub next: BTreeMap<ClusterName, Told>,
    pub wanted: Wanted,
    pub forms: Shapes,
    pub reports: BTreeMap<ClusterName, Report>,
    pub emptied: BTreeMap<ClusterName, String>,
    pub approvals: Vec<Approval>,
    pub guarded: Guarded,
    pub window: Vec<PastLoss>,
    pub now_ms: u64,
    pub books: Books,
    pub shares: ShareOut,
    pub rules: AllRules,
    pub groups: BTreeMap<AppKey, String>,
}

impl Made {
    /// What the checker says of it.
    pub fn violations(&self) -> Vec<check::Violation> {
        check::assignment(&check::Change {
            previous: &self.previous,
            next: &self.next,
            wanted: &self.wanted,
            forms: &self.forms,
            groups: &self.groups,
            stays: &BTreeSet::new(),
            shares: &self.shares,
            rules: &self.rules,
            reports: &self.reports.iter().map(|(name, report)| (name.clone(), report)).collect(),
            emptied: &self.emptied,
            approvals: &self.approvals,
            guarded: &self.guarded,
            window: &self.window,
            now_ms: self.now_ms,
            codec: &self.books,
        })
    }
}

/// Tells a story again as it really goes.
pub fn play(told: &str) -> String {
    let mut world = World { now_ms: 1_000_000_000, ..World::default() };
    let mut went = String::new();
    for line in told.lines().filter(|line| !line.starts_with('>')) {
        went.push_str(line);
        went.push('\n');
        let came = match line.split_once('#').map_or(line, |(line, _)| line).trim() {
            "" => String::new(),
            line => world.line(line),
        };
        came.lines().for_each(|line| writeln!(went, "> {line}").expect("a string takes it"));
    }
    went
}

fn cluster(name: &str) -> ClusterName {
    name.parse().expect("a valid name")
}

fn app(name: &str) -> AppKey {
    name.parse().expect("a valid name")
}

/// `o1..o12` or `a`.
fn objects(word: &str) -> Vec<String> {
    let Some((from, to)) = word.split_once("..") else { return vec![word.to_owned()] };
    let number = |word: &str| word.trim_start_matches(char::is_alphabetic).parse::<u32>().expect("a number");
    let stem = from.trim_end_matches(char::is_numeric);
    (number(from)..=number(to)).map(|n| format!("{stem}{n}")).collect()
}

fn object(name: &str) -> ObjectKey {
    ObjectKey {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: "default".into(),
        name: name.to_owned(),
    }
}

impl World {
    /// Plays one line; returns what came of it.
    pub fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["cluster", name, env] => self.clusters.insert(cluster(name), env.into()).map(|_| self.step(&[])),
            ["clusters", from, env] => {
                objects(from).iter().for_each(|name| drop(self.clusters.insert(cluster(name), env.into())));
                None
            }
            ["app", name, ref words @ ..] => {
                self.app(name, words);
                None
            }
            ["remove", "app", name] => {
                self.apps.remove(&app(name));
                None
            }
            ["window", name, ref cron @ ..] => {
                let schedule = EncodedSchedule(cron.join(" ").into_bytes().into());
                self.rules.entry(cluster(name)).or_default().schedule = schedule;
                Some(self.step(&[]))
            }
            ["relations", name, ref words @ ..] => {
                let relations = EncodedRelations(words.join(" ").into_bytes().into());
                self.rules.entry(cluster(name)).or_default().relations = relations;
                Some(self.step(&[]))
            }
            ["protect", "app", name] => {
                self.guarded.apps.insert(app(name));
                None
            }
            ["protect", "cluster", name] => {
                self.guarded.clusters.insert(cluster(name));
                None
            }
            ["commit", id, ref trailers @ ..] => {
                self.commit = format!("{id:0<8}");
                let commit = CommitId(self.commit.as_str().into());
                let allow = |trailer: &&str| Allowance::parse(&commit, trailer).expect("the story says so");
                Some(self.step(&trailers.iter().flat_map(allow).collect::<Vec<_>>()))
            }
            ["decide"] => Some(self.step(&[])),
            ["empty", name, by] => {
                self.emptied.insert(cluster(name), by.into());
                Some(self.step(&[]))
            }
            ["revoke", name] => {
                self.clusters.remove(&cluster(name));
                Some(self.step(&[]))
            }
            ["minutes", count] => {
                self.now_ms += count.parse::<u64>().expect("a number") * 60_000;
                None
            }
            ["approve", ref cause @ ..] => {
                let cause = cause.join(" ");
                let about = |hold: &&Hold| format!("{hold}").contains(&cause);
                let hold = self.holds.iter().find(about).cloned().expect("such a hold");
                self.approvals.push(Approval { hold, by: "ann".into() });
                Some(self.step(&[]))
            }
            ["report", name, ref words @ ..] => {
                self.report(&cluster(name), words);
                None
            }
            _ => panic!("not understood: {line}"),
        }
        .unwrap_or_default()
    }

    fn app(&mut self, name: &str, words: &[&str]) {
        let mut made = App::default();
        for word in words {
            match word.split_once('=') {
                Some(("env", env)) => made.env = Some(env.into()),
                Some(("formerly", name)) => drop(made.formerly.insert(app(name))),
                _ if *word == "orphan" => made.orphan = true,
                _ if *word == "broken" => made.broken = true,
                _ => made.objects.extend(objects(word)),
            }
        }
        self.apps.insert(app(name), made);
    }

    /// `report c1 applied web left old refused shop=s2..s4`: of the newest that it was told, and what it would delete.
    fn report(&mut self, name: &ClusterName, words: &[&str]) {
        let told = self.told[name].assignment.clone();
        let mut report = Report { epoch: told.epoch, generation: told.generation, ..Report::default() };
        for pair in words.chunks(2) {
            let (named, asked) = pair[1].split_once('=').map_or((pair[1], None), |(n, o)| (n, Some(o)));
            let key = app(named);
            if pair[0] == "left" {
                report.left.insert(key);
                continue;
            }
            let entry = told.entries.get(&key).map(|e| self.books.decode(e).expect("the story says so"));
            let refused = pair[0] == "refused";
            let number = entry.as_ref().map_or(0, |entry| entry.objects);
            let of = |asked: &str| {
                let objects: Vec<ObjectKey> = objects(asked).iter().map(|name| object(name)).collect();
                Fingerprints::of(objects.iter().map(|object| (&key, object)))
            };
            let said = EntryReport {
                version: entry.as_ref().filter(|_| !refused).map(|entry| entry.version),
                state: if refused { EntryState::Failed } else { EntryState::Healthy },
                reason: if refused { EntryReason::PruneRefused } else { EntryReason::None },
                message: String::new(),
                objects: number,
                healthy: number,
                unhealthy: Vec::new(),
                corrected: 0,
                drifted: 0,
                notes: Vec::new(),
                asks: asked.map(of),
                digest: Digest::default(),
            };
            let entries = if entry.is_some() { &mut report.entries } else { &mut report.leaving };
            entries.insert(key, said.seal());
        }
        self.reports.insert(name.clone(), report);
    }

    fn render(&mut self) {
        let commit = CommitId(self.commit.as_str().into());
        for (name, app) in &self.apps {
            if app.broken {
                continue;
            }
            let objects: BTreeSet<ObjectKey> = app.objects.iter().map(|name| object(name)).collect();
            let bundle = Digest::of(format!("{objects:?}").as_bytes());
            self.books.0.insert(bundle, Arc::new(objects));
            let on_remove = if app.orphan { OnRemove::Orphan } else { OnRemove::Delete };
            let formerly = app.formerly.clone();
            let options = Options {
                namespace: None,
                prune: true,
                on_remove,
                formerly,
                substitute: false,
                treatment: Treatment::default(),
                share: None,
                grant: None,
            };
            let version = Entry::recipe(bundle, &BTreeMap::new(), &options);
            if self.forms.get(name).is_none_or(|form| form.version != version) {
                let form = AppForm {
                    bundle,
                    options,
                    version,
                    commit: commit.clone(),
                    source_at: None,
                    values: BTreeMap::new(),
                };
                self.forms.insert(name.clone(), form);
            }
        }
        self.forms.retain(|name, _| self.apps.contains_key(name));
    }

    fn step(&mut self, allowances: &[Allowance]) -> String {
        let made = self.decide(allowances);
        let mut said = String::new();
        for (name, told) in &made.next {
            self.tell(&mut said, name, &self.told[name], told);
        }
        for hold in &self.holds {
            writeln!(said, "held: {hold}").expect("a string takes it");
        }
        let next = made.next.iter().map(|(name, told)| (name.clone(), Arc::new(told.clone())));
        self.told.extend(next);
        if said.is_empty() { "nothing changes".into() } else { said }
    }

    /// One pass through the stages; nothing is told yet.
    pub fn decide(&mut self, allowances: &[Allowance]) -> Made {
        self.render();
        let place = |(name, env): (&ClusterName, &String)| {
            let here =
                self.apps.iter().filter(|(_, app)| app.env.as_ref().is_none_or(|wanted| wanted == env));
            let placement: BTreeSet<Arc<str>> = BTreeSet::from(["all".into()]);
            (name.clone(), here.map(|(app, _)| (app.clone(), placement.clone())).collect())
        };
        let wanted: Wanted = self.clusters.iter().map(place).collect();
        for name in self.clusters.keys() {
            self.told.entry(name.clone()).or_insert_with(|| Arc::new(Told::nothing(Epoch(1))));
        }
        let previous: BTreeMap<ClusterName, Arc<Told>> =
            self.clusters.keys().map(|name| (name.clone(), self.told[name].clone())).collect();
        let member = |(name, told): (&ClusterName, &Arc<Told>)| {
            let emptied_by = self.emptied.get(name).cloned();
            (name.clone(), Member { told: told.clone(), report: self.reports.get(name), emptied_by })
        };
        let members = previous.iter().map(member).collect();
        let cause = Cause::Revision { commit: CommitId(self.commit.as_str().into()) };
        let books = self.books.clone();
        let forms: Shapes = self.forms.clone().into_iter().collect();
        let inputs = Inputs {
            wanted: &wanted,
            apps: &forms,
            shares: &self.shares,
            rules: &self.rules,
            members: &members,
            now_ms: self.now_ms,
            cause: &|_| cause.clone(),
            was_well: &|_, _, _, _| false,
            codec: &books,
        };
        let survey = survey(&inputs);
        let verdict = judge(&Question {
            losses: &survey.losses,
            counts: &survey.counts,
            guarded: &self.guarded,
            window: &self.window,
            now_ms: self.now_ms,
            approvals: &self.approvals,
            allowances,
        });
        let next = assign(&inputs, &survey, &verdict);
        self.approvals.extend(verdict.used.iter().cloned());
        self.holds.clone_from(&verdict.holds);
        let made = Made {
            previous,
            next,
            wanted,
            shares: self.shares.clone(),
            rules: self.rules.clone(),
            groups: BTreeMap::new(),
            forms,
            reports: self.reports.clone(),
            emptied: self.emptied.clone(),
            approvals: self.approvals.clone(),
            guarded: self.guarded.clone(),
            window: self.window.clone(),
            now_ms: self.now_ms,
            books,
        };
        let unasked = verdict.entries.iter().filter(|(_, cause)| matches!(cause, Cause::Revision { .. }));
        let loss = |(app, cluster): &(AppKey, ClusterName)| PastLoss {
            at_ms: self.now_ms,
            app: app.clone(),
            cluster: cluster.clone(),
        };
        self.window.extend(unasked.map(|(key, _)| loss(key)));
        assert_eq!(made.violations(), Vec::new());
        made
    }

    fn tell(&self, said: &mut String, name: &ClusterName, before: &Told, after: &Told) {
        let (was, is) = (&before.assignment, &after.assignment);
        write!(said, "{name} {}.{}:", is.epoch.0, is.generation.0).expect("the story says so");
        if was.schedule != is.schedule {
            let window = String::from_utf8_lossy(&is.schedule.0);
            write!(said, " window {window}").expect("a string takes it");
        }
        if was.relations != is.relations {
            let relations = String::from_utf8_lossy(&is.relations.0);
            write!(said, " relations {relations}").expect("a string takes it");
        }
        for (app, entry) in &is.entries {
            if was.entries.get(app) == Some(entry) {
                continue;
            }
            let sign = if was.entries.contains_key(app) { "~" } else { "+" };
            let entry = self.books.decode(entry).expect("the story says so");
            write!(said, " {sign}{app}({} objects", entry.objects).expect("the story says so");
            if entry.drops > 0 {
                write!(
                    said,
                    ", may drop {} by {}",
                    entry.drops,
                    cause(entry.drops_cause.as_ref().expect("the story says so"))
                )
                .expect("the story says so");
            }
            if entry.drops_of.is_some() {
                said.push_str(", only these");
            }
            said.push(')');
        }
        for app in was.entries.keys().filter(|app| !is.entries.contains_key(*app)) {
            write!(said, " -{app}").expect("the story says so");
        }
        for (app, leaving) in is.leaving.iter().filter(|(app, _)| !was.leaving.contains_key(*app)) {
            let by = cause(&leaving.cause);
            write!(said, " leaving {app}({:?} at most {} by {by})", leaving.policy, leaving.objects)
                .expect("the story says so");
        }
        for (app, leaving) in &is.leaving {
            if leaving.drops_of.is_some() && was.leaving.get(app).is_some_and(|before| before != leaving) {
                write!(said, " ~leaving {app}(at most {}, only these)", leaving.objects)
                    .expect("the story says so");
            }
        }
        for app in was.leaving.keys().filter(|app| !is.leaving.contains_key(*app)) {
            write!(said, " done {app}").expect("the story says so");
        }
        said.push('\n');
    }
}

fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Revision { commit } => format!("commit {}", commit.short().trim_end_matches('0')),
        Cause::Labels => "labels".into(),
        Cause::Operator { by } => format!("operator {by}"),
        Cause::Approved { by, .. } => format!("approval of {}", by.trim_end_matches('0')),
    }
}
