//! What a policy lets through, by rows.

use nave_placement::AppKey;
use nave_placement::catalog::Granted;
use nave_placement::render::Resolved;
use serde_json::json;

use super::*;

const POLICY: &str = r#"
allow: {namespaces: ["team-*"], registries: ["ghcr.io/acme/*", docker.io]}
deny:
  namespaces: [team-secret]
  kinds: ["ClusterRole*.rbac.authorization.k8s.io", Secret]
maxRemovals: 2
questions: {logs: [operator, admin], objects: []}
"#;

fn policy() -> Policy {
    Policy::read(POLICY).expect("a policy")
}

fn key(kind: &str, namespace: &str, name: &str) -> ObjectKey {
    let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
    let [group, kind, namespace, name] = [group, kind, namespace, name].map(str::to_owned);
    ObjectKey { group, kind, namespace, name }
}

#[test]
fn what_may_be_written_is_told_by_namespace_kind_and_image() {
    let pod = |image: &str| json!({"spec": {"containers": [{"image": image}]}});
    let rows = [
        (key("ConfigMap", "team-a", "x"), json!({}), None),
        (key("ConfigMap", "shop", "x"), json!({}), Some("namespaces shop is not in allow.namespaces")),
        (
            key("ConfigMap", "team-secret", "x"),
            json!({}),
            Some("namespaces team-secret is denied by \"team-secret\" of deny.namespaces"),
        ),
        (
            key("Namespace", "", "kube-system"),
            json!({}),
            Some("namespaces kube-system is not in allow.namespaces"),
        ),
        (key("Secret", "team-a", "x"), json!({}), Some("kinds Secret is denied by \"Secret\" of deny.kinds")),
        (key("SecretStore.external-secrets.io", "team-a", "x"), json!({}), None),
        (
            key("ClusterRoleBinding.rbac.authorization.k8s.io", "", "x"),
            json!({}),
            Some(
                "kinds ClusterRoleBinding.rbac.authorization.k8s.io is denied by \"ClusterRole*.rbac.authorization.k8s.io\" of deny.kinds",
            ),
        ),
        (key("Pod", "team-a", "x"), pod("ghcr.io/acme/web:1"), None),
        (key("Pod", "team-a", "x"), pod("nginx"), None),
        (
            key("Pod", "team-a", "x"),
            pod("quay.io/web"),
            Some("registries quay.io/web is not in allow.registries"),
        ),
    ];
    for (key, object, expected) in rows {
        assert_eq!(policy().denies(&key, &object).as_deref(), expected, "{key}");
    }
}

fn apply(key: ObjectKey) -> Step {
    let object = Resolved { object: json!({}).into(), key, served: true, sealed: None };
    Step::Apply { object, how: crate::target::Write::default() }
}

fn app(name: &str) -> AppKey {
    name.parse().expect("valid")
}

fn plan(apps: Vec<(&str, AppPlan)>) -> Plan {
    Plan { apps: apps.into_iter().map(|(name, steps)| (app(name), steps)).collect(), ..Plan::default() }
}

#[test]
fn a_denied_object_is_named_and_the_rest_goes_on() {
    let raise = vec![apply(key("Secret", "team-a", "x")), apply(key("ConfigMap", "team-a", "y"))];
    let mut plan = plan(vec![("web", AppPlan { raise, ..AppPlan::default() })]);
    policy().allow(&mut plan, &BTreeMap::new());
    let steps = &plan.apps[&app("web")];
    assert_eq!(steps.raise, [apply(key("ConfigMap", "team-a", "y"))]);
    let said: Vec<_> = steps.blocked.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "Secret team-a/x: the cluster's local policy forbids it: kinds Secret is denied by \"Secret\" of deny.kinds"
        ]
    );
}

fn listing(keys: &[&ObjectKey]) -> Inventory {
    Inventory { objects: keys.iter().copied().cloned().collect(), ..Inventory::default() }
}

#[test]
fn what_may_not_be_written_does_not_enter_the_inventory() {
    let (secret, other) = (key("Secret", "team-a", "x"), key("ConfigMap", "team-a", "y"));
    let both = listing(&[&secret, &other]);
    let wants = |objects: &[&ObjectKey]| {
        let mut raise = vec![Step::Widen(listing(objects))];
        raise.extend(objects.iter().map(|key| apply((*key).clone())));
        AppPlan { raise, ..AppPlan::default() }
    };
    let rows = [
        (vec![&secret, &other], None, vec![Step::Widen(listing(&[&other])), apply(other.clone())]),
        (vec![&secret], None, vec![]),
        (vec![&secret, &other], Some(listing(&[&other])), vec![apply(other.clone())]),
        // It is there already: what is listed stays listed.
        (vec![&secret, &other], Some(listing(&[&secret])), vec![Step::Widen(both), apply(other.clone())]),
    ];
    for (objects, stored, expected) in rows {
        let mut plan = plan(vec![("web", wants(&objects))]);
        let inventories = stored.into_iter().map(|stored| (app("web"), stored)).collect();
        policy().allow(&mut plan, &inventories);
        assert_eq!(plan.apps[&app("web")].raise, expected, "{objects:?} {inventories:?}");
    }
}

