//! `spoke doctor`: everything that the agent needs, looked at; each line says what is well, or what is not and how to
//! mend it.
//!
//! In: where the agent is. Out: lines, and whether all is well. Never: changes anything; needs the agent, or the hub.

mod rights;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use nave_proto::tls;
use nave_spoke::identity::Identity;
use nave_spoke::link::{self, Connector};
use nave_spoke::policy::Policy;
use nave_spoke::proxy::Outward;
use nave_spoke::run::system_clock;
use nave_spoke::state::secrets::owner;
use nave_spoke::state::secrets::shelf::{ClusterShelf, Pod};
use nave_spoke::target::Target as _;
use nave_spoke::target::kube::KubeTarget;

use super::place::{Place, To};

/// A certificate lives a day and is renewed at half life: one that has less than this left was not renewed for long.
const LATE: Duration = Duration::from_secs(6 * 3600);
/// Looking must not take for ever where nothing answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// Its arguments.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The local policy that the agent is run with
    #[arg(long, value_name = "FILE", env = "NAVE_POLICY")]
    policy: Option<PathBuf>,
    /// The pod that this is asked in, if it is
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide = true)]
    pod: Option<String>,
}

/// What was found.
#[derive(Default)]
struct Findings {
    broken: usize,
}

impl Findings {
    fn well(&self, what: &str, words: impl std::fmt::Display) {
        println!("OK       {what}: {words}");
    }

    fn broken(&mut self, what: &str, words: impl std::fmt::Display, mend: &str) {
        self.broken += 1;
        println!("PROBLEM  {what}: {words}");
        println!("         {mend}");
    }
}

/// Looks; whether all is well.
pub async fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let place = &arguments.place;
    place.check()?;
    let mut found = Findings::default();
    found.well("version", format!("spoke {}", env!("CARGO_PKG_VERSION")));
    if place.target == To::Kube
        && let Some(target) = cluster(place, &mut found).await
    {
        rights::look(place, &target, &mut found).await;
        if place.state_dir.is_none() {
            let shelf = ClusterShelf::new(target.client(), &place.namespace);
            holder(&shelf, arguments.pod.as_deref(), &mut found).await;
        }
    }
    if let Some(file) = &arguments.policy {
        policy(file, &mut found);
    }
    if let Some(identity) = state(place, &mut found).await {
        certificate(&identity, &mut found);
        hub(&identity, &mut found).await;
    }
    match super::status::read(place).await {
        Ok(_) if super::status::runs(place).await == Some(false) => found.broken(
            "agent",
            "it does not run; nothing is corrected, and nothing new is applied",
            "start it: `spoke run`, or its Deployment",
        ),
        Ok(status) => match (&status.hub, &status.paused) {
            (_, Some(pause)) => found.well("agent", pause),
            (Some(address), None) => {
                found.well("agent", format!("connected to {address} when it wrote its status last"))
            }
            (None, None) => found.broken(
                "agent",
                format!("not connected: {}", status.problem),
                "see the lines about the hub; what runs here stays as it is meanwhile",
            ),
        },
        Err(error) => found.broken("agent", format!("{error:#}"), "start it: `spoke run`, or its Deployment"),
    }
    Ok(found.broken == 0)
}

async fn cluster(place: &Place, found: &mut Findings) -> Option<KubeTarget> {
    let connected =
        tokio::time::timeout(PATIENCE, async { KubeTarget::connect(place.known_options().await).await })
            .await;
    match connected {
        Ok(Ok(target)) => {
            found.well("cluster", target.describe());
            return Some(target);
        }
        Ok(Err(error)) => {
            let mend = "check --kubeconfig and --context, the network, and the rights of the account (deploy/README.md)";
            found.broken("cluster", error, mend);
        }
        Err(_) => found.broken("cluster", "it does not answer", "check --kubeconfig and the network"),
    }
    None
}

