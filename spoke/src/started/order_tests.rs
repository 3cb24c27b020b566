//! In which order changes begin, as stories: what happens, what runs then, who waits and why.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::assign::Entry;
use nave_placement::catalog::Until;
use nave_placement::relations::{First, Relations};
use nave_placement::report::EntryReason;
use nave_placement::{AppKey, Digest, ObjectKey};
use nave_proto::decode_entry;

use super::order::{Memory, Met, Stand, Step, step};
use super::tests::{accepted, entries};
use super::{Started, Wait};

fn app(name: &str) -> AppKey {
    name.parse().expect("a name")
}

/// `web<db,net'` and `shop=web,api`: web waits for db to be healthy and for net to be applied; web and api are a group. `web<db!`:
/// db shall not run here, and that is a failure.
fn relations(words: &str) -> Relations {
    let mut relations = Relations::default();
    let first = |word: &str| First {
        app: app(word.trim_end_matches(['\'', '!'])),
        until: if word.ends_with('\'') { Until::Applied } else { Until::Healthy },
        is_missing: word.ends_with('!'),
    };
    for word in words.split_whitespace() {
        if let Some((group, apps)) = word.split_once('=') {
            relations.groups.insert(group.to_owned(), apps.split(',').map(app).collect());
        } else if let Some((name, of)) = word.split_once('<') {
            relations.first.insert(app(name), of.split(',').map(first).collect());
        }
    }
    relations
}

/// A spoke, as far as order goes.
struct Story {
    started: Started,
    memory: Memory,
    accepted: String,
    relations: Relations,
    doing: BTreeMap<AppKey, Met>,
    since: BTreeMap<AppKey, u64>,
    missing: BTreeSet<Digest>,
    /// The objects of versions; of others none.
    objects: BTreeMap<Digest, BTreeSet<ObjectKey>>,
    is_closed: bool,
    is_empty: bool,
    now_ms: u64,
}

const MINUTE: u64 = 60_000;

impl Story {
    fn new(runs: &str, rules: &str) -> Self {
        let doing = |word: &str| {
            let (name, version) = word.split_once('=').expect("an app and its version");
            (app(name), Met { version: Digest::of(version.as_bytes()), healthy: true })
        };
        Self {
            started: Started { entries: entries(runs), is_all: true },
            memory: Memory::default(),
            accepted: runs.to_owned(),
            relations: relations(rules),
            doing: runs.split_whitespace().map(doing).collect(),
            since: ["web", "api", "db", "new", "free"].map(|name| (app(name), 0)).into(),
            missing: BTreeSet::new(),
            objects: BTreeMap::new(),
            is_closed: false,
            is_empty: runs.is_empty(),
            now_ms: 1_795_900_000_000,
        }
    }

    fn happens(&mut self, what: &str) {
        let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
        let mut says = |healthy| {
            for word in rest.split_whitespace() {
                let (name, version) = word.split_once('=').expect("an app and its version");
                self.doing.insert(app(name), Met { version: Digest::of(version.as_bytes()), healthy });
            }
        };
        match verb {
            "accept" => rest.clone_into(&mut self.accepted),
            "relate" => self.relations = relations(rest),
            "healthy" => says(true),
            "applied" => says(false),
            "restarts" => {
                self.doing.clear();
                self.since.clear();
            }
            "works" => {
                let now_ms = self.now_ms;
                self.since = rest.split(' ').map(|name| (app(name), now_ms)).collect();
            }
            "objects" => {
                let (version, names) = rest.split_once('=').expect("a version and its objects");
                let objects = names.split(',').map(|name| ObjectKey {
                    group: String::new(),
                    kind: "ConfigMap".into(),
                    namespace: "default".into(),
                    name: name.to_owned(),
                });
                self.objects.insert(Digest::of(version.as_bytes()), objects.collect());
            }
            "missing" => _ = self.missing.insert(Digest::of(rest.as_bytes())),
            "arrived" => self.missing.clear(),
            "closes" => self.is_closed = true,
            "opens" => self.is_closed = false,
            "minutes" => self.now_ms += rest.parse::<u64>().expect("a number") * MINUTE,
            "forgets" => {
                self.memory = serde_json::from_slice(&serde_json::to_vec(&self.memory).expect("JSON"))
                    .expect("the same")
            }
            _ => panic!("what is {what}?"),
        }
    }

