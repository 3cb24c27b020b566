//! `spoke doctor`: everything that the agent needs, looked at; each line says what is well, or what is not and how to
//! mend it.
//!
//! In: where the agent is. Out: lines, and whether all is well. Never: changes anything; needs the agent, or the hub.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use kube::Client;
use nave_proto::tls;
use nave_spoke::identity::Identity;
use nave_spoke::link::{self, Connector};
use nave_spoke::policy::Policy;
use nave_spoke::proxy::Outward;
use nave_spoke::run::system_clock;
use nave_spoke::target::Target as _;
use nave_spoke::target::kube::KubeTarget;
use nave_spoke::target::kube::access::{Right, may};

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
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
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
    if place.target == To::Kube {
        cluster(place, &mut found).await;
    }
    if let Some(file) = &arguments.policy {
        policy(file, &mut found);
    }
    if let Some(identity) = state(place, &mut found).await {
        certificate(&identity, &mut found);
        hub(&identity, &mut found).await;
    }
    match super::status::read(place).await {
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

async fn cluster(place: &Place, found: &mut Findings) {
    let connected =
        tokio::time::timeout(PATIENCE, async { KubeTarget::connect(place.known_options().await).await })
            .await;
    let target = match connected {
        Ok(Ok(target)) => target,
        Ok(Err(error)) => {
            let mend = "check --kubeconfig and --context, the network, and the rights of the account (deploy/README.md)";
            return found.broken("cluster", error, mend);
        }
        Err(_) => return found.broken("cluster", "it does not answer", "check --kubeconfig and the network"),
    };
    found.well("cluster", target.describe());
    let client = target.client();
    let mut missing = BTreeSet::new();
    let wanted = own_rights(&place.namespace).into_iter().chain(app_rights(place, &target).await);
    let mut count = 0;
    for right in wanted {
        count += 1;
        match allowed(&client, &right).await {
            Ok(true) => {}
            Ok(false) => drop(missing.insert(right)),
            Err(error) => {
                return found.broken(
                    "rights",
                    error,
                    "the API server does not say what is allowed; try again",
                );
            }
        }
    }
    if missing.is_empty() {
        found.well("rights", format!("all {count} that it needs for itself and for the apps that it has"));
    }
    for right in missing {
        found.broken(
            "rights",
            format!("it may not {right}"),
            "add the rule to its Role or ClusterRole (deploy/README.md lists them)",
        );
    }
}

async fn allowed(client: &Client, right: &Right) -> Result<bool, String> {
    may(client, right).await.map_err(|error| error.to_string())
}

fn right(verb: &'static str, group: &str, resource: &str, namespace: &str) -> Right {
    let [group, resource, namespace] = [group, resource, namespace].map(str::to_owned);
    Right { verb, group, resource, namespace, name: String::new() }
}

/// What the agent needs for its own things.
fn own_rights(own: &str) -> Vec<Right> {
    let verbs = ["get", "list", "create", "update", "patch", "delete"];
    let mut rights: Vec<Right> = verbs.iter().map(|verb| right(verb, "", "secrets", own)).collect();
    rights.extend(
        ["get", "list", "watch", "create", "patch", "delete"].map(|verb| right(verb, "", "configmaps", own)),
    );
    rights.push(right("get", "", "pods", own));
    // For the annotation that pauses.
    rights.push(Right { name: own.to_owned(), ..right("get", "", "namespaces", own) });
    rights
}

/// What it needs for what the apps have here: for each kind, where objects of it are.
async fn app_rights(place: &Place, target: &KubeTarget) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    let inventories = target.inventories().await.unwrap_or_default();
    for key in inventories.values().flat_map(|inventory| &inventory.objects) {
        let Some(resource) = target.resource(&key.group, &key.kind) else { continue };
        for verb in ["get", "list", "create", "patch", "delete"] {
            rights.insert(right(verb, &key.group, &resource, &key.namespace));
        }
        let watched = if place.namespaces.is_empty() { String::new() } else { key.namespace.clone() };
        rights.insert(right("watch", &key.group, &resource, &watched));
    }
    rights
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
