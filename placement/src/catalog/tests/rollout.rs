//! Rollouts: what is read, what is said of one that cannot be meant, which one an app moves by.

use super::*;
use crate::select::Selector;

/// As the design has it.
const CAREFUL: &str = r"kind: Rollout
metadata: {name: careful}
spec:
  waves:
  - {name: canary, count: 20, spread: [{topologyKey: labels.region}], soak: 10m}
  - {name: half, share: 50%, maxUnavailable: 10%, before: {approval: true}}
  - {name: prod, clusters: {selector: {matchLabels: {env: prod}}}, pace: {step: 10%, every: 24h}, before: {healthyOn: {selector: {matchLabels: {env: staging}}}, for: 24h}}
  failure: {max: 2%, deadline: 10m, then: Rollback}      # Pause | Rollback
  onNewRevision: Supersede       # Supersede | Finish
";
const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

fn percent(value: u8) -> Percent {
    Percent::new(value).expect("at most 100")
}

fn labelled(text: &str) -> Selector {
    text.parse().expect("a selector")
}

fn careful() -> Rollout {
    let wave = |name: &str| Wave { name: name.to_owned(), ..Wave::default() };
    let prod = ClusterSelection { selector: Some(labelled("env=prod")), ..ClusterSelection::default() };
    Rollout {
        waves: vec![
            Wave {
                count: Some(20),
                spread: vec!["labels.region".parse().expect("a label")],
                soak_ms: 10 * MINUTE,
                ..wave("canary")
            },
            Wave {
                share: Some(percent(50)),
                max_unavailable: Some(Count::Share(percent(10))),
                before: Before { approval: true, ..Before::default() },
                ..wave("half")
            },
            Wave {
                clusters: Some(prod),
                pace: Some(Pace { step: Count::Share(percent(10)), every_ms: DAY }),
                before: Before { approval: false, healthy_on: Some(labelled("env=staging")), for_ms: DAY },
                ..wave("prod")
            },
        ],
        failure: Failure {
            max: Count::Share(percent(2)),
            deadline_ms: Some(10 * MINUTE),
            then: Then::Rollback,
        },
        on_new_revision: OnNewRevision::Supersede,
    }
}

fn app(rollout: &str) -> String {
    WEB.replace("}}\n", &format!("}}{rollout}}}\n"))
}

fn fleet(rollout: &str) -> String {
    document(&format!("kind: Fleet\nmetadata: {{name: f}}\nspec: {{defaults: {{rollout: {rollout}}}}}\n"))
}

fn read(id: &str, documents: &[String], before: &LastGood) -> Catalog {
    assembled(id, &[("a.yaml", &documents.join("---\n")), ("web/c.yaml", MANIFEST)], before)
}

#[test]
fn the_sample_of_the_design_is_read() {
    let catalog =
        read("1", &[document(CAREFUL), app(", rollout: careful"), fleet("careful")], &LastGood::new());
    assert_eq!(shown(&catalog.problems), Vec::<String>::new());
    assert_eq!(catalog.rollout("careful"), Some(&careful()));
}

#[test]
fn what_a_rollout_does_not_say_is_as_without_one() {
    let text = document(
        "kind: Rollout\nmetadata: {name: short}\nspec:\n  waves: [{name: one, count: 1}, {name: rest, soak: null, before: {}}]\n  failure: {}\n",
    );
    let catalog = read("1", &[text], &LastGood::new());
    assert_eq!(shown(&catalog.problems), Vec::<String>::new());
    let short = catalog.rollout("short").expect("it is valid");
    let wave = |name: &str, count| Wave { name: name.to_owned(), count, ..Wave::default() };
    assert_eq!(short.waves, [wave("one", Some(1)), wave("rest", None)]);
    let without = Rollout::default();
    assert_eq!((short.failure, short.on_new_revision), (without.failure, without.on_new_revision));
}

