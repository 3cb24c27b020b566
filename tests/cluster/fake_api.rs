//! The spoke's target against the fake server: what a real one of v1.20 cannot play. `kubectl` says whether the fake is one.

use harness::assets;
use harness::connect::ConnectProxy;
use harness::fake_api::FakeApi;
use harness::process::Program;
use harness::wait::until;
use nave_placement::catalog::Treatment;
use nave_placement::report::{EntryReason, EntryState};
use nave_spoke::target::Target;
use nave_spoke::target::ask::answers::LogsAnswer;
use nave_spoke::target::ask::{About, Asker, Inquiry, Logs, Question, Role};
use nave_spoke::target::kube::{self, KubeTarget};
use serde_json::{Value, json};

use crate::rounds::{Wish, config_map, entry, target};
use crate::stage::LIMIT;

fn deployment(name: &str, image: &str) -> Value {
    let container = json!({"name": "web", "image": image, "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    })
}

fn widget(name: &str, size: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name, "namespace": "default"}, "spec": {"size": size}})
}

async fn kubectl(fake: &FakeApi, arguments: &[&str]) -> Result<String, String> {
    let program = Program::at(assets::binary("kubectl").unwrap()).env("KUBECONFIG", fake.kubeconfig());
    let home = tempfile::tempdir().unwrap();
    program.env("HOME", home.path()).args(arguments).output(LIMIT).await.map_err(|e| format!("{e:#}"))
}

async fn kubectl_apply(fake: &FakeApi, object: &Value, more: &[&str]) -> Result<String, String> {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), object.to_string()).unwrap();
    let path = file.path().to_string_lossy().into_owned();
    kubectl(fake, &[&["apply", "--server-side", "--validate=false", "-f", &path], more].concat()).await
}

#[tokio::test]
async fn kubectl_takes_the_fake_for_a_server() {
    let fake = FakeApi::start().unwrap();
    kubectl_apply(&fake, &deployment("web", "web:1"), &[]).await.unwrap();
    kubectl_apply(&fake, &deployment("web", "web:1"), &[]).await.unwrap();
    let first = fake.object("apps", "deployments", "default/web").unwrap();
    assert_eq!(first["metadata"]["generation"], 1, "the second time nothing changed: {first:#}");
    let table = kubectl(&fake, &["get", "deployments", "-A"]).await.unwrap();
    assert!(table.contains("web"), "{table}");
    let ports = "jsonpath={.spec.template.spec.containers[0].ports[*].protocol}";
    kubectl(&fake, &["get", "deployment", "web", "-o", ports]).await.unwrap();

    // Another manager is told whose the field is, may take it, and then owns it.
    let other = ["--field-manager=other"];
    let refused = kubectl_apply(&fake, &deployment("web", "web:2"), &other).await.unwrap_err();
    assert!(refused.contains("conflict with \"kubectl\"") && refused.contains(".image"), "{refused}");
    kubectl_apply(&fake, &deployment("web", "web:2"), &[other[0], "--force-conflicts"]).await.unwrap();
    let refused = kubectl_apply(&fake, &deployment("web", "web:3"), &[]).await.unwrap_err();
    assert!(refused.contains("conflict with \"other\""), "{refused}");

    let may_delete = async || {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": "delete", "resource": "configmaps"}},
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), review.to_string()).unwrap();
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let told =
            kubectl(&fake, &["create", "--raw", path, "-f", &file.path().to_string_lossy()]).await.unwrap();
        serde_json::from_str::<Value>(&told).unwrap()["status"]["allowed"].clone()
    };
    assert_eq!(may_delete().await, json!(true));
    fake.deny("delete", "configmaps");
    assert_eq!(may_delete().await, json!(false));
    kubectl(&fake, &["delete", "deployment", "web", "--cascade=background"]).await.unwrap();
    assert!(fake.object("apps", "deployments", "default/web").is_none());
}

#[tokio::test]
async fn a_watch_may_begin_with_what_there_is_and_says_when_that_is_all() {
    let fake = FakeApi::start().unwrap();
    fake.create(&config_map("default", "there", "1"), "test").unwrap();
    let logs = tempfile::tempdir().unwrap();
    let path = "/api/v1/configmaps?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let program = Program::at(assets::binary("kubectl").unwrap()).env("KUBECONFIG", fake.kubeconfig());
    let program = program.env("HOME", logs.path()).args(["get", "--raw", path]);
    let mut watch = program.start(logs.path()).unwrap();
    watch.line("initial-events-end", LIMIT).await.unwrap();
    fake.create(&config_map("default", "later", "1"), "test").unwrap();
    watch.line("later", LIMIT).await.unwrap();
    let said = watch.stdout();
    let at = |text: &str| said.find(text).unwrap();
    assert!(at("there") < at("initial-events-end") && at("initial-events-end") < at("later"), "{said}");
}

