//! Charts of OCI registries.

use harness::charts::{Asked, ChartServer, Wants};
use nave_hub::charts::ChartError;
use nave_placement::Digest;

use crate::charts::given::{Given, HELMS, chart, paths, said};

fn targets(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(|asked| &*asked.target).collect()
}

async fn with_versions(given: &Given, versions: &[&str]) -> ChartServer {
    let server = given.server().await;
    given.packed("helm", "web", versions).await;
    given.pushed("helm", &server, "/team").await;
    server.asked();
    server
}

#[tokio::test]
async fn what_helm_pushed_is_found_by_ranges_over_pages_of_tags_and_exactly_without_a_list() {
    for helm in HELMS {
        let given = Given::new();
        let server = given.server().await;
        given.packed(helm, "web", &["1.2.0", "1.10.0", "1.9.0", "2.0.0-rc.1", "1.3.0+b1"]).await;
        given.pushed(helm, &server, "/team/charts").await;
        server.pages_of(2);
        let charts = given.charts_of(&server);
        let named = |version| chart(server.oci("/team/charts"), "web", version);
        for (version, expected) in [
            ("", "1.10.0"),
            ("<1.10", "1.9.0"),
            ("~1.3", "1.3.0+b1"),
            (">=1-0", "2.0.0-rc.1"),
            ("1.2.x", "1.2.0"),
        ] {
            assert_eq!(said(charts.resolve(&named(version)).await), expected, "{helm} {version:?}");
        }
        let told = said(charts.resolve(&named("^3")).await);
        assert!(
            told.contains("has no version ^3; it has 2.0.0-rc.1, 1.10.0, 1.9.0, 1.3.0+b1, 1.2.0"),
            "{told}"
        );
        server.asked();
        let pinned = charts.resolve(&named("")).await.expect("it is there");
        let expected = [
            "/v2/team/charts/web/tags/list?n=1000",
            "/v2/team/charts/web/tags/list?last=1.2.0",
            "/v2/team/charts/web/tags/list?last=1.9.0",
            "/v2/team/charts/web/manifests/1.10.0",
        ];
        assert_eq!(targets(&server.asked()), expected, "what is here already is not brought again");
        let archive = std::fs::read(given.path("packed/web-1.10.0.tgz")).expect("it was packed");
        assert_eq!(pinned.digest, Digest::of(&archive));
        let files = charts.files(&named(""), &pinned).await.expect("it is a chart");
        assert_eq!(paths(&files), ["Chart.yaml", "templates/a.yaml", "values.yaml"]);
        assert!(server.asked().is_empty(), "nobody is asked for what is here");

        assert_eq!(said(charts.resolve(&named("1.3.0+b1")).await), "1.3.0+b1");
        assert_eq!(targets(&server.asked()), ["/v2/team/charts/web/manifests/1.3.0_b1"]);
        let whole = chart(server.oci(""), "team/charts/web", "1.2.0");
        assert_eq!(said(charts.resolve(&whole).await), "1.2.0");
        let told = said(charts.resolve(&named("7.0.0")).await);
        assert!(told.contains("there is nothing at https://127.0.0.1:"), "{told}");
    }
}

#[tokio::test]
async fn a_password_is_shown_to_a_registry_that_wants_one() {
    let given = Given::new();
    let server = with_versions(&given, &["1.0.0"]).await;
    server.want(Wants::Basic("me", "secret"));
    let named = chart(server.oci("/team"), "web", "");
    let charts = given.charts(vec![given.access(server.oci("/team"), Some("secret"))]);
    assert_eq!(said(charts.resolve(&named).await), "1.0.0");
    // An entry for https:// is for other things on that host.
    for access in
        [given.access(server.url("/"), Some("secret")), given.access(server.oci("/other"), Some("secret"))]
    {
        let ca = given.access(server.oci("/team"), None);
        let told = given.charts(vec![access, ca]).resolve(&named).await.expect_err("it may not");
        assert!(matches!(told, ChartError::AuthRefused { .. }), "{told:?}");
    }
}

#[tokio::test]
async fn a_token_is_asked_for_to_read_the_one_chart_and_shown_to_the_registry_alone() {
    let given = Given::new();
    let server = with_versions(&given, &["1.0.0"]).await;
    // What a realm brings along is not asked for.
    server.want(Wants::Token(server.url("/token?scope=repository:other:pull")));
    let named = chart(server.oci("/team"), "web", "");
    let charts = given.charts(vec![given.access(server.oci("/"), Some("secret"))]);
    assert_eq!(said(charts.resolve(&named).await), "1.0.0");
    let asked = server.asked();
    let expected = [
        "/v2/team/web/tags/list?n=1000",
        "/token?service=the+registry&scope=repository%3Ateam%2Fweb%3Apull",
        "/v2/team/web/tags/list?n=1000",
        "/v2/team/web/manifests/1.0.0",
    ];
    assert_eq!(targets(&asked)[..4], expected);
    let shown: Vec<&str> =
        asked.iter().map(|asked| asked.authorization.as_deref().unwrap_or_default()).collect();
    let token = "Bearer repository:team/web:pull";
    assert_eq!(shown, ["", "Basic bWU6c2VjcmV0", token, token, token], "the first one asks who is wanted");
}

