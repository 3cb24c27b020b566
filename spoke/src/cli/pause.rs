//! `spoke pause` and `spoke resume`: on the spot, without the hub. What is written is what people may write by hand too.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Args;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use nave_placement::AppKey;
use nave_placement::duration;
use nave_spoke::pause::{ANNOTATION, FILE, Pause, REASON};
use nave_spoke::target::kube::access::inventory_name;
use nave_spoke::target::kube::core;
use serde_json::{Value, json};

use super::place::Place;

/// Its arguments.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    which: ResumeArguments,
    /// How long; without it, until `spoke resume`
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasting: Option<Duration>,
    /// Why, for whoever looks
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

/// What is paused.
#[derive(Args)]
pub struct ResumeArguments {
    #[command(flatten)]
    place: Place,
    /// Only this app; default: everything on the cluster
    #[arg(long, value_name = "APP")]
    app: Option<AppKey>,
}

/// Pauses.
pub async fn pause(arguments: &Arguments) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let until =
        arguments.lasting.map(|lasting| u64::try_from((now + lasting).as_millis()).unwrap_or(u64::MAX));
    // Annotations and the file have one line for it.
    let reason = arguments.reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let pause = Pause { until_ms: until, reason };
    write(&arguments.which, Some(&pause)).await?;
    match &arguments.which.app {
        Some(app) => println!("app {app}: {pause}"),
        None => println!("everything: {pause}"),
    }
    Ok(())
}

/// Ends a pause.
pub async fn resume(arguments: &ResumeArguments) -> anyhow::Result<()> {
    write(arguments, None).await?;
    match &arguments.app {
        Some(app) => println!("changes of app {app} go on"),
        None => println!("changes go on"),
    }
    Ok(())
}

async fn write(which: &ResumeArguments, pause: Option<&Pause>) -> anyhow::Result<()> {
    which.place.check()?;
    match &which.place.target {
        super::place::To::Dir(_) => in_directory(which, pause),
        super::place::To::Kube => in_cluster(which, pause).await,
    }
}

fn in_directory(which: &ResumeArguments, pause: Option<&Pause>) -> anyhow::Result<()> {
    anyhow::ensure!(which.app.is_none(), "a directory of manifests can only be paused as a whole");
    let dir = which.place.state_dir.as_ref().context("--target dir:PATH needs --state-dir DIR")?;
    anyhow::ensure!(dir.is_dir(), "{}: there is no such state directory", dir.display());
    let path = dir.join(FILE);
    let done = match pause {
        Some(pause) => {
            let aside = dir.join(format!("{FILE}.new"));
            fs::write(&aside, format!("{}\n{}\n", pause.value(), pause.reason))
                .and_then(|()| fs::rename(&aside, &path))
        }
        None => match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        },
    };
    done.with_context(|| path.display().to_string())
}

async fn in_cluster(which: &ResumeArguments, pause: Option<&Pause>) -> anyhow::Result<()> {
    let place = &which.place;
    let client = place.client().await?;
    let value = |text: Option<String>| text.map_or(Value::Null, Value::String);
    let reason = pause.map(|pause| pause.reason.clone()).filter(|reason| !reason.is_empty());
    let annotations = json!({ANNOTATION: value(pause.map(Pause::value)), REASON: value(reason)});
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    let (api, name): (Api<DynamicObject>, String) = match &which.app {
        Some(app) => {
            let maps = core("ConfigMap", "configmaps");
            (Api::namespaced_with(client, &place.namespace, &maps), inventory_name(app))
        }
        None => (Api::all_with(client, &core("Namespace", "namespaces")), place.namespace.clone()),
    };
    let what = match &which.app {
        Some(app) => format!("app {app} has nothing on this cluster, or"),
        None => format!("namespace {} cannot be annotated, or", place.namespace),
    };
    let patched = api.patch_metadata(&name, &PatchParams::default(), &patch).await;
    patched.map(drop).with_context(|| format!("{what} the cluster refuses"))
}