#[test]
fn an_app_moves_as_it_says_else_as_the_fleet_says_else_as_holds_without() {
    let other = document("kind: Rollout\nmetadata: {name: other}\nspec: {waves: [{name: all}]}\n");
    let others =
        Rollout { waves: vec![Wave { name: "all".into(), ..Wave::default() }], ..Rollout::default() };
    let rows = [
        ("", None, Rollout::default()),
        ("", Some("careful"), careful()),
        (", rollout: other", Some("careful"), others.clone()),
        (", rollout: other", None, others),
        // A name that leads nowhere is no reason to take the fleet's.
        (", rollout: nothing", Some("careful"), Rollout::default()),
        ("", Some("nothing"), Rollout::default()),
    ];
    for (own, default, expected) in rows {
        let documents = [document(CAREFUL), other.clone(), app(own)];
        let documents: Vec<String> = documents.into_iter().chain(default.map(fleet)).collect();
        let catalog = read("1", &documents, &LastGood::new());
        let (_, web) = catalog.app("web").expect("it is in effect");
        assert_eq!(catalog.rollout_of(web), expected, "{own} {default:?}");
    }
}

#[test]
fn a_rollout_that_nobody_wrote_is_told_where_it_is_named() {
    let documents = [app(", rollout: carefull"), fleet("brave"), document(CAREFUL)];
    let catalog = read("1", &documents, &LastGood::new());
    assert_eq!(
        shown(&catalog.problems),
        [
            "a.yaml:4:40: error: App/web: Rollout/carefull is not in this catalog; did you mean careful?; add it, or remove the name",
            "a.yaml:9:28: error: Fleet/f: Rollout/brave is not in this catalog; add it, or remove the name",
        ]
    );
    assert_eq!(effective(&catalog), ["Fleet/f@1", "App/web@1", "Rollout/careful@1"]);
}

#[test]
fn a_rollout_that_is_broken_keeps_its_last_good_form() {
    let before = read("1", &[document(CAREFUL), app(", rollout: careful")], &LastGood::new());
    let broken = document(&CAREFUL.replace("count: 20", "cuont: 20"));
    let after = read("2", &[broken, app(", rollout: careful")], &before.objects);
    assert_eq!(effective(&after), ["App/web@1", "Rollout/careful@1"]);
    assert_eq!(
        shown(&after.problems),
        [
            "a.yaml:6:20: error: Rollout/careful: spec.waves[0].cuont is no known field; did you mean count? (valid fields are name, clusters, count, share, spread, maxUnavailable, soak, pace, before)",
        ]
    );
    assert_eq!(after.rollout("careful"), Some(&careful()));
}

/// Checks the one problem of a specification; `@` marks where it is.
#[track_caller]
fn check(marked: &str, said: &str) {
    let before = marked.split('@').next().expect("there is a first");
    let (line, column) = (before.matches('\n').count() + 5, before.lines().last().unwrap_or("").len() + 3);
    let spec: String = marked.replace('@', "").lines().map(|line| format!("  {line}\n")).collect();
    let text = document(&format!("kind: Rollout\nmetadata: {{name: r}}\nspec:\n{spec}"));
    let problems = shown(&read("1", &[text], &LastGood::new()).problems);
    assert_eq!(problems, [format!("a.yaml:{line}:{column}: error: Rollout/r: {said}")], "{marked}");
}

#[test]
fn a_rollout_has_waves() {
    const HOW: &str = "name one, e.g. {name: canary, count: 1}, or leave the Rollout out";
    check("@failure: {max: 1}", &format!("spec.waves is missing; {HOW}"));
    check("waves: @[]", &format!("spec.waves has no wave; {HOW}"));
    check("waves: @{name: x}", "spec.waves is a mapping, a list is wanted");
    check(
        "@wave: [{name: x}]",
        "spec.wave is no known field; did you mean waves? (valid fields are waves, failure, onNewRevision)",
    );
    let text = document("kind: Rollout\nmetadata: {name: r}\n");
    let problems = shown(&read("1", &[text], &LastGood::new()).problems);
    let expected = "a.yaml:1:1: error: Rollout/r: spec is missing; give it waves, failure, onNewRevision";
    assert_eq!(problems, [expected]);
}

