//! The story: one chapter for each step at which the hub persists something. Each brings the hub to its step, and ends when
//! the fleet has come to rest.

use anyhow::ensure;
use harness::fleet::{Target, documents};
use harness::git::Repository;
use harness::wait;
use serde_json::Value;

use super::telling::{Outcome, Telling};
use crate::away::{Ahead, Spoke};
use crate::given::{LIMIT, done, holds, remove_app, until_status, write_app, write_value};

/// The chapters, by the step that each is about, in their order.
pub const CHAPTERS: [&str; 29] = [
    "FleetMade",
    "OperatorAdded",
    "HeadTaken",
    "FormsTaken",
    "TokenIssued",
    "MemberEnrolled",
    "FactsTaken",
    "ReportTaken",
    "AssignmentsMade",
    "RolloutAdvanced",
    "EventsTold",
    "CertificateRenewed",
    "MemberLabelled",
    "ReportHeeded",
    "HoldsShown",
    "HoldRejected",
    "HoldApproved",
    "PauseOrdered",
    "RolloutOrdered",
    "PinOrdered",
    "SourcesTaken",
    "DoubtRaised",
    "RestoreAccepted",
    "SeedTaken",
    "SinkAdvanced",
    "AuditTrimmed",
    "MemberOrderedOut",
    "MemberDetached",
    "MemberRevoked",
];

impl Telling {
    /// Tells a chapter.
    pub async fn tell(&mut self, step: &str) -> Outcome {
        match step {
            "FleetMade" => {
                self.init(step).await;
                return Outcome::default();
            }
            "OperatorAdded" => {
                std::fs::remove_dir_all(self.fleet.data()).unwrap();
                self.init(step).await;
                return Outcome::default();
            }
            "HeadTaken" => self.head_taken(step).await,
            "FormsTaken" | "AssignmentsMade" | "RolloutAdvanced" | "ReportTaken" => self.commit(step).await,
            "EventsTold" => {
                // It may have something to tell before it listens.
                self.arm(step);
                write_value(&self.fleet.catalog, "web", step);
                self.fleet.catalog.commit(step).unwrap();
                self.aborted(step).await;
            }
            "TokenIssued" => self.token_issued(step).await,
            "MemberEnrolled" => self.spoke_starts(step, "fra-2").await,
            "FactsTaken" => self.spoke_starts(step, "fra-3").await,
            "CertificateRenewed" => self.renewed(step).await,
            "MemberLabelled" => {
                self.command(step, &["cluster", "label", "fra-1", "env=prod"], "").await;
            }
            "ReportHeeded" => self.removal(step).await,
            "HoldsShown" => self.held(step).await,
            "HoldRejected" => {
                let ids = holds(&self.fleet.status().await.unwrap());
                self.command(step, &["hold", "reject", &ids[0], "--reason", "not yet"], "").await;
            }
            "HoldApproved" => self.approved(step).await,
            "PauseOrdered" => {
                // It ends by itself, and the fleet comes to rest.
                self.command(step, &["pause", "--cluster", "fra-1", "--for", "2s"], "").await;
            }
            "RolloutOrdered" => self.rollout_ordered(step).await,
            "PinOrdered" => {
                let first = self.fleet.catalog.git(&["rev-parse", "HEAD~1"]).unwrap();
                let back = ["rollback", "web", "--to", first.trim(), "--reason", "not so fast"];
                self.command(step, &back, "").await;
                done(&self.fleet, &["pin", "remove", "web"]).await.unwrap();
            }
            "SourcesTaken" => self.source_taken(step).await,
            "DoubtRaised" => self.doubt(step).await,
            "RestoreAccepted" => {
                let clusters: Vec<_> = self.spokes.iter().copied().collect();
                // Without spokes, so that none of them is a seed before the next chapter.
                clusters.iter().for_each(|cluster| self.fleet.kill_spoke(cluster));
                self.spokes.clear();
                self.command(step, &["accept-restore"], "nobody doubts").await;
                self.spokes.extend(clusters);
                return self.outcome(&[]).await;
            }
            "SeedTaken" => {
                self.arm(step);
                self.fresh_spokes();
                self.aborted(step).await;
            }
            "SinkAdvanced" => {
                // How far a new receiver is is written down before it is sent anything; this one is not there.
                std::fs::write(self.fleet.directory().join("key"), "key").unwrap();
                let sink = "sinks:\n- {name: ops, webhook: {url: 'http://127.0.0.1:9/', secretFile: key}}\n";
                self.fleet.configure(sink).unwrap();
                self.restarted(step).await;
            }
            "AuditTrimmed" => {
                for number in 0..30 {
                    let label = format!("number={number}");
                    done(&self.fleet, &["cluster", "label", "fra-1", &label, "--overwrite"]).await.unwrap();
                }
                self.fleet.configure("audit: {maxSize: 1Ki}\n").unwrap();
                self.restarted(step).await;
            }
            "MemberOrderedOut" => self.left(step, "fra-1").await,
            "MemberDetached" => self.left(step, "fra-2").await,
            "MemberRevoked" => {
                self.command(step, &["cluster", "revoke", "fra-3"], "").await;
                return self.outcome(&["fra-1", "fra-2", "fra-3"]).await;
            }
            other => panic!("no chapter tells of {other}"),
        }
        if matches!(step, "HoldsShown" | "HoldRejected" | "DoubtRaised") {
            return self.outcome(&["fra-1", "fra-2", "fra-3"]).await;
        }
        self.settled(self.spokes.len()).await;
        let clusters: Vec<_> = self.spokes.iter().copied().collect();
        self.outcome(&clusters).await
    }

