//! One telling of the story: a fleet, when its hub is ended, and what it looks like at the end of a chapter.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;

use anyhow::ensure;
use harness::fleet::{Fleet, Target};
use harness::process::Program;
use harness::wait;
use serde_json::Value;

use crate::given::{LIMIT, catalog, done};

/// The variable that names the place where a hub ends itself.
const FAILPOINT: &str = "NAVE_FAILPOINT";
/// `SIGABRT` on every Linux.
const ABORTED: i32 = 6;

/// When the hub is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Never,
    Before,
    After,
}

/// What has to be the same in all tellings at the end of a chapter.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The values in each cluster.
    pub values: BTreeMap<String, BTreeMap<String, Option<String>>>,
    /// Members: standing, labels, number of entries and of those that are converged.
    pub members: BTreeMap<String, (String, String, u64, u64)>,
    /// What each cluster runs.
    pub apps: BTreeMap<String, BTreeSet<String>>,
    /// What is held, for people.
    pub holds: BTreeSet<String>,
    /// Whether the store is in doubt, whether all is converged.
    pub doubt: bool,
    pub unassigned: String,
    pub problems: String,
    /// The message of the commit in effect.
    pub commit: String,
}

pub struct Telling {
    pub fleet: Fleet,
    pub when: When,
    pub aborts: usize,
    /// Spokes that run as processes.
    pub spokes: BTreeSet<&'static str>,
}

impl Telling {
    /// A fleet whose catalog has four apps; nothing of it exists yet but the directory.
    pub async fn begin(when: When) -> Self {
        let fleet = Fleet::prepare(catalog(&["web", "p", "q", "r"])).await.unwrap();
        std::fs::remove_dir_all(fleet.data()).unwrap();
        Self { fleet, when, aborts: 0, spokes: BTreeSet::new() }
    }

    /// The failpoint of a step in this telling.
    pub fn point(&self, step: &str) -> Option<String> {
        match self.when {
            When::Never => None,
            When::Before => Some(format!("{step}.before")),
            When::After => Some(format!("{step}.after")),
        }
    }

    /// Runs `hub init`, ended at a step and then repeated.
    pub async fn init(&mut self, step: &str) {
        let address = self.fleet.address();
        let program = |fleet: &Fleet| {
            Program::built("hub")
                .unwrap()
                .named("init")
                .args(["init", "--fleet", "test", "--advertise", &address, "--data-dir"])
                .arg(fleet.data())
                .env("XDG_CONFIG_HOME", fleet.directory().join("config"))
        };
        if let Some(point) = self.point(step) {
            let ended = program(&self.fleet).env(FAILPOINT, &point).start(self.fleet.directory());
            let status = ended.unwrap().exit(LIMIT).await.unwrap();
            assert_eq!(status.signal(), Some(ABORTED), "{point}: {status}");
            self.aborts += 1;
        }
        program(&self.fleet).output(LIMIT).await.unwrap();
    }

    /// Starts the hub so that it ends itself at a step. Whatever comes next meets that hub.
    pub fn arm(&mut self, step: &str) {
        let Some(point) = self.point(step) else { return };
        self.fleet.kill_hub();
        self.fleet.environment(FAILPOINT, &point);
        self.fleet.launch_hub().unwrap();
    }

    /// Waits until an armed hub listens; then it has not come to its step yet.
    pub async fn listening(&mut self) {
        wait::until("the hub answers", LIMIT, async || {
            let answer = self.fleet.hub(&["status", "-o", "json"]).await?;
            ensure!(answer.code == 0, "{}\n{}", answer.stderr, self.fleet.tails());
            Ok(())
        })
        .await;
    }