#[tokio::test]
async fn who_gives_out_tokens_on_another_host_is_shown_what_is_configured_for_it_and_nothing_else() {
    let given = Given::new();
    let server = with_versions(&given, &["1.0.0"]).await;
    let realm = given.server().await;
    server.want(Wants::Token(realm.url("/token")));
    let named = chart(server.oci("/team"), "web", "");
    let registry = || given.access(server.oci("/"), Some("secret"));
    for (of_realm, expected) in [(None, None), (Some("own"), Some("Basic bWU6b3du".to_owned()))] {
        let charts = given.charts(vec![registry(), given.access(realm.url("/"), of_realm)]);
        assert_eq!(said(charts.resolve(&named).await), "1.0.0");
        let shown: Vec<Option<String>> = realm.asked().into_iter().map(|asked| asked.authorization).collect();
        assert_eq!(shown, [expected]);
        assert!(server.asked().iter().all(|asked| asked.authorization != Some("Basic bWU6c2VjcmV0".into())));
    }
    // A registry that nobody configured does not get a token for what is shown elsewhere.
    let trusted = given.access(server.oci("/"), None);
    let charts = given.charts(vec![trusted, given.access(realm.url("/"), Some("own"))]);
    assert_eq!(said(charts.resolve(&named).await), "1.0.0");
    let shown: Vec<Option<String>> = realm.asked().into_iter().map(|asked| asked.authorization).collect();
    assert_eq!(shown, [None]);

    let plain = ChartServer::start_in_clear().await;
    server.want(Wants::Token(plain.url("/token")));
    let told = said(given.charts(vec![registry()]).resolve(&named).await);
    assert!(told.contains("is not asked: it gives out a registry's tokens, and is not encrypted"), "{told}");
    assert!(plain.asked().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_registry_is_told() {
    let given = Given::new();
    let server = with_versions(&given, &["1.0.0"]).await;
    let manifest = server.manifest("team/web", "1.0.0").expect("it was pushed");
    let manifest = std::str::from_utf8(&manifest).expect("it is JSON").to_owned();
    let size = manifest.find("chart.content").and_then(|at| Some(at + manifest[at..].find("\"size\":")? + 7));
    let (before, after) = manifest.split_at(size.expect("a layer has a size"));
    server.retag(
        "team/web",
        "2.0.0",
        format!("{before}99999999999{}", after.trim_start_matches(|c: char| c.is_ascii_digit())),
    );
    server.retag("team/web", "3.0.0", manifest.replace("helm.chart.content", "other"));
    server.retag("team/web", "4.0.0", "{}");
    server.retag("team/web", "5.0.0", "<html>");
    let linked =
        format!("entries: {{web: [{{version: 1.0.0, urls: ['{}?a=b']}}]}}\n", server.oci("/team/web:1.0.0"));
    server.put("/index.yaml", linked);
    let charts = given.charts_of(&server);
    let rows = [
        ("2.0.0", "gives more than 67108864 bytes"),
        ("3.0.0", "it has no layer of the type of Helm's archives"),
        ("4.0.0", "it is no chart"),
        ("5.0.0", "/v2/team/web/manifests/5.0.0 is not what a repository of charts has there"),
    ];
    for (version, expected) in rows {
        let told = said(charts.resolve(&chart(server.oci("/team"), "web", version)).await);
        assert!(told.contains(expected), "{told}");
    }
    let told = said(charts.resolve(&chart(server.url(""), "web", "")).await);
    assert!(told.contains("\"1.0.0?a=b\" cannot be a tag"), "{told}");
    server.spoil_blobs();
    let told = said(charts.resolve(&chart(server.oci("/team"), "web", "1.0.0")).await);
    assert!(told.contains("is not the one that the repository names"), "{told}");
}

#[tokio::test]
async fn a_helm_repository_may_name_archives_in_a_registry() {
    let given = Given::new();
    let server = with_versions(&given, &["1.0.0+b"]).await;
    let url = server.oci("/team/web:1.0.0_b");
    server.put("/index.yaml", format!("entries: {{web: [{{version: 1.0.0+b, urls: ['{url}']}}]}}\n"));
    let charts = given.charts_of(&server);
    let pinned = charts.resolve(&chart(server.url(""), "web", "^1")).await.expect("it is there");
    let archive = std::fs::read(given.path("packed/web-1.0.0+b.tgz")).expect("it was packed");
    assert_eq!((&*pinned.version, pinned.digest), ("1.0.0+b", Digest::of(&archive)));
}