/// Who has the state. What the status says is as old as its pod.
async fn holder(shelf: &ClusterShelf, this: Option<&str>, found: &mut Findings) {
    const MEND: &str = "the next pod takes the state 90 s after the time that this one had to end is over; see `kubectl get pods`";
    match owner::holder(shelf).await {
        Ok(None) => {}
        Ok(Some((holder, pod))) => {
            let who = holder.describe();
            match pod {
                Some(Pod::Ends) => found.broken("holder", format!("{who}, is being deleted"), MEND),
                Some(Pod::Ended) => found.broken("holder", format!("{who}, has ended"), MEND),
                Some(Pod::Runs) if this.is_some_and(|this| this != holder.pod) => found.broken(
                    "holder",
                    format!("{who}, has the state, and this pod waits for it"),
                    "one agent runs in a namespace: end the other one",
                ),
                Some(Pod::Runs) | None => found.well("holder", who),
            }
        }
        Err(error) => found.broken("holder", link::chain(&error), "its own words say how to mend it"),
    }
}

fn policy(file: &std::path::Path, found: &mut Findings) {
    let read = std::fs::read_to_string(file).map_err(|error| error.to_string());
    match read.and_then(|text| Policy::read(&text).map_err(|error| error.to_string())) {
        Ok(_) => found.well("policy", file.display()),
        Err(error) => found.broken(
            "policy",
            format!("{}: {error}", file.display()),
            "until it can be read nothing is changed on this cluster; deploy/README.md shows what it may say",
        ),
    }
}

async fn state(place: &Place, found: &mut Findings) -> Option<Identity> {
    let state = match place.state_to_look_at().await {
        Ok(state) => state,
        Err(error) => {
            found.broken(
                "state",
                format!("{error:#}"),
                "without its state the agent has to join again: `hub cluster join NAME`",
            );
            return None;
        }
    };
    let where_it_is = state.keep().place("");
    match state.identity().await {
        Ok(Some(identity)) => {
            found.well(
                "state",
                format!("cluster {} of fleet {}, in {where_it_is}", identity.cluster, identity.fleet),
            );
            Some(identity)
        }
        Ok(None) => {
            found.broken(
                "state",
                format!("no identity in {where_it_is}"),
                "join: `hub cluster join NAME` prints how",
            );
            None
        }
        Err(error) => {
            found.broken("state", error, "its own words say how to mend it");
            None
        }
    }
}

fn certificate(identity: &Identity, found: &mut Findings) {
    let (from, until) = identity.validity_ms();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let late = u64::try_from(LATE.as_millis()).unwrap_or(u64::MAX);
    if now < from {
        found.broken("clock", "this machine's clock is before the certificate begins", "set the clock");
    } else if now >= until {
        found.broken("certificate", "it has expired", "it is renewed as soon as the hub can be reached, for 90 days; if this machine's clock is wrong, set it");
    } else if until - now < late {
        found.broken("certificate", "it was not renewed at half of its life", "see the lines about the hub");
    } else {
        found.well("certificate", format!("valid for {} more hours", (until - now) / 3_600_000));
    }
}

async fn hub(identity: &Identity, found: &mut Findings) {
    let outward = Outward::from_environment();
    let connector: Connector = Arc::new(outward.clone());
    for address in &identity.hub_addresses {
        let what = format!("hub {address}");
        let way = outward.describe(address);
        let tls = match tls::client(&identity.ca.0, Some(&identity.credentials()), system_clock()) {
            Ok(tls) => tls,
            Err(error) => {
                found.broken(
                    &what,
                    error,
                    "the identity cannot be used; join again: `hub cluster join NAME`",
                );
                continue;
            }
        };
        match link::open(&connector, tls, address).await {
            Ok(_) => found.well(&what, format!("reached {way}, and it is the fleet's own")),
            Err(error) => found.broken(
                &what,
                format!("{} (tried {way})", link::chain(&error)),
                "check the address, firewalls, HTTPS_PROXY and NO_PROXY; TLS must reach the hub unbroken",
            ),
        }
    }
}