    /// An app comes from another repository, and then from the catalog's.
    async fn source_taken(&mut self, step: &str) {
        let files = [("shop.yaml", &*documents::config_map("shop", step))];
        let other = Repository::with("other", &files).unwrap();
        let server = other.serve().unwrap();
        let catalog = &self.fleet.catalog;
        let app = documents::app("shop");
        let from = app.find("source:").unwrap();
        let to = from + app[from..].find('\n').unwrap();
        let elsewhere = format!("{}source: {{git: {{url: '{}'}}}}{}", &app[..from], server.url(), &app[to..]);
        catalog.write("apps/shop.yaml", &elsewhere).unwrap();
        let placement = documents::placement("shop-everywhere", &["shop"], "{selector: {}}");
        catalog.write("placements/shop.yaml", &placement).unwrap();
        self.arm(step);
        self.fleet.catalog.commit(step).unwrap();
        self.aborted(step).await;
        self.settled(self.spokes.len()).await;
        write_app(&self.fleet.catalog, "shop", step);
        self.fleet.catalog.commit("Have it in the catalog").unwrap();
    }

    /// Everything has come to rest, and what is newest in Git is in effect.
    async fn settled(&self, connected: usize) {
        let head = self.fleet.catalog.head().unwrap();
        self.fleet.connected(connected).await;
        self.fleet.converge(&["--commit", &head]).await.unwrap();
    }

    async fn head_taken(&mut self, step: &str) {
        self.arm(step);
        if self.point(step).is_none() {
            self.fleet.start_hub().await.unwrap();
        }
        self.aborted(step).await;
    }

    /// The hub starts with another configuration, which brings it to the step.
    async fn restarted(&mut self, step: &str) {
        self.fleet.kill_hub();
        self.arm(step);
        if self.point(step).is_none() {
            self.fleet.start_hub().await.unwrap();
            self.fresh_spokes();
        }
        self.aborted(step).await;
    }

    /// A commit that changes an app and, from the second cluster on, what clusters report.
    async fn commit(&mut self, step: &str) {
        self.arm(step);
        if self.point(step).is_some() {
            self.listening().await;
        }
        write_value(&self.fleet.catalog, "web", step);
        self.fleet.catalog.commit(step).unwrap();
        self.aborted(step).await;
    }

    async fn token_issued(&mut self, step: &str) {
        let joined = self.command(step, &["cluster", "join", "fra-1", "-o", "json"], "").await;
        let joined: Value = serde_json::from_str(&joined).unwrap();
        self.fleet.start_spoke("fra-1", joined["token"].as_str(), &Target::Directory).unwrap();
        self.fleet.connected(1).await;
        self.spokes.insert("fra-1");
    }

    /// The hub ends while a spoke joins or says its first words; the spoke is not helped.
    async fn spoke_starts(&mut self, step: &str, cluster: &'static str) {
        let token = self.fleet.token(cluster, &[]).await.unwrap();
        self.arm(step);
        self.fleet.start_spoke(cluster, Some(&token), &Target::Directory).unwrap();
        self.aborted(step).await;
        self.fleet.connected(self.spokes.len() + 1).await;
        self.spokes.insert(cluster);
    }

    /// A spoke whose clock says that half of its certificate's life is over renews it.
    async fn renewed(&mut self, step: &str) {
        let until = async |telling: &Self| {
            let shown = done(&telling.fleet, &["cluster", "show", "fra-3", "-o", "json"]).await.unwrap();
            let shown: Value = serde_json::from_str(&shown).unwrap();
            shown["certificateUntilMs"].as_u64().unwrap()
        };
        let before = until(self).await;
        self.spokes.remove("fra-3");
        self.fleet.kill_spoke("fra-3");
        self.arm(step);
        let inside = Spoke::start(&self.fleet, "fra-3", None, &Ahead::by_hours(14));
        self.aborted(step).await;
        wait::until("the certificate is renewed", LIMIT, async || {
            let now = until(self).await;
            ensure!(now > before, "{now} {before}");
            Ok(())
        })
        .await;
        inside.stop().await;
        self.spokes.insert("fra-3");
        self.fresh_spokes();
    }