#[tokio::test]
async fn an_app_is_installed_changed_corrected_and_pruned_on_a_server_with_aggregated_discovery() {
    let fake = FakeApi::start().unwrap();
    let target = target(fake.kubeconfig()).await;
    let each: Vec<_> = fake.requests().into_iter().filter(|r| r.path.starts_with("/apis/")).collect();
    assert!(each.is_empty(), "one document tells of all groups: {each:#?}");

    let objects = [deployment("web", "web:1"), config_map("default", "a", "1"), widget("small", json!(1))];
    let wish = Wish::none().app("web", &objects);
    let first = wish.round(&target).await;
    let web = entry(&first, "web");
    assert_eq!(
        (web.reason, web.objects),
        (EntryReason::ObjectUnhealthy, 3),
        "nobody runs the pods: {web:#?}"
    );
    fake.forget();
    let second = wish.round(&target).await;
    let wrote: Vec<_> = fake.requests().into_iter().filter(|r| r.writes()).collect();
    assert_eq!((second.writes, wrote.as_slice()), (0, &[][..]));

    // Fields, and list items, of ours that somebody changes are put back; those that somebody adds stay.
    let uid = |name| fake.object("", "configmaps", name).unwrap()["metadata"]["uid"].clone();
    let before = uid("default/a");
    fake.edit(
        "",
        "configmaps",
        "default/a",
        &json!({"data": {"value": "theirs", "more": "stays"}}),
        "kubectl-edit",
    )
    .unwrap();
    let third = wish.round(&target).await;
    assert_eq!(entry(&third, "web").corrected, 1, "{:#?}", entry(&third, "web"));
    let data = fake.object("", "configmaps", "default/a").unwrap()["data"].clone();
    assert_eq!(data, json!({"value": "1", "more": "stays"}));
    assert_eq!(uid("default/a"), before);

    // What leaves the app is deleted, what changes is changed in place.
    let changed = Wish::none().app("web", &[deployment("web", "web:2"), widget("small", json!(1))]);
    let fourth = changed.round(&target).await;
    assert_eq!(entry(&fourth, "web").objects, 2);
    assert!(fake.object("", "configmaps", "default/a").is_none());
    let live = fake.object("apps", "deployments", "default/web").unwrap();
    assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["image"], "web:2");
    assert_eq!(changed.round(&target).await.writes, 0);
}

#[tokio::test]
async fn a_field_that_the_server_does_not_know_is_refused_by_its_name() {
    let fake = FakeApi::start().unwrap();
    let target = target(fake.kubeconfig()).await;
    let mut wrong = deployment("web", "web:1");
    wrong["spec"]["replica"] = json!(3);
    let wish = Wish::none().app("web", &[wrong]).app("rest", &[config_map("default", "a", "1")]);
    let outcome = wish.round(&target).await;
    let web = entry(&outcome, "web");
    assert_eq!((web.state, web.reason), (EntryState::Failed, EntryReason::ApplyRefused), "{web:#?}");
    assert!(
        web.message.contains("spec.replica:") || web.message.contains("spec.replica "),
        "{}",
        web.message
    );
    assert!(fake.object("apps", "deployments", "default/web").is_none(), "nothing of it was written");
    assert_eq!(entry(&outcome, "rest").state, EntryState::Healthy);
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_refused_by_its_field() {
    let fake = FakeApi::start().unwrap();
    let target = target(fake.kubeconfig()).await;
    let outcome = Wish::none().app("web", &[widget("small", json!("large"))]).round(&target).await;
    let web = entry(&outcome, "web");
    assert_eq!(web.reason, EntryReason::ApplyRefused);
    assert!(web.message.contains("spec.size") && web.message.contains("integer"), "{}", web.message);
}

#[tokio::test]
async fn no_app_touches_the_spokes_own_namespace_or_anything_in_it() {
    let fake = FakeApi::start().unwrap();
    let target = target(fake.kubeconfig()).await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "nave-system", "labels": {"theirs": "no"}}});
    // (what the app wants, how the object is named)
    let rows = [
        (config_map("nave-system", "a", "1"), "ConfigMap nave-system/a"),
        (namespace, "Namespace nave-system"),
    ];
    let before = fake.object("", "namespaces", "nave-system").unwrap();
    for (object, name) in rows {
        fake.forget();
        let wish = Wish::none().app("web", &[object]).app("rest", &[config_map("default", "rest", "1")]);
        let outcome = wish.round(&target).await;
        let web = entry(&outcome, "web");
        assert_eq!((web.state, web.reason), (EntryState::Failed, EntryReason::ApplyRefused), "{web:#?}");
        let words = format!("{name}: no app may touch the spoke's own namespace \"nave-system\"");
        assert!(web.message.contains(&words), "{}", web.message);
        assert_eq!(entry(&outcome, "rest").state, EntryState::Healthy);
        // What the app has is noted there all the same, in objects of the spoke's own.
        let touched: Vec<_> = fake
            .requests()
            .into_iter()
            .filter(|r| r.writes() && (r.name == "a" || r.resource == "namespaces"))
            .collect();
        assert!(touched.is_empty(), "{touched:#?}");
    }
    assert!(fake.object("", "configmaps", "nave-system/a").is_none());
    assert_eq!(fake.object("", "namespaces", "nave-system").unwrap(), before);
}

