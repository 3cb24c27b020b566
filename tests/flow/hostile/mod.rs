//! hostile: the published advisories of our neighbours, re-enacted against one hub that has other things to do. In: the corpus. Out: that
//! each is told or harmless, that nothing got out or in, and that all others went on. Never: asks anybody outside this machine.

mod archives;
mod corpus;
mod given;
mod objects;
mod packs;
mod servers;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::canary::Canary;
use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::wait;
use serde_json::Value;

use corpus::{Outcome, Row, corpus};
use given::{PASSWORD, Places, listing, peak};

use crate::rendering::given::HEAD;
use crate::values::value;

const LIMIT: Duration = Duration::from_secs(60);
const GOOD: [&str; 3] = ["plain", "chart", "far"];
/// The hub may not have more addresses than these: what it maps, with the stacks of its threads and what its allocator sets aside.
const ADDRESSES: u64 = 4 << 30;
/// Nor ever more memory than these; it is some 560 MiB without optimisation. Unbounded, what expands would take gigabytes.
const MEMORY: u64 = 768 << 20;

fn good(catalog: &Repository, shop: &Repository, value: &str) {
    let write = |path: &str, text: String| catalog.write(path, &text).expect("it is written");
    write("good/plain/a.yaml", documents::config_map("plain", value));
    write("good/chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 1.0.0\n".into());
    write("good/chart/templates/a.yaml", documents::config_map("chart", value));
    shop.commit_file("far/a.yaml", &documents::config_map("far", value)).expect("a commit");
}

async fn is_live(fleet: &Fleet) -> Result<Value> {
    let answer = fleet.http("GET /healthz", &[], "").await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    fleet.status().await
}

/// What is told of an app.
fn told<'a>(status: &'a Value, app: &str) -> Vec<&'a str> {
    let problems = status["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_of = |problem: &&Value| {
        let text = problem.to_string();
        [
            format!("App/{app}\""),
            format!("apps/{app}\""),
            format!("apps/{app}.yaml"),
            format!("apps/{app}/"),
            format!("\"{app}\""),
        ]
        .iter()
        .any(|name| text.contains(name))
    };
    problems.iter().filter(is_of).filter_map(|problem| problem["message"].as_str()).collect()
}

/// Why a row is not as it should be.
fn amiss(row: &Row, status: &Value, fleet: &Fleet) -> Option<String> {
    let (app, told) = (row.app, told(status, row.app));
    let files = fleet.files("fra-1").unwrap_or_default();
    let written = files.keys().any(|name| name.contains(&format!("--{app}--")));
    let is_right = match row.outcome {
        Outcome::Told(words) => told.iter().any(|message| message.contains(words)) && !written,
        Outcome::Harmless => value(fleet, "fra-1", app).as_deref() == Some("harmless"),
    };
    let runs = value(fleet, "fra-1", app);
    let short: Vec<String> = told.iter().map(|message| message.chars().take(400).collect()).collect();
    (!is_right).then(|| format!("{app} ({}): told {short:#?}, runs {runs:?}", row.advisory))
}

#[test]
fn each_row_names_an_advisory_and_an_app_of_its_own() {
    let rows = corpus();
    let apps: BTreeSet<&str> = rows.iter().map(|row| row.app).collect();
    // Of some nobody wrote an advisory, as the document says itself what has to be looked at.
    let kinds = ["CVE-", "GHSA-", "RFC ", "gitformat-pack"];
    let named = |row: &Row| kinds.iter().any(|kind| row.advisory.starts_with(kind));
    assert!(apps.len() == rows.len() && rows.iter().all(|row| named(row) && !row.was.is_empty()));
    assert!(rows.len() >= 25, "{}", rows.len());
}