    fn step(&mut self) -> Step {
        let closed = Wait {
            reason: EntryReason::WindowClosed,
            message: "closed".into(),
            until_ms: None,
            fails: false,
        };
        let accepted = accepted(&self.accepted);
        let (missing, objects) = (self.missing.clone(), self.objects.clone());
        let of = |entry: &Entry| {
            let known = objects.get(&entry.version).cloned().unwrap_or_default();
            (!missing.contains(&entry.bundle)).then_some(known)
        };
        let stand = Stand {
            accepted: &accepted,
            relations: &self.relations,
            closed: self.is_closed.then_some(&closed),
            is_empty: self.is_empty,
            doing: &self.doing,
            since: &self.since,
            has_bundle: &|digest| !missing.contains(digest),
            objects: &of,
            now_ms: self.now_ms,
            random: 0.5,
        };
        let next = step(&self.started, &self.memory, &stand);
        let again = step(&next.started, &next.memory, &stand);
        assert_eq!(
            (&again.started, &again.memory),
            (&next.started, &next.memory),
            "a step goes as far as it may"
        );
        (self.started, self.memory) = (next.started.clone(), next.memory.clone());
        self.is_empty = false;
        next
    }

    fn runs(&self) -> String {
        let words = self.started.entries.iter().map(|(app, entry)| {
            let entry = decode_entry(&entry.bytes).expect("ours");
            let version = (0..10).find(|n: &u32| Digest::of(n.to_string().as_bytes()) == entry.version);
            format!("{app}={}", version.expect("a version"))
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

fn waits(step: &Step) -> String {
    let words = step.waits.iter().map(|(app, wait)| {
        let sign = if wait.fails { "!" } else { "" };
        format!("{app}:{:?}{sign}", wait.reason)
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What runs, the rules; then what happens, what runs, who waits for what.
type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str, &'a str)]);

fn told(rows: &[Row<'_>]) {
    for (runs, rules, events) in rows {
        let mut story = Story::new(runs, rules);
        for (what, runs, waiting) in *events {
            what.split("; ").for_each(|what| story.happens(what));
            let step = story.step();
            assert_eq!((story.runs().as_str(), waits(&step).as_str()), (*runs, *waiting), "{rules}: {what}");
        }
    }
}

#[test]
fn an_app_begins_once_what_comes_first_is_well_and_what_falls_sick_later_stops_nothing() {
    told(&[
        (
            "",
            "web<db api<db'",
            &[
                ("accept web=1 db=1 api=1", "db=1", "api:DependencyNotReady web:DependencyNotReady"),
                ("applied db=1", "api=1 db=1", "web:DependencyNotReady"),
                ("healthy db=1", "api=1 db=1 web=1", ""),
                // Sick, and the app changes all the same.
                ("applied db=1; accept web=2 db=1 api=1", "api=1 db=1 web=2", ""),
                // Its own new version is waited for again, and what runs goes on meanwhile.
                ("accept web=3 db=2 api=1", "api=1 db=2 web=2", "web:DependencyNotReady"),
                ("applied db=2", "api=1 db=2 web=2", "web:DependencyNotReady"),
                ("forgets; healthy db=2", "api=1 db=2 web=3", ""),
            ],
        ),
        (
            "web=1",
            "web<db",
            &[
                ("accept web=2", "web=1", "web:DependencyNotReady"),
                ("accept web=2 db=1", "db=1 web=1", "web:DependencyNotReady"),
                ("healthy db=1", "db=1 web=2", ""),
            ],
        ),
        ("web=1", "web<db!", &[("accept web=2", "web=1", "web:DependencyMissing!"), ("relate", "web=2", "")]),
        // A window keeps both, and the order holds when it opens; a removal waits for the window alone.
        (
            "web=1 db=1 old=1",
            "web<db",
            &[
                (
                    "closes; accept web=2 db=2 -old",
                    "db=1 old=1 web=1",
                    "db:WindowClosed old:WindowClosed web:WindowClosed",
                ),
                ("opens", "db=2 web=1", "web:DependencyNotReady"),
                ("closes; healthy db=2", "db=2 web=1", "web:WindowClosed"),
                ("opens", "db=2 web=2", ""),
            ],
        ),
        // Where nothing runs no window is waited for, not even by those that wait for others.
        (
            "",
            "web<db",
            &[
                ("closes; accept web=1 db=1", "db=1", "web:DependencyNotReady"),
                ("healthy db=1", "db=1 web=1", ""),
                ("accept web=2 db=1", "db=1 web=1", "web:WindowClosed"),
            ],
        ),
    ]);
}

#[test]
fn whoever_hands_objects_over_to_an_app_that_waits_waits_with_it() {
    let waits = "old:DependencyNotReady web:DependencyNotReady";
    told(&[
        // It leaves.
        (
            "web=1 old=7",
            "web<db",
            &[
                ("objects 7=a,b; objects 8=b; accept web=8 db=1 -old", "db=1 old=7 web=1", waits),
                ("forgets; restarts", "db=1 old=7 web=1", waits),
                ("healthy db=1", "db=1 web=8", ""),
            ],
        ),
        // It changes.
        (
            "web=1 old=7",
            "web<db",
            &[
                (
                    "objects 7=a,b; objects 6=a; objects 8=b; accept web=8 db=1 old=6",
                    "db=1 old=7 web=1",
                    waits,
                ),
                ("healthy db=1", "db=1 old=6 web=8", ""),
            ],
        ),
        // With its group.
        (
            "web=1 old=7 cart=1",
            "web<db shop=cart,old",
            &[
                (
                    "objects 7=a,b; objects 6=a; objects 8=b; accept web=8 db=1 old=6 cart=2",
                    "cart=1 db=1 old=7 web=1",
                    "cart:DependencyNotReady old:DependencyNotReady web:DependencyNotReady",
                ),
                ("healthy db=1", "cart=2 db=1 old=6 web=8", ""),
            ],
        ),
        // And whoever hands over to that one.
        (
            "web=1 old=7 far=5",
            "web<db",
            &[
                (
                    "objects 7=a,b; objects 6=a,c; objects 8=b; objects 5=c; accept web=8 db=1 old=6 -far",
                    "db=1 far=5 old=7 web=1",
                    "far:DependencyNotReady old:DependencyNotReady web:DependencyNotReady",
                ),
                ("healthy db=1", "db=1 old=6 web=8", ""),
            ],
        ),
        // What is not known may be claimed; what is claimed by nobody goes.
        (
            "web=1 old=7",
            "web<db",
            &[
                ("missing 8; objects 7=a; accept web=8 db=1 -old", "db=1 old=7 web=1", waits),
                ("arrived", "db=1 web=1", "web:DependencyNotReady"),
            ],
        ),
    ]);
}

#[test]
fn apps_of_a_group_switch_together_or_return_to_what_they_held() {
    told(&[
        // They come through.
        (
            "web=1 api=1 free=1",
            "shop=web,api",
            &[
                (
                    "missing 2; accept web=2 api=3 free=3",
                    "api=1 free=3 web=1",
                    "api:GroupNotReady web:GroupNotReady",
                ),
                ("arrived", "api=3 free=3 web=2", ""),
                ("healthy web=2; minutes 9", "api=3 free=3 web=2", ""),
                ("healthy api=3; minutes 9", "api=3 free=3 web=2", ""),
                // Later sickness is none of the switch's.
                ("applied api=3; minutes 30", "api=3 free=3 web=2", ""),
            ],
        ),
        // One is not well in time: all return, stay so over a restart, and another version begins anew.
        (
            "web=1 api=1",
            "shop=web,api",
            &[
                ("accept web=2 api=2", "api=2 web=2", ""),
                ("healthy web=2; minutes 9", "api=2 web=2", ""),
                ("minutes 1", "api=1 web=1", "api:GroupReturned! web:GroupReturned!"),
                (
                    "forgets; healthy web=1 api=1; minutes 40",
                    "api=1 web=1",
                    "api:GroupReturned! web:GroupReturned!",
                ),
                ("accept web=2 api=3", "api=3 web=2", ""),
                ("healthy web=2 api=3", "api=3 web=2", ""),
                ("minutes 60", "api=3 web=2", ""),
            ],
        ),
        // The hub takes back what failed, or what is still on its way.
        (
            "web=1 api=1",
            "shop=web,api",
            &[
                ("accept web=2 api=2", "api=2 web=2", ""),
                ("minutes 10", "api=1 web=1", "api:GroupReturned! web:GroupReturned!"),
                ("accept web=1 api=1", "api=1 web=1", ""),
                ("accept web=2 api=2", "api=2 web=2", ""),
                ("accept web=1 api=1; minutes 60", "api=1 web=1", ""),
            ],
        ),
        // A spoke that was away for long gives its apps their time again before it judges them.
        (
            "web=1 api=1",
            "shop=web,api",
            &[
                ("accept web=2 api=2", "api=2 web=2", ""),
                ("restarts; minutes 60", "api=2 web=2", ""),
                ("works web api; minutes 9; healthy web=2", "api=2 web=2", ""),
                ("minutes 1", "api=1 web=1", "api:GroupReturned! web:GroupReturned!"),
                // Another version waits for its window like any other, and is not told as a failure that it had no part in.
                ("closes; accept web=3 api=3", "api=1 web=1", "api:WindowClosed web:WindowClosed"),
                ("minutes 600; opens", "api=3 web=3", ""),
            ],
        ),
        // What comes first outside of it is asked before it begins, not while it is under way.
        (
            "web=1 api=1 db=1",
            "shop=web,api web<api,db",
            &[
                ("accept web=2 api=2 db=1", "api=2 db=1 web=1", "web:DependencyNotReady"),
                ("accept web=2 api=2 db=2; healthy api=2", "api=2 db=2 web=2", ""),
            ],
        ),
        // A newer version takes its place on the way; what is returned to is what was well last.
        (
            "web=1 api=1",
            "shop=web,api",
            &[
                ("accept web=2 api=2", "api=2 web=2", ""),
                ("minutes 8; accept web=3 api=2", "api=2 web=3", ""),
                ("minutes 9; healthy api=2", "api=2 web=3", ""),
                ("minutes 1", "api=1 web=1", "api:GroupReturned! web:GroupReturned!"),
            ],
        ),
        // What comes first within the group, and outside of it. A window that closes in between does not stop what has begun.
        (
            "web=1 api=1 db=1",
            "shop=web,api web<api api<db",
            &[
                (
                    "accept web=2 api=2 db=2",
                    "api=1 db=2 web=1",
                    "api:DependencyNotReady web:DependencyNotReady",
                ),
                ("healthy db=2", "api=2 db=2 web=1", "web:DependencyNotReady"),
                ("closes; healthy api=2", "api=2 db=2 web=2", ""),
                ("minutes 10", "api=1 db=2 web=1", "api:GroupReturned! web:GroupReturned!"),
            ],
        ),
        // Only one of them changes: the other has nothing to do with it. One that comes has nothing to return to.
        (
            "web=1 api=1",
            "shop=web,api,new",
            &[
                ("accept web=2 api=1", "api=1 web=2", ""),
                ("minutes 10", "api=1 web=1", "web:GroupReturned!"),
                ("accept web=3 api=1 new=1", "api=1 new=1 web=3", ""),
                ("minutes 10", "api=1 new=1 web=1", "web:GroupReturned!"),
                // It is no group any more.
                ("relate", "api=1 new=1 web=3", ""),
            ],
        ),
        // Nobody held anything: there is nothing to return to.
        ("", "shop=web,api", &[("accept web=1 api=1", "api=1 web=1", ""), ("minutes 60", "api=1 web=1", "")]),
    ]);
}

#[test]
fn what_is_asked_of_a_group_that_is_under_way_waits_for_its_end() {
    told(&[(
        "web=1 api=1 new=1",
        "shop=web,api,new",
        &[
            ("accept web=2 api=2 new=1", "api=2 new=1 web=2", ""),
            ("accept web=2 api=2 new=2", "api=2 new=1 web=2", "new:GroupNotReady"),
            ("healthy web=2 api=2", "api=2 new=2 web=2", ""),
            ("minutes 10", "api=2 new=1 web=2", "new:GroupReturned!"),
        ],
    )]);
}

#[test]
fn a_switch_says_when_its_time_is_over() {
    let mut story = Story::new("web=1 api=1", "shop=web,api");
    story.happens("accept web=2 api=2");
    assert_eq!(story.step().due_ms, Some(story.now_ms + 10 * MINUTE));
    story.happens("minutes 4");
    assert_eq!(story.step().due_ms, Some(story.now_ms + 6 * MINUTE));
    story.happens("minutes 6");
    let step = story.step();
    let message = &step.waits[&app("web")].message;
    assert_eq!(
        message,
        "group shop returned to what it held, 2 apps: api was not healthy in time; it is tried again about 1 h later"
    );
    // By itself, then after twice as long.
    assert_eq!(step.due_ms, Some(story.now_ms + 60 * MINUTE));
    // While no window is open nothing is due but its opening.
    story.happens("minutes 90");
    story.is_closed = true;
    let step = story.step();
    assert_eq!((step.due_ms, step.waits[&app("web")].until_ms), (None, None));
    story.is_closed = false;
    story.now_ms -= 90 * MINUTE;
    story.happens("minutes 60");
    story.step();
    assert_eq!(story.runs(), "api=2 web=2");
    story.happens("minutes 10");
    let step = story.step();
    assert_eq!((story.runs().as_str(), step.due_ms), ("api=1 web=1", Some(story.now_ms + 120 * MINUTE)));
}