    /// The armed hub has to come to its end by itself; then it starts again whole.
    pub async fn aborted(&mut self, step: &str) {
        let Some(point) = self.point(step) else { return };
        let ended = self.fleet.hub_process().unwrap().exit(LIMIT).await;
        let status = ended.unwrap_or_else(|error| panic!("{point} was not come to: {error}"));
        assert_eq!(status.signal(), Some(ABORTED), "{point}: {status}");
        self.aborts += 1;
        self.fleet.environment(FAILPOINT, "");
        self.fleet.start_hub().await.unwrap();
        // What a spoke has to say that is leaving, it says without being helped.
        if step != "MemberDetached" {
            self.fresh_spokes();
        }
    }

    /// Spokes wait longer and longer for a hub that keeps ending; ones that just started do not.
    pub fn fresh_spokes(&mut self) {
        for cluster in &self.spokes {
            self.fleet.kill_spoke(cluster);
            self.fleet.start_spoke(cluster, None, &Target::Directory).unwrap();
        }
    }

    /// An operator's command that brings the hub to a step. It was not acknowledged, so it is repeated; if it had taken
    /// effect all the same, `already` are the words by which the hub says so.
    pub async fn command(&mut self, step: &str, arguments: &[&str], already: &str) -> String {
        if self.when != When::Never {
            self.arm(step);
            self.listening().await;
            let unacknowledged = self.fleet.hub(arguments).await.unwrap();
            assert_ne!(unacknowledged.code, 0, "{step}: {unacknowledged:?}");
            self.aborted(step).await;
        }
        let answer = self.fleet.hub(arguments).await.unwrap();
        let repeated = self.when == When::After && !already.is_empty();
        let known = repeated && (answer.stdout.contains(already) || answer.stderr.contains(already));
        // The hub has just started again: its spokes may not be back yet, and it says so.
        let ordered = answer.code == 3 && answer.stdout.contains("it detaches when it connects");
        assert!(answer.code == 0 || known || ordered, "{step}: {answer:?}");
        answer.stdout
    }

    /// A member's record in `hub cluster list`, if it is there.
    pub async fn row(&self, cluster: &str) -> Option<Value> {
        let list = done(&self.fleet, &["cluster", "list", "-o", "json"]).await.unwrap();
        let list: Value = serde_json::from_str(&list).unwrap();
        list.as_array().unwrap().iter().find(|row| row["name"] == cluster && !row["phase"].is_null()).cloned()
    }

    /// What the fleet looks like, once that does not change any more.
    pub async fn outcome(&self, clusters: &[&'static str]) -> Outcome {
        done(&self.fleet, &["audit", "verify"]).await.unwrap();
        let status = self.fleet.status().await.unwrap();
        let list = done(&self.fleet, &["cluster", "list", "-o", "json"]).await.unwrap();
        let list: Value = serde_json::from_str(&list).unwrap();
        let mut outcome = Outcome {
            doubt: status["doubt"].is_string(),
            unassigned: status["unassigned"].to_string(),
            problems: status["problems"].to_string(),
            ..Outcome::default()
        };
        for hold in status["holds"].as_array().unwrap() {
            outcome.holds.insert(hold["message"].as_str().unwrap().to_owned());
        }
        if let Some(commit) = status["catalog"]["commit"].as_str() {
            outcome.commit = self.fleet.catalog.git(&["log", "-1", "--format=%s", commit]).unwrap();
        }
        for row in list.as_array().unwrap() {
            let name = row["name"].as_str().unwrap().to_owned();
            let number = |field: &str| row[field].as_u64().unwrap();
            let member = (
                row["standing"].to_string(),
                row["labels"].to_string(),
                number("entries"),
                number("converged"),
            );
            let shown = done(&self.fleet, &["cluster", "show", &name, "-o", "json"]).await.unwrap();
            let shown: Value = serde_json::from_str(&shown).unwrap();
            let apps = shown["apps"].as_array().unwrap().iter().map(|app| app["app"].to_string());
            outcome.apps.insert(name.clone(), apps.collect());
            outcome.members.insert(name, member);
        }
        for cluster in clusters {
            outcome.values.insert((*cluster).to_owned(), crate::given::values(&self.fleet, cluster));
        }
        outcome
    }
}