#[tokio::test]
async fn what_was_done_to_others_costs_a_hub_nothing_but_the_app_that_does_it() {
    let places = Places::new().await;
    let shop = Repository::with("shop", &[("readme.md", "a shop\n")]).expect("a repository");
    let shop_server = shop.serve().expect("it is served");
    let catalog = Repository::init("catalog").expect("a repository");
    let app = |name: &str, source: String| {
        format!(
            "{HEAD}kind: App\nmetadata: {{name: {name}}}\nspec: {{source: {source}, namespace: {{name: {name}}}}}\n"
        )
    };
    for (path, text) in [
        ("fleet.yaml", documents::all_at_once()),
        ("good.yaml", documents::placement("good", &GOOD, "{selector: {}}")),
        ("plain.yaml", app("plain", "{path: ./good/plain}".into())),
        ("chart.yaml", app("chart", "{helm: {chart: ./good/chart}}".into())),
        ("far.yaml", app("far", format!("{{git: {{url: '{}', ref: main, path: far}}}}", shop_server.url()))),
    ] {
        catalog.write(path, &text).expect("it is written");
    }
    good(&catalog, &shop, "one");
    let first = catalog.commit("Begin").expect("a commit");

    let mut fleet = Fleet::prepare(catalog).await.expect("it is prepared");
    fleet.configure(&places.configuration()).expect("it is written");
    fleet.environment("HOME", &places.given.path("home").display().to_string());
    fleet.limit_addresses(ADDRESSES);
    fleet.start_hub().await.expect("it starts");
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    fleet.converge(&["--commit", &first]).await.expect("it converges");

    let rows = corpus();
    for row in &rows {
        places.put(&fleet.catalog, row);
    }
    good(&fleet.catalog, &shop, "two");
    fleet.catalog.commit("Do all that was ever done").expect("a commit");
    let ours = [fleet.data(), fleet.directory().join("spokes"), fleet.directory().join("clusters")];
    let logs = ["hub.stderr", "hub.stdout", "spoke-fra-1.stderr", "spoke-fra-1.stdout"]
        .map(|name| fleet.directory().join(name));
    let ours: Vec<_> = ours.iter().chain(&logs).map(|path| &**path).collect();
    let around = |fleet: &Fleet| {
        [
            listing(fleet.directory(), &ours),
            listing(&fleet.catalog.path(), &[]),
            listing(&places.given.path("outside"), &[]),
            listing(&places.given.path("home"), &[]),
        ]
    };
    let before = around(&fleet);

    wait::until("the others go on", LIMIT, async || {
        is_live(&fleet).await?;
        let values = GOOD.map(|app| value(&fleet, "fra-1", app));
        ensure!(values.iter().all(|value| value.as_deref() == Some("two")), "{values:?}\n{}", fleet.tails());
        Ok(())
    })
    .await;
    wait::until("each row is told or harmless", LIMIT, async || {
        let status = is_live(&fleet).await?;
        let amiss: Vec<String> = rows.iter().filter_map(|row| amiss(row, &status, &fleet)).collect();
        ensure!(amiss.is_empty(), "{} of {}:\n{}", amiss.len(), rows.len(), amiss.join("\n"));
        Ok(())
    })
    .await;

    // They go on while all of it is there.
    good(&fleet.catalog, &shop, "three");
    fleet.catalog.commit("Go on").expect("a commit");
    wait::until("the others go on again", LIMIT, async || {
        is_live(&fleet).await?;
        let values = GOOD.map(|app| value(&fleet, "fra-1", app));
        ensure!(
            values.iter().all(|value| value.as_deref() == Some("three")),
            "{values:?}\n{}",
            fleet.tails()
        );
        Ok(())
    })
    .await;

    nothing_is_shown(&fleet, &places, &rows).await;
    let log = std::fs::read_to_string(fleet.directory().join("hub.stderr")).expect("it is written");
    assert!(!log.contains("panicked"), "{log}");
    let after = around(&fleet);
    assert_eq!(after[0], before[0], "beside the hub");
    assert_eq!(after[2..], before[2..], "outside, at home");
    assert!(after[1].iter().all(|path| !path.contains("owned")), "in the catalog");
    for asked in places.other.asked() {
        assert!(asked.authorization.is_none(), "the password went elsewhere: {asked:?}");
        assert!(asked.target.matches("scope=").count() < 2, "more was asked for: {asked:?}");
    }
    let peak = peak(&mut fleet);
    assert!(peak < MEMORY, "{} MiB", peak >> 20);
    eprintln!("{} rows, {} MiB at most", rows.len(), peak >> 20);
}

/// Neither the secret beside the hub nor its password is in anything that it keeps, sends or says.
async fn nothing_is_shown(fleet: &Fleet, places: &Places, rows: &[Row]) {
    let (secret, password) = (&places.secret, Canary::of(PASSWORD));
    for canary in [secret, &password] {
        let (found, looked) = canary.search(fleet.directory(), &[]).expect("it is read");
        assert!(found.is_empty() && looked > 20, "{found:?} of {looked}");
    }
    let mut answers = Vec::new();
    for order in [&["status"][..], &["status", "-o", "json"], &["app", "list"], &["events"], &["audit"]] {
        answers.push(fleet.hub(order).await.expect("it runs"));
    }
    for row in rows {
        answers.push(fleet.hub(&["app", "show", row.app]).await.expect("it runs"));
        answers.push(fleet.hub(&["render", row.app, "--cluster", "fra-1"]).await.expect("it runs"));
    }
    for answer in answers {
        let text = answer.stdout + &answer.stderr;
        assert!(
            secret.found_in(text.as_bytes()).is_none() && password.found_in(text.as_bytes()).is_none(),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