/// What a container has written, and how the server is asked for the end of it.
#[tokio::test]
async fn the_last_lines_of_a_log_are_read_and_cut_at_their_bound() {
    let fake = FakeApi::start().unwrap();
    let containers = json!([{"name": "main"}, {"name": "side"}]);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "default"}, "spec": {"containers": containers}});
    fake.create(&pod, "test").unwrap();
    let line = |n: usize| format!("line {n} {}", "x".repeat(90));
    let lines = |range: std::ops::Range<usize>| range.map(line).collect::<Vec<_>>();
    fake.set_log("default/web-1", "main", &(lines(0..2_000).join("\n") + "\n"));
    fake.set_log("default/web-1", "side", "one\ntwo\n");
    let target = target(fake.kubeconfig()).await;
    let ask = async |container: &str, lines, previous| {
        fake.forget();
        let about = About { kind: String::new(), namespace: "default".into(), name: "web-1".into() };
        let question = Question::Logs(Logs { about, container: container.into(), lines, previous });
        let asker = Asker { name: "ann".into(), role: Role::Operator };
        let inquiry = Inquiry { question, asker, wanted: Vec::new(), treatment: Treatment::default() };
        let answer = target.answer(&inquiry).await.unwrap();
        let logs: LogsAnswer = serde_json::from_slice(&answer.json).unwrap();
        let asked = fake.requests().into_iter().filter(|request| request.subresource == "log");
        (logs.containers, answer.truncated, asked.map(|request| request.query).collect::<Vec<_>>())
    };
    let has =
        |query: &str, wanted: &[&str]| wanted.iter().all(|one| query.split('&').any(|term| term == *one));

    let (logs, truncated, asked) = ask("main", 5, true).await;
    assert_eq!((logs.len(), &logs[0].lines, truncated), (1, &lines(1_995..2_000), false), "{logs:#?}");
    assert_eq!((&*logs[0].pod, &*logs[0].container, &logs[0].problem), ("web-1", "main", &None));
    assert!(
        asked.len() == 1 && has(&asked[0], &["container=main", "tailLines=5", "previous=true"]),
        "{asked:?}"
    );

    // Every container, without a number of lines: so many as are usual, and of the one that is running.
    let (logs, truncated, asked) = ask("", 0, false).await;
    assert_eq!(
        (&logs[0].lines, &logs[1].lines),
        (&lines(1_950..2_000), &vec!["one".to_owned(), "two".to_owned()])
    );
    assert!(!truncated && asked.len() == 2, "{asked:?}");
    assert!(
        asked.iter().all(|query| has(query, &["tailLines=50"]) && !query.contains("previous=true")),
        "{asked:?}"
    );

    // More than fits 48 KiB: the newest whole lines, and it is said that there are more.
    let (logs, truncated, asked) = ask("main", 1_500, false).await;
    let (first, last) = (logs[0].lines.first().unwrap(), logs[0].lines.last().unwrap());
    let bytes: usize = logs[0].lines.iter().map(|line| line.len() + 1).sum();
    assert!(truncated && has(&asked[0], &["tailLines=1500"]), "{asked:?}");
    assert_eq!((last, first), (&line(1_999), &line(2_000 - logs[0].lines.len())), "whole lines to the end");
    assert!((47 << 10..=48 << 10).contains(&bytes), "{bytes} bytes");
}

