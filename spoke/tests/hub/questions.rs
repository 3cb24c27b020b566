//! Questions over a session: what is asked does not hold up what is ordered, is bounded, cancellable, and ends with the
//! session.

use std::collections::BTreeSet;

use nave_proto::v1::{self, answer, from_spoke::Message, question::Question, to_spoke};
use nave_spoke::questions::room;
use nave_spoke::run::{RunOptions, run};
use nave_spoke::target::memory::MemoryTarget;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::stand_in::Hub;
use super::{Spoke, accepted, has, inlined, key, until, world};

fn config_maps() -> Question {
    Question::Objects(v1::LiveObjects { kind: "cm".into(), whole: true, ..Default::default() })
}

fn asked(id: u64, question: Question, timeout_ms: u64) -> to_spoke::Message {
    let asker = Some(v1::Asker { name: "ann".into(), role: "operator".into() });
    to_spoke::Message::Question(v1::Question { id, question: Some(question), asker, timeout_ms })
}

/// Waits for the answer to a question; JSON, or why there is none.
async fn answered(hub: &Hub, id: u64) -> Result<Value, String> {
    let of = |m: &Message| match m {
        Message::Answer(v1::Answer { question, answer: Some(answer), .. }) if *question == id => match answer
        {
            answer::Answer::Json(json) => Some(Ok(serde_json::from_slice(json).unwrap())),
            answer::Answer::Refused(why) => Some(Err(why.clone())),
            answer::Answer::Assignment(_) => None,
        },
        _ => None,
    };
    hub.until(&format!("an answer to question {id}"), |record| record.received.iter().find_map(of)).await
}

fn answers(hub: &Hub) -> BTreeSet<u64> {
    let id = |m: &Message| if let Message::Answer(answer) = m { Some(answer.question) } else { None };
    hub.edit(|record| record.received.iter().filter_map(id).collect())
}

/// Waits until so many questions have reached the target.
async fn reached(target: &MemoryTarget, count: u64) {
    until(target, &format!("{count} questions reach the target"), |t| t.calls().answer == count).await;
}

#[tokio::test]
async fn questions_that_nobody_can_answer_yet_hold_up_no_assignment_and_no_report() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    target.set_silent(true);
    let (at_once, all) = (room::AT_ONCE as u64, (room::AT_ONCE + room::WAITING) as u64);
    for id in 1..=at_once {
        hub.order(asked(id, config_maps(), 0)).await;
    }
    reached(&target, at_once).await;
    for id in at_once + 1..=all {
        hub.order(asked(id, config_maps(), 0)).await;
    }
    // One more than are answered and wait: refused at once, in words.
    hub.order(asked(all + 1, config_maps(), 0)).await;
    let refused = answered(&hub, all + 1).await.unwrap_err();
    assert!(refused.contains("too many questions"), "{refused}");

    hub.order(inlined(1, "x")).await;
    assert_eq!(accepted(&hub, 1).await, 1);
    until(&target, "the value", |target| has(target, "x")).await;
    hub.until("a healthy report", |record| {
        let healthy = |m: &Message| match m {
            Message::Report(report) => report.entries.iter().any(|e| e.state() == v1::EntryState::Healthy),
            _ => false,
        };
        record.received.iter().any(healthy).then_some(())
    })
    .await;
    assert_eq!(answers(&hub), [all + 1].into(), "none of the others was answered yet");
    assert_eq!(target.calls().answer, at_once, "no more than that at once");

    // Of those at work one, and of those that wait one.
    for question in [1, all] {
        hub.order(to_spoke::Message::Cancel(v1::Cancel { question })).await;
    }
    // The place of the cancelled one is taken, so the cancellations have arrived.
    reached(&target, at_once + 1).await;
    target.set_silent(false);
    for id in 2..all {
        let answer = answered(&hub, id).await.unwrap();
        assert_eq!(answer["items"][0]["data"]["value"], "x", "{answer:#}");
    }
    assert!(!answers(&hub).contains(&1) && !answers(&hub).contains(&all), "{:?}", answers(&hub));
    assert_eq!(target.calls().answer, all - 1, "what was cancelled while it waited never reached the target");
    spoke.stop().await;
}

