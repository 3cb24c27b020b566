//! A spoke behind a proxy that wants a password: it joins, works, and says what is wrong when the password is.

use harness::connect::ConnectProxy;
use harness::fleet::Fleet;
use harness::fleet::documents::config_map;
use harness::process::Program;
use harness::wait;

use crate::given::{LIMIT, catalog};

/// `ann:p@ss` in base64.
const CREDENTIALS: &str = "Basic YW5uOnBAc3M=";
/// Where no proxy listens.
const NOBODY: &str = "http://127.0.0.1:1";

/// With these variables alone, whatever the tests themselves are run with.
fn spoke(fleet: &Fleet, token: &str, proxies: &[(&str, &str)], exempt: &str) -> Program {
    let manifests = fleet.manifests("fra-1");
    std::fs::create_dir_all(&manifests).unwrap();
    let mut program = Program::built("spoke").unwrap();
    for variable in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
        let value = proxies.iter().find(|(name, _)| *name == variable).map_or("", |(_, value)| value);
        program = program.env(variable, value);
    }
    program
        .args(["run", "--join", token, "--state-dir"])
        .arg(fleet.state("fra-1"))
        .arg("--target")
        .arg(format!("dir:{}", manifests.display()))
        .env("NO_PROXY", exempt)
}

#[tokio::test]
async fn a_spoke_reaches_its_hub_through_a_proxy_with_a_password() {
    let mut fleet = Fleet::start(catalog(&["web"])).await.unwrap();
    let proxy = ConnectProxy::start(Some(CREDENTIALS)).unwrap();
    let token = fleet.token("fra-1", &[]).await.unwrap();

    let wrong = format!("http://ann:wrong@{}", proxy.address());
    fleet.adopt_spoke("fra-1", spoke(&fleet, &token, &[("HTTPS_PROXY", &wrong)], "example.com")).unwrap();
    wait::until("the spoke says what is wrong", LIMIT, async || {
        let said = fleet.tails();
        let named = said.contains("it wants other credentials (407)") && !said.contains("ann:wrong");
        if named { Ok(()) } else { Err(said) }
    })
    .await;
    assert_eq!(proxy.asked(), Vec::<String>::new());
    fleet.kill_spoke("fra-1");

    let right = format!("http://ann:p%40ss@{}", proxy.address());
    // Where both are set, that for HTTPS is the one.
    let both = [("HTTPS_PROXY", &*right), ("HTTP_PROXY", NOBODY)];
    fleet.adopt_spoke("fra-1", spoke(&fleet, &token, &both, "example.com, 10.0.0.0/8")).unwrap();
    fleet.connected(1).await;
    fleet.converge(&[]).await.unwrap();
    let asked = proxy.asked();
    assert!(!asked.is_empty() && asked.iter().all(|to| *to == fleet.address()), "{asked:?}");

    // Exempted, it goes directly; another proxy is not even tried.
    fleet.kill_spoke("fra-1");
    let before = proxy.asked().len();
    fleet.adopt_spoke("fra-1", spoke(&fleet, &token, &[("HTTPS_PROXY", NOBODY)], "127.0.0.0/8")).unwrap();
    fleet.connected(1).await;
    assert_eq!(proxy.asked().len(), before);

    // Some networks set the other variable alone.
    fleet.kill_spoke("fra-1");
    fleet.adopt_spoke("fra-1", spoke(&fleet, &token, &[("HTTP_PROXY", &right)], "example.com")).unwrap();
    wait::until("the proxy is asked again", LIMIT, async || {
        if proxy.asked().len() > before { Ok(()) } else { Err(fleet.tails()) }
    })
    .await;
    fleet.connected(1).await;
    fleet.catalog.commit_file("apps/manifests/web/web.yaml", &config_map("web", "2")).unwrap();
    fleet.converge(&["--commit", &fleet.catalog.head().unwrap()]).await.unwrap();
    assert!(proxy.asked().iter().all(|to| *to == fleet.address()), "{:?}", proxy.asked());
}
