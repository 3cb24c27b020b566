//! `spoke uninstall`: the agent leaves this cluster for good, without the hub.
//!
//! In: where it is. Out: a cluster without it, and each thing said that was removed or stays.
//! Never: deletes what runs unless told to; deletes a namespace, or a file, that is not the agent's own; works beside a
//! running agent.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube::core::discovery::ApiResource;
use kube::{Client, ResourceExt as _};
use nave_placement::catalog::Treatment;
use nave_placement::{AppKey, ObjectKey};
use nave_spoke::plan::{is_kept, rank};
use nave_spoke::state::secrets::Secrets;
use nave_spoke::state::secrets::owner::Holder;
use nave_spoke::state::secrets::shelf::{ClusterShelf, LEFT_BEHIND, STATUS};
use nave_spoke::state::{Files, StateError, TARGET};
use nave_spoke::target::kube::access::inventory_name;
use nave_spoke::target::kube::{KubeTarget, builtin, core};
use nave_spoke::target::{Behalf, Deleted, Target};
use tokio::time::{Instant, sleep};

use super::place::{self, Place, To};

/// What the manifests put on everything of the agent.
const OURS: &str = "app.kubernetes.io/name=nave-spoke";
/// What they call everything in the agent's namespace; elsewhere its namespace follows.
const NAME: &str = "nave-spoke";
/// A pod has half a minute to end; where its node is dead it counts as ended [`LEFT_BEHIND`] later; and a busy cluster takes
/// its time to notice.
const ENDING: Duration = Duration::from_secs(30 + LEFT_BEHIND.as_secs() + 30);
/// Finalizers of what runs are waited for so long.
const DELETING: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_secs(1);

/// Its arguments.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Delete what the apps have here too, in the reverse of the order in which it was made
    #[arg(long)]
    delete_workloads: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Does it.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let place = &arguments.place;
    place.check()?;
    if arguments.delete_workloads && !arguments.yes {
        confirm(&super::status::read(place).await.map(|status| status.cluster).unwrap_or_default())?;
    }
    match (&place.target, &place.state_dir) {
        (To::Dir(path), Some(state)) => directory(arguments, path, state).await,
        _ => cluster(arguments).await,
    }
}

