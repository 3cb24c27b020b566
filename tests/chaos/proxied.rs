//! A spoke behind a proxy that wants a password: it joins, works, and says what is wrong when the password is.

use harness::connect::ConnectProxy;
use harness::fleet::{Fleet, Target};
use harness::process::Program;
use harness::wait;

use crate::given::{LIMIT, catalog};

/// `ann:p@ss` in base64.
const CREDENTIALS: &str = "Basic YW5uOnBAc3M=";

fn spoke(fleet: &Fleet, token: &str, proxy: &str, exempt: &str) -> Program {
    let manifests = fleet.manifests("fra-1");
    std::fs::create_dir_all(&manifests).unwrap();
    Program::built("spoke")
        .unwrap()
        .args(["run", "--join", token, "--state-dir"])
        .arg(fleet.state("fra-1"))
        .arg("--target")
        .arg(format!("dir:{}", manifests.display()))
        .env("HTTPS_PROXY", proxy)
        .env("NO_PROXY", exempt)
}

#[tokio::test]
async fn a_spoke_reaches_its_hub_through_a_proxy_with_a_password() {
    let mut fleet = Fleet::start(catalog(&["web"])).await.unwrap();
    let proxy = ConnectProxy::start(Some(CREDENTIALS)).unwrap();
    let token = fleet.token("fra-1", &[]).await.unwrap();

    let wrong = format!("http://ann:wrong@{}", proxy.address());
    fleet.adopt_spoke("fra-1", spoke(&fleet, &token, &wrong, "example.com")).unwrap();
    wait::until("the spoke says what is wrong", LIMIT, async || {
        let said = fleet.tails();
        let named = said.contains("it wants other credentials (407)") && !said.contains("ann:wrong");
        if named { Ok(()) } else { Err(said) }
    })
    .await;
    assert_eq!(proxy.asked(), Vec::<String>::new());
    fleet.kill_spoke("fra-1");

    let right = format!("http://ann:p%40ss@{}", proxy.address());
    fleet.adopt_spoke("fra-1", spoke(&fleet, &token, &right, "example.com, 10.0.0.0/8")).unwrap();
    fleet.connected(1).await;
    fleet.converge(&[]).await.unwrap();
    let asked = proxy.asked();
    assert!(!asked.is_empty() && asked.iter().all(|to| *to == fleet.address()), "{asked:?}");

    // Exempted, it goes directly; another proxy is not even tried.
    fleet.kill_spoke("fra-1");
    let before = proxy.asked().len();
    fleet.adopt_spoke("fra-1", spoke(&fleet, &token, "http://127.0.0.1:1", "127.0.0.0/8")).unwrap();
    fleet.connected(1).await;
    assert_eq!(proxy.asked().len(), before);
}

#[tokio::test]
async fn a_pause_on_the_spot_holds_without_the_hub_and_ends_by_word() {
    let mut fleet = crate::given::fleet(catalog(&["web"]), &["fra-1"]).await;
    let state = fleet.state("fra-1");
    let target = format!("dir:{}", fleet.manifests("fra-1").display());
    let command = async |arguments: &[&str]| {
        let program = Program::built("spoke").unwrap().args(arguments).arg("--state-dir").arg(&state);
        program.arg("--target").arg(&target).output(LIMIT).await.unwrap()
    };
    let wanted = fleet.files("fra-1").unwrap();
    let name = wanted.keys().next().unwrap().clone();
    let path = fleet.manifests("fra-1").join(&name);

    let said = command(&["pause", "--for", "2h", "--reason", "audit"]).await;
    assert!(said.starts_with("everything: paused on the cluster until ") && said.trim().ends_with(": audit"), "{said}");
    wait::until("the spoke has seen the pause", LIMIT, async || {
        let said = command(&["status"]).await;
        if said.contains("Paused       paused on the cluster until") { Ok(()) } else { Err(said) }
    })
    .await;
    std::fs::write(&path, "by: hand\n").unwrap();
    wait::until("the hub shows what waits, and for what", LIMIT, async || {
        let answer = fleet.hub(&["cluster", "show", "fra-1", "-o", "json"]).await.unwrap().json().unwrap();
        let app = &answer["apps"][0];
        let paused = app["reason"] == "Paused" && app["message"].to_string().contains("audit");
        if paused { Ok(()) } else { Err(format!("{answer:#}\n{}", fleet.tails())) }
    })
    .await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "by: hand\n");

    fleet.kill_hub();
    fleet.kill_spoke("fra-1");
    fleet.start_spoke("fra-1", None, &Target::Directory).unwrap();
    wait::throughout("it holds over a restart", crate::given::WATCHED, async || {
        std::fs::read_to_string(&path).is_ok_and(|text| text == "by: hand\n")
    })
    .await;
    command(&["resume"]).await;
    wait::until("what waited is done", LIMIT, async || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if text == wanted[&name] { Ok(()) } else { Err(format!("{text}\n{}", fleet.tails())) }
    })
    .await;
}