#[test]
fn a_removal_that_is_denied_stops_no_other() {
    let prune = |key: ObjectKey| Step::Prune { of: app("web"), key };
    let (secret, other) = (key("Secret", "team-a", "x"), key("ConfigMap", "team-a", "y"));
    let settle = vec![prune(secret.clone()), prune(other.clone())];
    let mut plan = plan(vec![("web", AppPlan { settle, ..AppPlan::default() })]);
    policy().allow(&mut plan, &[(app("web"), listing(&[&secret, &other]))].into());
    let steps = &plan.apps[&app("web")];
    assert_eq!((&steps.settle[..], &steps.blocked[..]), (&[prune(other)][..], &[][..]));
    assert!(matches!(&steps.withheld[..], [Reason::Denied { object, .. }] if *object == secret));
}

#[test]
fn a_tenants_app_keeps_to_its_grant_and_takes_nothing_over_beyond_it() {
    let grant = Granted {
        namespaces: BTreeSet::from(["team-a-*".to_owned()]),
        cluster_scoped: BTreeSet::from(["Widget.example.com".to_owned()]),
    };
    let widget = ObjectKey { group: "example.com".into(), ..key("Widget", "", "w") };
    let (own, beyond, equal) = (
        key("ConfigMap", "team-a-x", "a"),
        key("ConfigMap", "kube-system", "b"),
        key("ConfigMap", "other", "c"),
    );
    let role = ObjectKey { group: "rbac.authorization.k8s.io".into(), ..key("ClusterRole", "", "r") };
    let raise = vec![
        Step::Widen(listing(&[&own, &beyond, &equal, &widget, &role])),
        apply(own.clone()),
        apply(beyond.clone()),
        apply(widget.clone()),
        apply(role.clone()),
    ];
    // What was its own before it was withdrawn is not removed either.
    let (gone, kept) = (key("ConfigMap", "team-a-x", "old"), key("ConfigMap", "team-b", "old"));
    let prune = |key: &ObjectKey| Step::Prune { of: app("team-a/web"), key: key.clone() };
    let steps = AppPlan {
        grant: Some(grant),
        rest: BTreeSet::from([equal.clone()]),
        raise,
        settle: vec![prune(&gone), prune(&kept)],
        ..AppPlan::default()
    };
    let roots = AppPlan { raise: vec![apply(beyond.clone())], ..AppPlan::default() };
    let mut plan = plan(vec![("team-a/web", steps), ("web", roots)]);
    keep_to_grants(&mut plan, &BTreeMap::new());
    let steps = &plan.apps[&app("team-a/web")];
    assert_eq!(steps.raise, [Step::Widen(listing(&[&own, &widget])), apply(own), apply(widget)]);
    let refused = |reason: &Reason| match reason {
        Reason::NotGranted { object, .. } => object.clone(),
        other => panic!("{other}"),
    };
    assert_eq!(
        steps.blocked.iter().map(refused).collect::<BTreeSet<_>>(),
        BTreeSet::from([beyond.clone(), equal, role])
    );
    assert_eq!(
        (&steps.settle[..], steps.withheld.iter().map(refused).collect::<Vec<_>>()),
        (&[prune(&gone)][..], vec![kept])
    );
    assert_eq!(plan.apps[&app("web")].raise, [apply(beyond)], "the root's are not judged");
}

#[test]
fn questions_are_for_the_roles_that_are_named() {
    let rows = [
        ("logs", "viewer", false),
        ("logs", "operator", true),
        ("objects", "admin", false),
        ("events", "viewer", true),
    ];
    for (question, role, expected) in rows {
        assert_eq!(policy().may_ask(question, role), expected, "{question} {role}");
    }
}

#[test]
fn what_is_not_understood_is_said_and_how_to_mend_it() {
    let rows = [
        (
            "maxRemoval: 1",
            "the policy: unknown field maxRemoval; did you mean maxRemovals?; fields are allow, deny, maxRemovals, questions",
        ),
        (
            "deny: {namespace: [a]}",
            "deny: unknown field namespace; did you mean namespaces?; fields are namespaces, kinds, registries",
        ),
        ("deny: {kinds: Secret}", "deny.kinds: it must be a list of words"),
        ("maxRemovals: -1", "maxRemovals: it is no number"),
        (
            "questions: {log: []}",
            "questions: unknown field log; did you mean logs?; fields are objects, diff, events, logs, adoption, plan",
        ),
        ("questions: {logs: [root]}", "questions.logs: root is no role; roles are viewer, operator, admin"),
        ("[]", "the policy: it must have fields (allow, deny, maxRemovals, questions)"),
    ];
    for (text, expected) in rows {
        assert_eq!(Policy::read(text).map_err(|error| error.to_string()), Err(expected.to_owned()), "{text}");
    }
    assert!(Policy::read("deny: {kinds: [Secret]\n").is_err());
}
