//! A cluster that is away for longer than its certificate lives. Hub and spoke run inside the test, by a clock that it moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness::fleet::Fleet;
use harness::{peers, wait};
use nave_hub::context::Context;
use nave_hub::operator::views::{AuditView, WaitOutcome, WaitView};
use nave_hub::serve::{self, Ready};
use nave_hub::state::records::AuditRecord;
use nave_hub::state::{Tail, verify_chain};
use nave_proto::tls::{self, Clock};
use nave_proto::v1;
use nave_proto::v1::operator_client::OperatorClient;
use nave_spoke::link::{self, Connector, Tcp};
use nave_spoke::run::{Exit, RunOptions};
use nave_spoke::target::dir::DirTarget;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::given::{LIMIT, catalog, until_values, write_value};

const HOUR_MS: u64 = 3_600_000;

/// A clock that is ahead of this machine's by as much as the test says.
#[derive(Clone, Default)]
pub struct Ahead(Arc<AtomicU64>);

impl Ahead {
    /// A clock that is so many hours ahead.
    pub fn by_hours(hours: u64) -> Self {
        let ahead = Self::default();
        ahead.pass_hours(hours);
        ahead
    }

    fn pass_hours(&self, hours: u64) {
        self.0.fetch_add(hours * HOUR_MS, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let (ahead, own) = (self.0.clone(), peers::clock());
        Arc::new(move || own() + ahead.load(Ordering::SeqCst))
    }
}

/// A spoke inside the test.
pub struct Spoke {
    cancel: CancellationToken,
    task: JoinHandle<Exit>,
}

impl Spoke {
    /// Starts it by this clock, as `spoke run` would.
    pub fn start(fleet: &Fleet, cluster: &str, token: Option<String>, clock: &Ahead) -> Self {
        let state = fleet.state(cluster);
        let target = DirTarget::open(&fleet.manifests(cluster), &state.join("target")).unwrap();
        let mut options = RunOptions::new(state, Arc::new(target));
        options.clock = clock.clock();
        options.join = token;
        let cancel = CancellationToken::new();
        let running = nave_spoke::run::run(options, cancel.clone());
        Self { cancel, task: tokio::spawn(async move { running.await.unwrap() }) }
    }

    /// Stops it.
    pub async fn stop(self) {
        self.cancel.cancel();
        assert_eq!(self.task.await.unwrap(), Exit::Stopped);
    }
}

/// A hub inside the test, over the fleet's data directory and at its address.
struct Hub {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Hub {
    async fn start(fleet: &Fleet, clock: &Ahead) -> Self {
        let options = serve::Options {
            data_dir: fleet.data(),
            catalog: "main".parse().unwrap(),
            url: format!("file://{}", fleet.catalog.path().display()),
            branch: String::new(),
            path: String::new(),
            poll: Duration::from_secs(1),
            listen: fleet.address().parse().unwrap(),
            http: "127.0.0.1:0".parse().unwrap(),
            store: "redb".to_owned(),
            clock: clock.clock(),
            config: nave_hub::config::HubConfig::default(),
        };
        let (cancel, (ready, is_ready)) = (CancellationToken::new(), oneshot::channel::<Ready>());
        let serving = serve::serve(options, cancel.clone(), ready);
        let task = tokio::spawn(async move { serving.await.unwrap() });
        is_ready.await.unwrap();
        Self { cancel, task }
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
    }
}

/// The operators' service, for somebody whose clock is the hub's: the command line goes by this machine's.
async fn operator(fleet: &Fleet, clock: &Ahead) -> OperatorClient<Channel> {
    let context = Context::read(&fleet.data().join("admin.yaml")).unwrap();
    let tls = tls::client(&context.ca_der().unwrap(), context.credentials().as_ref(), clock.clock()).unwrap();
    let connector: Connector = Arc::new(Tcp);
    OperatorClient::new(link::open(&connector, tls, &fleet.address()).await.unwrap())
}

/// The lines of the audit log, which has to be whole.
async fn audit(operator: &mut OperatorClient<Channel>) -> Vec<AuditRecord> {
    let answer = operator.audit_list(v1::AuditListRequest::default()).await.unwrap().into_inner();
    let view: AuditView = serde_json::from_slice(&answer.json).unwrap();
    assert_eq!(verify_chain(&view.lines, Tail::default()).unwrap().sequence, view.last);
    view.lines
}

fn count(lines: &[AuditRecord], what: &str) -> usize {
    lines.iter().filter(|line| line.what == what).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spoke_that_was_away_for_36_hours_renews_with_its_expired_certificate_and_catches_up() {
    let fleet = Fleet::prepare(catalog(&["web"])).await.unwrap();
    let clock = Ahead::default();
    let hub = Hub::start(&fleet, &clock).await;
    let token = fleet.token("fra-1", &[]).await.unwrap();
    let spoke = Spoke::start(&fleet, "fra-1", Some(token), &clock);
    until_values(&fleet, "fra-1", &[("web", "1")]).await;
    fleet.converge(&[]).await.unwrap();
    spoke.stop().await;

    // The hub restarts too: its own certificate outlives the gap, its memory does not.
    hub.stop().await;
    clock.pass_hours(36);
    let hub = Hub::start(&fleet, &clock).await;
    write_value(&fleet.catalog, "web", "2");
    let commit = fleet.catalog.commit("While it is away").unwrap();
    let mut operator = operator(&fleet, &clock).await;
    assert_eq!(count(&audit(&mut operator).await, "RenewedExpired"), 0);

    let spoke = Spoke::start(&fleet, "fra-1", None, &clock);
    until_values(&fleet, "fra-1", &[("web", "2")]).await;
    let filter = Some(v1::Filter { commit, ..v1::Filter::default() });
    let wait = v1::WaitRequest { filter, timeout_ms: 60_000, include_offline: true };
    let waited = operator.wait(wait).await.unwrap().into_inner();
    let waited: WaitView = serde_json::from_slice(&waited.json).unwrap();
    assert_eq!(waited.outcome, WaitOutcome::Converged, "{waited:?}");
    let lines = audit(&mut operator).await;
    // It came back as who it was: nobody joined again.
    assert_eq!((count(&lines, "RenewedExpired"), count(&lines, "Enrolled")), (1, 1));
    spoke.stop().await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spoke_whose_clock_alone_jumped_a_day_and_a_half_ahead_comes_back_too() {
    let fleet = Fleet::prepare(catalog(&["web"])).await.unwrap();
    let hub = Hub::start(&fleet, &Ahead::default()).await;
    let token = fleet.token("fra-1", &[]).await.unwrap();
    let spoke = Spoke::start(&fleet, "fra-1", Some(token), &Ahead::default());
    until_values(&fleet, "fra-1", &[("web", "1")]).await;
    spoke.stop().await;

    let spoke = Spoke::start(&fleet, "fra-1", None, &Ahead::by_hours(36));
    write_value(&fleet.catalog, "web", "2");
    fleet.catalog.commit("To a cluster that lives in the future").unwrap();
    wait::until("it is told", LIMIT, async || {
        crate::given::values(&fleet, "fra-1").get("web") == Some(&Some("2".to_owned()))
    })
    .await;
    spoke.stop().await;
    hub.stop().await;
}