#[test]
fn what_a_wave_says_that_cannot_be_meant() {
    let rows = [
        ("@{count: 1}", "spec.waves[0].name is missing; name the wave, e.g. name: canary"),
        (
            "{name: @Canary}",
            "spec.waves[0].name: \"Canary\" is not a valid wave name: use lower-case letters, digits, '-' and '.', begin and end with a letter or digit, at most 253 characters",
        ),
        (
            "{name: a, count: @0}",
            "spec.waves[0].count: 0 takes no cluster; write at least 1, or remove the wave",
        ),
        ("{name: a, count: @\"2\"}", "spec.waves[0].count: \"2\" is a string; write 2 without the quotes"),
        (
            "{name: a, count: @5%}",
            "spec.waves[0].count: 5% is a share; write share: 5%, which counts the waves before it too",
        ),
        (
            "{name: a, share: @0%}",
            "spec.waves[0].share: 0% takes no cluster; write at least 1%, or remove the wave",
        ),
        ("{name: a, share: @20}", "spec.waves[0].share: 20 is not a whole percentage from 0% to 100%"),
        (
            "{name: a, count: 1, share: @5%}",
            "spec.waves[0].share: a wave has count or share, not both; remove one of them",
        ),
        (
            "{name: a, spread: @[{topologyKey: labels.region}]}",
            "spec.waves[0].spread: without count or share the wave takes all, and has nothing to spread; give it one of them, or remove spread",
        ),
        (
            "{name: a, @cuont: 1, spread: [{topologyKey: labels.region}]}",
            "spec.waves[0].cuont is no known field; did you mean count? (valid fields are name, clusters, count, share, spread, maxUnavailable, soak, pace, before)",
        ),
        (
            "{name: a, count: 1, spread: [@{}]}",
            "spec.waves[0].spread[0].topologyKey is missing; say over what, e.g. topologyKey: labels.region",
        ),
        (
            "{name: a, count: 1, spread: [{topologyKey: @region}]}",
            "spec.waves[0].spread[0].topologyKey: \"region\" is neither labels.KEY nor facts.NAME; write e.g. labels.region or facts.provider",
        ),
        (
            "{name: a, count: 1, spread: [{topologyKey: @facts.free.cpu}]}",
            "spec.waves[0].spread[0].topologyKey: facts.free.cpu changes all the time; name a label, or a slow fact",
        ),
        (
            "{name: a, count: 1, spread: [{topologyKey: labels.region, @maxSkew: 1}]}",
            "spec.waves[0].spread[0].maxSkew is no known field (valid fields are topologyKey)",
        ),
        (
            "{name: a, clusters: @{exclude: [fra-1]}}",
            "spec.waves[0].clusters has no term that chooses clusters; write `clusters: {selector: {}}` for every cluster",
        ),
        (
            "{name: a, clusters: {sets: [@prod]}}",
            "ClusterSet/prod is not in this catalog; add it, or remove the name",
        ),
        (
            "{name: a, maxUnavailable: @0}",
            "spec.waves[0].maxUnavailable: 0 lets no cluster change; write at least 1, or remove it",
        ),
        (
            "{name: a, maxUnavailable: @0%}",
            "spec.waves[0].maxUnavailable: 0% lets no cluster change; write at least 1, or remove it",
        ),
        ("{name: a, maxUnavailable: @-1}", "spec.waves[0].maxUnavailable: -1 is not a whole number from 0"),
        ("{name: a, soak: @10}", "spec.waves[0].soak: 10 has no unit; write 10s, 10m or 10h"),
        ("{name: a, soak: @91d}", "spec.waves[0].soak: 91d is not between 0s and 90d"),
        (
            "{name: a, pace: @{every: 1h}}",
            "spec.waves[0].pace.step is missing; say how many each time, e.g. 10%",
        ),
        ("{name: a, pace: @{step: 1}}", "spec.waves[0].pace.every is missing; say after how long, e.g. 24h"),
        (
            "{name: a, pace: {step: @0%, every: 1h}}",
            "spec.waves[0].pace.step: 0% takes no cluster; write at least 1",
        ),
        ("{name: a, pace: {step: 1, every: @0s}}", "spec.waves[0].pace.every: 0s is not between 1s and 90d"),
        (
            "{name: a, before: {approval: @Yse}}",
            "spec.waves[0].before.approval: \"Yse\" is not true or false",
        ),
        (
            "{name: a, before: {for: @24h}}",
            "spec.waves[0].before.healthyOn is missing; say where the version has to be healthy for that long, or remove for",
        ),
        (
            "{name: a, before: {for: 24h, @healthOn: {}}}",
            "spec.waves[0].before.healthOn is no known field; did you mean healthyOn? (valid fields are approval, healthyOn, for)",
        ),
        (
            "{name: a, before: {healthyOn: @{}}}",
            "spec.waves[0].before.healthyOn.selector is missing; say where, e.g. {matchLabels: {env: staging}}",
        ),
        (
            "{name: a, before: {healthyOn: {selector: @{}}}}",
            "spec.waves[0].before.healthyOn.selector: it means every cluster, so the wave would wait for itself; write e.g. {matchLabels: {env: staging}}",
        ),
    ];
    for (wave, said) in rows {
        check(&format!("waves:\n- {wave}"), said);
    }
}