/// Whoever deletes everything writes the cluster's name.
fn confirm(cluster: &str) -> anyhow::Result<()> {
    let word = if cluster.is_empty() { "delete" } else { cluster };
    print!("This deletes everything that apps have on this cluster. Write {word} to go on: ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    anyhow::ensure!(answer.trim() == word, "nothing was done");
    Ok(())
}

async fn directory(arguments: &Arguments, path: &Path, state: &Path) -> anyhow::Result<()> {
    let files = Files::of_a_spoke(state).map_err(in_the_way)?;
    for (what, dir) in [("directory of manifests", path), ("such target", &*state.join(TARGET))] {
        anyhow::ensure!(dir.is_dir(), "{}: the agent has no {what}; nothing was done", dir.display());
    }
    let target = place::directory(path, state)?;
    same_cluster(&arguments.place, &target).await?;
    empty_or_tell(arguments, &target).await?;
    drop(target);
    cleared(files, state)
}

/// A state directory says which cluster it is of: taken for another's, that one would lose its agent.
async fn same_cluster(place: &Place, target: &dyn Target) -> anyhow::Result<()> {
    if place.state_dir.is_none() {
        return Ok(());
    }
    // Where its record is damaged nobody knows which it is of.
    if let Ok(Some(identity)) = place.state_to_look_at().await?.identity().await {
        let (of, uid) = (identity.cluster_uid, target.uid().await?);
        anyhow::ensure!(
            uid == of,
            "the state is of another target (UID {of}) than {} (UID {uid}); nothing was done",
            target.describe()
        );
    }
    Ok(())
}

fn cleared(files: Files, dir: &Path) -> anyhow::Result<()> {
    let left = files.clear()?;
    match left.first() {
        None => println!("removed the state directory {}", dir.display()),
        Some(first) => println!(
            "removed the state; {} stays: it has {first} and {} more that are not the agent's",
            dir.display(),
            left.len() - 1
        ),
    }
    Ok(())
}

fn in_the_way(error: StateError) -> anyhow::Error {
    let in_use = matches!(error, StateError::InUse(_));
    let error = anyhow::Error::from(error);
    if in_use { error.context("stop the agent first") } else { error }
}

async fn cluster(arguments: &Arguments) -> anyhow::Result<()> {
    let place = &arguments.place;
    if let Some(dir) = &place.state_dir {
        // Looked at before anything is removed.
        drop(Files::of_a_spoke(dir).or_else(|error| match error {
            StateError::InUse(_) => Ok(Files::to_look_at(dir)),
            error => Err(error),
        })?);
    }
    let target = KubeTarget::connect(place.known_options().await).await?;
    let (client, own) = (target.client(), place.namespace.as_str());
    same_cluster(place, &target).await?;
    let namespace = namespace(&client, own).await;
    if matches!(namespace, Ok(None)) {
        println!("namespace {own} is not there");
        rights(place, &client, true).await;
        return Ok(());
    }
    let is_ours = namespace.ok().flatten().as_ref().is_some_and(is_ours);
    // First the agent itself, or it would put back what is deleted.
    remove(&client, &builtin("apps", "Deployment", "deployments"), own, NAME).await;
    let state = stopped(place, &client).await?;
    empty_or_tell(arguments, &target).await?;
    for app in target.inventories().await?.into_keys() {
        remove(&client, &core("ConfigMap", "configmaps"), own, &inventory_name(&app)).await;
    }
    remove(&client, &core("ConfigMap", "configmaps"), own, STATUS).await;
    match state {
        Stopped::Secrets(secrets) => {
            let count = secrets.clear().await.context("the state could not be removed")?;
            println!("removed the state: {count} Secrets of namespace {own}");
        }
        Stopped::Files(files, dir) => {
            cleared(files, &dir)?;
        }
    }
    if is_ours {
        // Last, since what speaks here may be the agent's own account; with it goes what is in it.
        remove(&client, &core("Namespace", "namespaces"), "", own).await;
    } else {
        for (kind, name) in [
            (core("Secret", "secrets"), "nave-spoke-join"),
            (core("ConfigMap", "configmaps"), "nave-spoke-policy"),
        ] {
            remove(&client, &kind, own, name).await;
        }
        println!("namespace {own} stays: it was not made for the agent");
    }
    rights(place, &client, is_ours).await;
    Ok(())
}

enum Stopped {
    Secrets(Secrets),
    Files(Files, std::path::PathBuf),
}

/// Waits until no agent has the state.
async fn stopped(place: &Place, client: &Client) -> anyhow::Result<Stopped> {
    let end = Instant::now() + ENDING;
    loop {
        let taken = match &place.state_dir {
            Some(dir) => Files::of_a_spoke(dir).map(|files| Stopped::Files(files, dir.clone())),
            None => {
                let shelf = Arc::new(ClusterShelf::new(client.clone(), &place.namespace));
                Secrets::open(shelf, Holder::this_process(None)).await.map(Stopped::Secrets)
            }
        };
        match taken {
            Err(StateError::InUse(_)) if Instant::now() < end => sleep(LOOK).await,
            taken => return taken.map_err(in_the_way),
        }
    }
}

async fn empty_or_tell(arguments: &Arguments, target: &dyn Target) -> anyhow::Result<()> {
    let inventories = target.inventories().await?;
    let objects: BTreeMap<&AppKey, usize> =
        inventories.iter().map(|(app, inventory)| (app, inventory.objects.len())).collect();
    if !arguments.delete_workloads {
        for (app, count) in objects {
            println!("app {app} stays: {count} objects, which nobody keeps as they are any more");
        }
        return Ok(());
    }
    let mut all: Vec<(AppKey, ObjectKey)> = Vec::new();
    for (app, inventory) in &inventories {
        all.extend(inventory.objects.iter().map(|key| (app.clone(), key.clone())));
    }
    all.sort_by_key(|(_, key)| std::cmp::Reverse(rank(key)));
    let (end, treatment) = (Instant::now() + DELETING, Treatment::default());
    let mut remaining = Vec::new();
    for (app, key) in all {
        if is_kept(&key) {
            println!("{key} of app {app} stays: others may have something in it");
            continue;
        }
        remaining.push((app, key));
    }
    while !remaining.is_empty() {
        let mut ending = Vec::new();
        for (app, key) in std::mem::take(&mut remaining) {
            // What serves an object that is still ending goes after it: its controller, for one.
            if ending.first().is_some_and(|(_, earlier)| rank(earlier) > rank(&key)) {
                ending.push((app, key));
                continue;
            }
            match target.delete(Behalf { app: &app, treatment: &treatment }, &key).await {
                Ok(Deleted::Gone | Deleted::Absent) => println!("deleted {key} of app {app}"),
                Ok(Deleted::NotOurs(why)) => println!("{key} of app {app} stays: {why}"),
                Ok(Deleted::Terminating { .. }) => ending.push((app, key)),
                Err(error) => anyhow::bail!("{key} of app {app} could not be deleted: {error}"),
            }
        }
        if let Some((app, key)) = ending.first().filter(|_| Instant::now() >= end) {
            anyhow::bail!(
                "{key} of app {app} is still being deleted, and {} more; run this again",
                ending.len() - 1
            );
        }
        if !ending.is_empty() {
            sleep(LOOK).await;
        }
        remaining = ending;
    }
    for app in inventories.keys() {
        target.forget_inventory(app).await?;
    }
    Ok(())
}

/// Roles and bindings, as far as they can be seen, and the account.
async fn rights(place: &Place, client: &Client, namespace_goes: bool) {
    let kinds = [("RoleBinding", "rolebindings"), ("Role", "roles")];
    let elsewhere = format!("{NAME}-{}", place.namespace);
    let everywhere = match place.namespaces.as_slice() {
        [] => vec![String::new()],
        some => some.to_vec(),
    };
    for (name, plural) in kinds {
        let kind = builtin("rbac.authorization.k8s.io", name, plural);
        for namespace in &everywhere {
            let api: Api<DynamicObject> = match namespace.as_str() {
                "" => Api::all_with(client.clone(), &kind),
                namespace => Api::namespaced_with(client.clone(), namespace, &kind),
            };
            let listed = api.list_metadata(&ListParams::default().labels(OURS)).await;
            for object in listed.map(|list| list.items).unwrap_or_default() {
                let within = object.namespace().unwrap_or_default();
                let own = within == place.namespace;
                // Another agent may live in another namespace, and have its rights beside these.
                let ours = own || object.name_any() == elsewhere;
                if ours && !(namespace_goes && own) {
                    remove(client, &kind, &within, &object.name_any()).await;
                }
            }
        }
    }
    if !namespace_goes {
        remove(client, &core("ServiceAccount", "serviceaccounts"), &place.namespace, NAME).await;
    }
    for (name, plural) in [("ClusterRoleBinding", "clusterrolebindings"), ("ClusterRole", "clusterroles")] {
        remove(client, &builtin("rbac.authorization.k8s.io", name, plural), "", &elsewhere).await;
    }
}

async fn namespace(client: &Client, name: &str) -> kube::Result<Option<DynamicObject>> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &core("Namespace", "namespaces"));
    api.get_opt(name).await
}

fn is_ours(namespace: &DynamicObject) -> bool {
    namespace.labels().get("app.kubernetes.io/name").is_some_and(|value| value == NAME)
}

/// Removes one thing and says so; what may not be removed stays, and is told.
async fn remove(client: &Client, kind: &ApiResource, namespace: &str, name: &str) {
    let api: Api<DynamicObject> = match namespace {
        "" => Api::all_with(client.clone(), kind),
        namespace => Api::namespaced_with(client.clone(), namespace, kind),
    };
    let within = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => println!("removed {} {within}{name}", kind.kind),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(kube::Error::Api(status)) => println!("{} {within}{name} stays: {}", kind.kind, status.message),
        Err(error) => println!("{} {within}{name} stays: {error}", kind.kind),
    }
}