#[tokio::test]
async fn a_group_whose_api_is_down_is_not_taken_for_gone() {
    let fake = FakeApi::start().unwrap();
    let target = target(fake.kubeconfig()).await;
    let wish = Wish::none().app("web", &[widget("small", json!(1)), config_map("default", "a", "1")]);
    wish.round(&target).await;
    let uid = fake.object("example.com", "widgets", "default/small").unwrap()["metadata"]["uid"].clone();
    fake.set_stale("example.com", true);
    target.discover().await.unwrap();
    let less = Wish::none().app("web", &[widget("small", json!(1))]);
    let outcome = less.round(&target).await;
    assert_eq!(entry(&outcome, "web").state, EntryState::Healthy, "{:#?}", entry(&outcome, "web"));
    assert_eq!(fake.object("example.com", "widgets", "default/small").unwrap()["metadata"]["uid"], uid);
}

#[tokio::test]
async fn a_group_whose_api_is_down_at_the_start_is_unknown_until_it_answers() {
    let fake = FakeApi::start().unwrap();
    fake.set_stale("example.com", true);
    let target = target(fake.kubeconfig()).await;
    let wish = Wish::none().app("web", &[widget("small", json!(1)), config_map("default", "a", "1")]);
    for _ in 0..2 {
        let outcome = wish.round(&target).await;
        let web = entry(&outcome, "web");
        assert_eq!((web.reason, web.healthy), (EntryReason::TargetUnreachable, 1), "{web:#?}");
    }
    fake.set_stale("example.com", false);
    until("the kind is known", LIMIT, async || {
        let outcome = wish.round(&target).await;
        (entry(&outcome, "web").state == EntryState::Healthy).then_some(())
    })
    .await;
    assert!(fake.object("example.com", "widgets", "default/small").is_some());
}

#[tokio::test]
async fn a_list_in_pages_is_read_to_its_end() {
    let fake = FakeApi::start().unwrap();
    let target = target(fake.kubeconfig()).await;
    let objects: Vec<_> = (0..250).map(|n| config_map("default", &format!("a-{n}"), "1")).collect();
    let wish = Wish::none().app("web", &objects);
    wish.round(&target).await;
    fake.forget();
    let outcome = wish.round(&target).await;
    assert_eq!((outcome.writes, entry(&outcome, "web").objects), (0, 250));
    let pages = fake.requests().iter().filter(|r| r.verb == "list" && r.resource == "configmaps").count();
    assert!((3..10).contains(&pages), "{pages} pages of a hundred");
    fake.delete("", "configmaps", "default/a-7").unwrap();
    assert_eq!(wish.round(&target).await.writes, 1, "one is missing, one is written");
}

#[tokio::test]
async fn a_foreign_write_is_heard_of_by_a_watch_of_metadata_alone() {
    let fake = FakeApi::start().unwrap();
    let target = target(fake.kubeconfig()).await;
    let wish = Wish::none().app("web", &[config_map("default", "a", "1")]);
    wish.round(&target).await;
    until("it is watched", LIMIT, async || {
        fake.requests().iter().any(|r| r.verb == "watch" && r.resource == "configmaps")
    })
    .await;
    let mut changes = target.changes();
    changes.borrow_and_update();
    fake.edit("", "configmaps", "default/a", &json!({"data": {"value": "theirs"}}), "kubectl-edit").unwrap();
    until("the change is noticed", LIMIT, async || changes.has_changed().unwrap()).await;
    assert_eq!(entry(&wish.round(&target).await, "web").corrected, 1);
}

#[tokio::test]
async fn a_kubeconfig_may_name_a_proxy_whose_password_is_never_shown() {
    let fake = FakeApi::start().unwrap();
    // `user:swordfish`
    let proxy = ConnectProxy::start(Some("Basic dXNlcjpzd29yZGZpc2g=")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let connect = async |url: &str| {
        let mut config: Value = serde_json::from_slice(&std::fs::read(fake.kubeconfig()).unwrap()).unwrap();
        config["clusters"][0]["cluster"]["proxy-url"] = url.into();
        let path = directory.path().join("kubeconfig.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let options = kube::Options { kubeconfig: Some(path), ..kube::Options::default() };
        KubeTarget::connect(options).await.map(drop).map_err(|error| error.to_string())
    };
    let address = proxy.address();
    connect(&format!("http://user:swordfish@{address}")).await.unwrap();
    assert!(!proxy.asked().is_empty(), "it went through the proxy");
    // (the URL, what is said of it)
    let rows = [
        (format!("http://user:tr0ut@{address}"), "proxy"),
        (format!("ftp://user:tr0ut@{address}"), "begins with ftp; use http, https or socks5"),
    ];
    for (url, said) in rows {
        let why = connect(&url).await.unwrap_err();
        assert!(why.contains(said) && !why.contains("tr0ut"), "{why}");
    }
}