#[test]
fn a_wave_has_a_name_and_clusters_of_its_own() {
    let nothing_left = |last: usize, later: usize| {
        format!(
            "spec.waves[{later}]: spec.waves[{last}] takes all clusters that are left, so none is left for this one; put spec.waves[{last}] last, or give it clusters, count or a smaller share"
        )
    };
    let not_above = |at: usize, given: &str, share: &str, of: usize| {
        format!(
            "spec.waves[{at}].share: {given} is not above {share}, the share of spec.waves[{of}]; a share counts all waves up to its own, so raise it, or remove the wave"
        )
    };
    let rows: [(&[&str], String); 10] = [
        (
            &["{name: a, count: 1}", "{name: b, count: 1}", "{name: @a}"],
            "spec.waves[2].name: spec.waves[0] is called a already; give it another name".to_owned(),
        ),
        (&["{name: a, share: 5%}", "{name: b, share: @5%}"], not_above(1, "5%", "5%", 0)),
        (
            &["{name: a, share: 50%}", "{name: b, count: 1}", "{name: c, share: @20%}"],
            not_above(2, "20%", "50%", 0),
        ),
        (
            // Each is told of the largest.
            &["{name: a, share: 10%}", "{name: b, share: 50%}", "{name: c, share: @40%}", "{name: d, share: 60%}"],
            not_above(2, "40%", "50%", 1),
        ),
        (
            &["{name: a, clusters: {names: [x]}, share: 10%}", "{name: b, share: @10%}"],
            not_above(1, "10%", "10%", 0),
        ),
        (&["{name: a}", "@{name: b, clusters: {names: [x]}}"], nothing_left(0, 1)),
        // Once is enough.
        (&["{name: a}", "@{name: b, count: 1}", "{name: c}"], nothing_left(0, 1)),
        (&["{name: a, clusters: {selector: {}}, soak: 1h}", "@{name: b}"], nothing_left(0, 1)),
        (&["{name: a, count: 1}", "{name: b, share: 100%}", "@{name: c, share: 100%}"], nothing_left(1, 2)),
        // What is misspelt may have been meant to leave something.
        (
            &["{name: a, @cluster: {names: [x]}}", "{name: b}"],
            "spec.waves[0].cluster is no known field; did you mean clusters? (valid fields are name, clusters, count, share, spread, maxUnavailable, soak, pace, before)".to_owned(),
        ),
    ];
    for (waves, said) in rows {
        let waves: Vec<String> = waves.iter().map(|wave| format!("- {wave}")).collect();
        check(&format!("waves:\n{}", waves.join("\n")), &said);
    }
}

#[test]
fn when_a_rollout_stops_in_words_that_mean_something() {
    let rows = [
        ("failure: {max: @101%}", "spec.failure.max: \"101%\" is not a whole percentage from 0% to 100%"),
        ("failure: {max: @\"0\"}", "spec.failure.max: \"0\" is a string; write 0 without the quotes"),
        ("failure: {deadline: @0s}", "spec.failure.deadline: 0s is not between 1s and 7d"),
        (
            "failure: {then: @Rolback}",
            "spec.failure.then: \"Rolback\" is none of Pause, Rollback; did you mean Rollback?",
        ),
        ("failure: {@most: 1}", "spec.failure.most is no known field (valid fields are max, deadline, then)"),
        ("onNewRevision: @Restart", "spec.onNewRevision: \"Restart\" is none of Supersede, Finish"),
    ];
    for (line, said) in rows {
        check(&format!("waves: [{{name: all}}]\n{line}"), said);
    }
    for max in ["0", "0%", "100%", "3"] {
        let text = document(&CAREFUL.replace("max: 2%", &format!("max: {max}")));
        let catalog = read("1", &[text], &LastGood::new());
        let rollout = catalog.rollout("careful").map(|rollout| rollout.failure.max.to_string());
        assert_eq!(rollout.as_deref(), Some(max), "{:?}", shown(&catalog.problems));
    }
}
