//! Whom the hub does not let itself be sent to, and for whom it does not wait.

use std::sync::Arc;
use std::time::Duration;

use harness::charts::{Answer, ChartServer, Wants};
use harness::wait::until;
use nave_hub::charts::ChartError;

use crate::charts::given::{Given, chart, said};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_redirect_is_followed_without_what_is_for_another_host() {
    let given = Given::new();
    let (front, back) = (given.server().await, given.server().await);
    given.packed("helm", "web", &["1.0.0"]).await;
    given.indexed("helm", &back, "/moved", None).await;
    given.indexed("helm", &front, "/moved", None).await;
    front.want(Wants::Basic("me", "secret"));
    let charts = given.charts(vec![
        given.access(front.url("/"), Some("secret")),
        // Not even what is its own: the redirect may be somebody's who only wants to see what happens.
        given.access(back.url("/"), Some("other")),
    ]);
    front.answer("/a/index.yaml", Answer::Redirect("/moved/index.yaml".into()));
    front.answer("/a/web-1.0.0.tgz", Answer::Redirect(back.url("/moved/web-1.0.0.tgz")));
    assert_eq!(said(charts.resolve(&chart(front.url("/a"), "web", "")).await), "1.0.0");
    let shown = |server: &ChartServer| -> Vec<bool> {
        server.asked().iter().map(|asked| asked.authorization.is_some()).collect()
    };
    assert_eq!((shown(&front), shown(&back)), (vec![true; 3], vec![false]));
}

#[tokio::test]
async fn redirects_and_indexes_lead_neither_out_of_tls_nor_to_where_a_cloud_keeps_credentials_nor_in_circles()
{
    let given = Given::new();
    let server = given.server().await;
    let plain = ChartServer::start_in_clear().await;
    for (path, to) in [
        ("/clear/index.yaml", plain.url("/index.yaml")),
        ("/metadata/index.yaml", "https://169.254.169.254/latest/meta-data".into()),
        ("/mapped/index.yaml", "https://[::ffff:a9fe:a9fe]/".into()),
        ("/file/index.yaml", "file:///etc/passwd".into()),
        ("/login/index.yaml", "https://me:secret@127.0.0.1/".into()),
        ("/circle/index.yaml", "/circle/index.yaml".into()),
    ] {
        server.answer(path, Answer::Redirect(to));
    }
    for (path, url) in [
        ("/named-clear/index.yaml", plain.url("/web.tgz")),
        ("/named-metadata/index.yaml", "https://169.254.169.254/latest/meta-data".into()),
        ("/named-file/index.yaml", "file:///etc/passwd".into()),
    ] {
        server.put(path, format!("entries: {{web: [{{version: 1.0.0, urls: ['{url}']}}]}}\n"));
    }
    let charts = given.charts_of(&server);
    let rows = [
        ("/clear", "leads on from https:// to what is not encrypted"),
        ("/metadata", "link-local address"),
        ("/mapped", "link-local address"),
        ("/file", "leads on from https:// to what is not encrypted"),
        ("/login", "holds a user or password"),
        ("/circle", "more than five redirects"),
        ("/named-clear", "names it by what is not encrypted"),
        ("/named-metadata", "link-local address"),
        ("/named-file", "names it by what is not encrypted"),
    ];
    for (path, expected) in rows {
        let told = charts.resolve(&chart(server.url(path), "web", "")).await.expect_err(path);
        assert!(matches!(told, ChartError::Forbidden { .. }), "{path}: {told:?}");
        assert!(
            told.to_string().contains(expected) && !told.to_string().contains("secret"),
            "{path}: {told}"
        );
    }
    assert!(plain.asked().is_empty());
    let circle = server.asked().iter().filter(|asked| asked.target == "/circle/index.yaml").count();
    assert_eq!(circle, 6, "the first, and five redirects");
}