    /// An app of one cluster leaves, which no limit stops.
    async fn removal(&mut self, step: &str) {
        write_app(&self.fleet.catalog, "brief", "1");
        let placement = documents::placement("brief", &["brief"], "{selector: {matchLabels: {env: prod}}}");
        self.fleet.catalog.write("placements/brief.yaml", &placement).unwrap();
        self.fleet.catalog.commit("Come").unwrap();
        self.settled(3).await;
        self.arm(step);
        if self.point(step).is_some() {
            self.listening().await;
        }
        remove_app(&self.fleet.catalog, "brief");
        self.fleet.catalog.commit("Go").unwrap();
        self.aborted(step).await;
    }

    /// Three apps of each cluster are to go, which is more than may.
    async fn held(&mut self, step: &str) {
        self.arm(step);
        if self.point(step).is_some() {
            self.listening().await;
        }
        for app in ["p", "q", "r"] {
            remove_app(&self.fleet.catalog, app);
        }
        let commit = self.fleet.catalog.commit(step).unwrap();
        self.aborted(step).await;
        self.fleet.connected(3).await;
        until_status(&self.fleet, "three apps are held", |status| {
            holds(status).len() == 3 && status["catalog"]["commit"] == commit.as_str()
        })
        .await;
    }

    async fn approved(&mut self, step: &str) {
        let ids = holds(&self.fleet.status().await.unwrap());
        self.command(step, &["hold", "approve", &ids[0]], "there is no hold").await;
        for id in &ids[1..] {
            done(&self.fleet, &["hold", "approve", id]).await.unwrap();
        }
    }

    /// A change that waits for approval after its first cluster.
    async fn rollout_ordered(&mut self, step: &str) {
        let careful = "apiVersion: nave.dev/v1alpha1\nkind: Fleet\nmetadata: {name: fleet}\nspec: {defaults: {rollout: careful}}\n---\n\
            apiVersion: nave.dev/v1alpha1\nkind: Rollout\nmetadata: {name: careful}\n\
            spec: {waves: [{name: canary, count: 1}, {name: rest, before: {approval: true}}]}\n";
        self.fleet.catalog.write("fleet.yaml", careful).unwrap();
        write_value(&self.fleet.catalog, "web", step);
        self.fleet.catalog.commit(step).unwrap();
        self.fleet.rollout_waits("web", "Approval").await;
        self.command(step, &["rollout", "approve", "web"], "rollout").await;
        self.fleet.catalog.remove("fleet.yaml").unwrap();
        self.fleet.catalog.commit("As before").unwrap();
    }

    /// The store of before the last two commits: what it decides next cannot be what the spokes have by chance.
    async fn doubt(&mut self, step: &str) {
        self.fleet.kill_hub();
        let store = self.fleet.data().join("store.redb");
        let old = std::fs::read(&store).unwrap();
        self.fleet.start_hub().await.unwrap();
        self.fresh_spokes();
        for value in ["after the copy", step] {
            write_value(&self.fleet.catalog, "web", value);
            self.fleet.catalog.commit(value).unwrap();
            self.settled(3).await;
        }
        self.fleet.kill_hub();
        std::fs::write(&store, old).unwrap();
        match self.point(step) {
            Some(_) => self.arm(step),
            None => self.fleet.start_hub().await.unwrap(),
        }
        self.fresh_spokes();
        self.aborted(step).await;
        self.fleet.connected(3).await;
        until_status(&self.fleet, "the store is in doubt", |status| status["doubt"].is_string()).await;
    }

    /// A cluster is removed: the order is one step, what the spoke answers is another.
    async fn left(&mut self, step: &str, cluster: &'static str) {
        let order = ["cluster", "remove", cluster];
        if step == "MemberOrderedOut" {
            self.command(step, &order, "there is no cluster").await;
        } else {
            self.arm(step);
            if self.point(step).is_some() {
                self.listening().await;
            }
            self.fleet.connected(self.spokes.len()).await;
            // The command waits until the spoke has detached; the order was taken before.
            let ordered = self.fleet.hub(&order).await.unwrap();
            assert_eq!(ordered.code == 0, self.point(step).is_none(), "{ordered:?}");
            self.aborted(step).await;
        }
        wait::until("the hub has forgotten it", LIMIT, async || self.row(cluster).await.is_none()).await;
        self.fleet.kill_spoke(cluster);
        self.spokes.remove(cluster);
    }
}