#[tokio::test]
async fn a_question_has_its_time_and_ends_with_its_session() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    target.set_silent(true);
    hub.order(asked(1, config_maps(), 1)).await;
    let late = answered(&hub, 1).await.unwrap_err();
    assert!(late.contains("in the time"), "{late}");

    let at_once = room::AT_ONCE as u64;
    for id in 2..2 + at_once {
        hub.order(asked(id, config_maps(), 0)).await;
    }
    reached(&target, 1 + at_once).await;
    hub.order(to_spoke::Message::Goodbye(v1::Goodbye { reason: "again".into(), retry_after_ms: 1 })).await;
    hub.until("another session", |record| {
        (record.received.iter().filter(|m| matches!(m, Message::Hello(_))).count() == 2).then_some(())
    })
    .await;
    // In the next session all places are free again, though nothing was ever answered.
    for id in 1..=at_once {
        hub.order(asked(id + 100, config_maps(), 0)).await;
    }
    reached(&target, 1 + 2 * at_once).await;
    target.set_silent(false);
    for id in 1..=at_once {
        answered(&hub, id + 100).await.unwrap();
    }
    assert_eq!(answers(&hub), [1].into_iter().chain(101..=100 + at_once).collect());
    spoke.stop().await;
}

#[tokio::test]
async fn an_app_that_was_changed_by_hand_differs_from_what_is_wanted() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    let web = || Some(v1::AppKey { catalog: "main".into(), name: "web".into() });
    hub.order(asked(1, Question::Diff(v1::EntryDiff { app: web() }), 0)).await;
    assert_eq!(answered(&hub, 1).await.unwrap_err(), "app web is not assigned to this cluster");

    hub.order(inlined(1, "ours")).await;
    until(&target, "the value", |target| has(target, "ours")).await;
    hub.order(asked(2, Question::Diff(v1::EntryDiff { app: web() }), 0)).await;
    let equal = answered(&hub, 2).await.unwrap();
    assert_eq!((&equal["objects"], &equal["equal"]), (&1.into(), &1.into()), "{equal:#}");
    // It cannot be put right, so the question sees it.
    target.refuse(&key(), Some("not now"));
    target.edit(&key(), super::config_map("theirs"));
    hub.order(asked(3, Question::Diff(v1::EntryDiff { app: web() }), 0)).await;
    let differs = answered(&hub, 3).await.unwrap();
    let change = &differs["differing"][0]["changes"][0];
    assert_eq!(change["path"], "/data/value", "{differs:#}");
    assert_eq!((&change["live"], &change["wanted"]), (&"theirs".into(), &"ours".into()), "{differs:#}");
    hub.order(asked(4, Question::Adoption(v1::Adoption { app: web() }), 0)).await;
    assert_eq!(answered(&hub, 4).await.unwrap()["objects"][0]["state"], "Ours");
    spoke.stop().await;
}

#[tokio::test]
async fn the_clusters_own_policy_has_the_last_word() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let policy = dir.path().join("policy.yaml");
    std::fs::write(&policy, "questions: {logs: []}\n").unwrap();
    let options = RunOptions::new(dir.path().join("state"), target.clone());
    let options =
        RunOptions { join: Some(hub.token()), clock: clock.clock(), policy: Some(policy), ..options };
    let cancel = CancellationToken::new();
    let spoke = tokio::spawn(run(options, cancel.clone()));
    let logs = v1::ObjectLogs { namespace: "default".into(), name: "web".into(), ..Default::default() };
    hub.order(asked(1, Question::Logs(logs), 0)).await;
    let refused = answered(&hub, 1).await.unwrap_err();
    assert_eq!(
        refused,
        "this cluster's own policy forbids it: the cluster's local policy lets no operator ask for logs"
    );
    assert_eq!(target.calls().answer, 0, "it did not reach the cluster");
    let events = v1::ObjectEvents { kind: "cm".into(), namespace: "default".into(), name: "a".into() };
    hub.order(asked(2, Question::Events(events), 0)).await;
    answered(&hub, 2).await.unwrap_err();
    assert_eq!(target.calls().answer, 1);
    cancel.cancel();
    spoke.await.unwrap().unwrap();
}
