//! A receiver and the row of events, without a hub around them: what it misses, and when it is asked again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use harness::receiver::{Answer, Receiver};
use harness::{peers, wait};
use nave_hub::config::{SinkConfig, SinkKind};
use nave_hub::events::sinks::{Board, Sink};
use nave_hub::events::{Event, EventRecord, Filter};
use nave_hub::state::records::key;
use nave_hub::state::{Ledger, Step};
use nave_hub::store::Batch;
use nave_hub::store::memory::Memory;
use nave_placement::CatalogName;
use nave_placement::catalog::CommitId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{KEY, LIMIT};

/// A ledger, and a sink that runs over it.
struct Row {
    ledger: Arc<Ledger>,
    board: Arc<Board>,
    directory: tempfile::TempDir,
}

impl Row {
    async fn new(receiver: &Receiver) -> Self {
        let ledger = Ledger::load(Arc::new(Memory::new()), peers::clock()).await.expect("it is empty");
        let directory = tempfile::tempdir().expect("a directory");
        let secret_file = directory.path().join("key");
        std::fs::write(&secret_file, KEY).expect("it is so");
        let config = SinkConfig {
            name: "hook".into(),
            filter: Filter::default(),
            ca_file: None,
            kind: SinkKind::Webhook { url: receiver.url("/"), secret_file },
        };
        Self { ledger: Arc::new(ledger), board: Board::new(vec![config], CatalogName::root()), directory }
    }

    /// Starts the sink; it ends with what is given back, as if by `kill -9`.
    fn run(&self) -> AbortOnDropHandle<()> {
        let sink = Sink::all(&self.board, &self.ledger, "test").pop().expect("there is one");
        AbortOnDropHandle::new(tokio::spawn(sink.run(CancellationToken::new())))
    }

    async fn put(&self, sequence: u64) {
        let event = Event::Taken { commit: CommitId(format!("{sequence:08}").into()), catalog: None };
        let record = serde_json::to_vec(&EventRecord::new(sequence, 1, event)).expect("it is so");
        self.commit(Batch::new().put(key::event(sequence), record)).await;
    }

    async fn drop_event(&self, sequence: u64) {
        self.commit(Batch::new().delete(key::event(sequence))).await;
    }

    async fn commit(&self, batch: Batch) {
        self.ledger.commit(Step::EventsTold, batch).await.expect("it is taken");
    }

    /// Waits until the sink has written down that it is so far.
    async fn at(&self, cursor: u64) {
        wait::until("the sink is so far", LIMIT, async || {
            let state = self.ledger.state();
            let record = state.sinks.get("hook").map(|sink| sink.record.clone());
            ensure!(record.as_ref().is_some_and(|record| record.cursor == cursor), "{record:?}");
            Ok(())
        })
        .await;
    }
}

#[tokio::test]
async fn whoever_is_away_for_longer_than_the_row_is_told_how_many_it_missed() {
    let receiver = Receiver::start().await;
    let row = Row::new(&receiver).await;
    // What happened before there was a receiver is not for it.
    row.put(1).await;
    let running = row.run();
    row.at(1).await;
    receiver.answer(Answer::Status(503));
    row.put(2).await;
    wait::until("it was tried", LIMIT, async || !receiver.received().is_empty()).await;
    for sequence in 3..=9 {
        row.put(sequence).await;
    }
    for sequence in 1..=6 {
        row.drop_event(sequence).await;
    }
    receiver.answer(Answer::Status(200));
    row.at(9).await;
    let taken = receiver.received().into_iter().filter(|request| request.answered == 200);
    let told: Vec<(String, u64, u64)> = taken
        .map(|request| {
            let body = request.json();
            let number = |field: &str| body[field].as_u64().unwrap_or_default();
            (body["type"].as_str().unwrap_or_default().to_owned(), number("sequence"), number("count"))
        })
        .collect();
    let taken = |sequence| ("Taken".to_owned(), sequence, 0);
    // The second was under way; three to six are gone.
    assert_eq!(told, [taken(2), ("Missed".to_owned(), 6, 4), taken(7), taken(8), taken(9)]);
    let view = row.board.views(&row.ledger.state()).pop().expect("there is one");
    assert_eq!((view.missed, view.behind, view.trouble), (4, 0, None));
    drop(running);
}

#[tokio::test]
async fn a_receiver_that_says_when_it_can_be_asked_again_is_not_asked_before() {
    let receiver = Receiver::start().await;
    let row = Row::new(&receiver).await;
    let _running = row.run();
    row.at(0).await;
    receiver.answer(Answer::Busy(2));
    row.put(1).await;
    wait::until("it was tried", LIMIT, async || !receiver.received().is_empty()).await;
    receiver.answer(Answer::Status(200));
    // Without that it would be asked after half a second.
    let once = async || receiver.received().len() == 1;
    wait::throughout("it is let alone", Duration::from_millis(1500), once).await;
    row.at(1).await;
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn an_event_that_is_refused_is_given_up_and_the_next_comes_by_a_new_secret() {
    let receiver = Receiver::start().await;
    let row = Row::new(&receiver).await;
    let running = row.run();
    row.at(0).await;
    receiver.answer(Answer::Status(401));
    row.put(1).await;
    row.at(1).await;
    receiver.answer(Answer::Status(200));
    std::fs::write(row.directory.path().join("key"), "another").expect("it is so");
    row.put(2).await;
    row.at(2).await;
    // One that starts anew goes on where the other was.
    drop(running);
    row.put(3).await;
    let _running = row.run();
    row.at(3).await;
    let received = receiver.received();
    assert_eq!(received.iter().map(|request| request.answered).collect::<Vec<_>>(), [401, 200, 200]);
    let signed: Vec<bool> = received.iter().map(|request| super::is_signed(request).is_ok()).collect();
    assert_eq!(signed, [true, false, false]);
    let view = row.board.views(&row.ledger.state()).pop().expect("there is one");
    assert_eq!((view.sent, view.refused), (2, 1));
}