#[tokio::test]
async fn a_repository_without_tls_is_read_and_shown_nothing() {
    let given = Given::new();
    let plain = ChartServer::start_in_clear().await;
    given.packed("helm", "web", &["1.0.0"]).await;
    given.indexed("helm", &plain, "", None).await;
    let charts = given.charts(vec![given.access(plain.url("/").replace("http:", "https:"), Some("secret"))]);
    assert_eq!(said(charts.resolve(&chart(plain.url(""), "web", "")).await), "1.0.0");
    assert!(plain.asked().iter().all(|asked| asked.authorization.is_none()));
    let told =
        charts.resolve(&chart("http://127.0.0.1:1/".into(), "web", "")).await.expect_err("nobody is there");
    assert!(matches!(told, ChartError::Unreachable { .. }), "{told:?}");
}

#[tokio::test]
async fn what_only_a_proxy_reaches_is_asked_through_it_and_so_is_where_it_leads_to() {
    let given = Given::new();
    let proxy = ChartServer::start_in_clear().await;
    given.packed("helm", "web", &["1.0.0"]).await;
    given.indexed("helm", &proxy, "", None).await;
    proxy.answer("/moved/index.yaml", Answer::Redirect("http://elsewhere.invalid/index.yaml".into()));
    let mut access = given.access("http://charts.invalid/".into(), None);
    access.proxy = Some(proxy.url(""));
    let charts = given.charts(vec![access]);
    for path in ["", "/moved"] {
        let named = chart(format!("http://charts.invalid{path}"), "web", "");
        assert_eq!(said(charts.resolve(&named).await), "1.0.0", "{path:?}");
    }
    // Nobody else knows these names.
    let asked: Vec<String> = proxy.asked().into_iter().map(|asked| asked.target).collect();
    assert_eq!(asked, ["/index.yaml", "/web-1.0.0.tgz", "/moved/index.yaml", "/index.yaml"]);
}

#[tokio::test]
async fn whoever_gives_up_on_a_silent_server_lets_others_have_their_turn() {
    let given = Given::new();
    let server = given.server().await;
    given.packed("helm", "web", &["1.0.0"]).await;
    given.indexed("helm", &server, "", None).await;
    server.answer("/silent/index.yaml", Answer::Silence);
    let charts = Arc::new(given.charts_of(&server));
    let silent = chart(server.url("/silent"), "web", "");
    // More than may ask at a time.
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let (charts, silent) = (charts.clone(), silent.clone());
            tokio::spawn(async move { charts.resolve(&silent).await })
        })
        .collect();
    let mut asked = 0;
    until("all turns are taken", LIMIT, async || {
        asked += server.asked().len();
        if asked == 4 { Ok(()) } else { Err(format!("{asked} ask")) }
    })
    .await;
    waiting.iter().for_each(|one| one.abort());
    for one in waiting {
        assert!(one.await.expect_err("it waits").is_cancelled());
    }
    assert_eq!(said(charts.resolve(&chart(server.url(""), "web", "")).await), "1.0.0");
}

#[tokio::test]
async fn passwords_and_authorities_in_files_are_read_anew_and_what_is_wrong_with_them_is_told() {
    let given = Given::new();
    let server = given.server().await;
    given.packed("helm", "web", &["1.0.0"]).await;
    given.indexed("helm", &server, "", None).await;
    server.want(Wants::Basic("me", "new"));
    let access = given.access(server.url("/"), Some("old"));
    let password = format!("{}.password", access.name);
    let charts = given.charts(vec![access]);
    let named = chart(server.url(""), "web", "");
    let told = charts.resolve(&named).await.expect_err("it is wrong");
    assert!(matches!(told, ChartError::AuthRefused { .. }), "{told:?}");
    given.write(&password, "new\n");
    assert_eq!(said(charts.resolve(&named).await), "1.0.0");
    given.write(&password, "");
    let told = charts.resolve(&named).await.expect_err("it is empty");
    assert!(matches!(told, ChartError::NoCredentials { .. }), "{told:?}");
    given.write(&password, "new");
    given.write("ca.pem", "-----BEGIN CERTIFICATE-----\nnothing\n");
    let told = charts.resolve(&named).await.expect_err("there is no certificate");
    assert!(matches!(told, ChartError::BadCaFile { .. }), "{told:?}");
}
