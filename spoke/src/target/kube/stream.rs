//! Stream: what happens to the objects of a kind: a list, a watch from where it ended, and so on for ever.
//!
//! In: a kind, a place, a label. Out: one [`Event`] after the other, and failures, which pass. Only metadata are asked for,
//! and read without the books of who manages which field.
//! Never: waits without a limit; asks again without a growing pause; loses a change: a watch that ends, or says nothing
//! any more, is taken up at the version that it had reached, and where the server does not know that version, by a new list.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::WatchEvent;
use kube::core::discovery::ApiResource;
use nave_proto::backoff::Backoff;
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::bookless::Bookless;
use super::problem::Problem;
use super::shared::text;
use super::wire::{Events, Wire, chain, told};

/// A watch that ends sooner, and said nothing, is no watch.
const TOO_SOON: Duration = Duration::from_secs(1);

/// Something about a kind's objects.
#[derive(Debug)]
pub(super) enum Event {
    /// A list begins: what a list before it has shown does not count.
    Begun,
    /// The list has this object.
    Listed(Value),
    /// The list is complete.
    Complete,
    /// An object was created or changed.
    Changed(Value),
    /// An object was deleted, or lost the label.
    Deleted(Value),
}

pub(super) struct Stream {
    wire: Wire,
    kind: Arc<ApiResource>,
    namespace: String,
    labels: Option<&'static str>,
    at: At,
    backoff: Backoff,
    /// After a failure nothing is asked until then.
    rests: Option<Instant>,
}

/// How far it is.
enum At {
    Start,
    /// What is left of a page; then comes the page of this token, or the first.
    List {
        page: VecDeque<Value>,
        more: Option<String>,
    },
    /// What is left of the last page; then comes a watch from this version.
    LastPage {
        page: VecDeque<Value>,
        version: String,
    },
    Listed {
        version: String,
    },
    Watch {
        version: String,
        watch: Watch,
    },
}

struct Watch {
    events: Events,
    begun: Instant,
    /// When it has ended, if it is not half open.
    ends: Instant,
    spoke: bool,
}

impl Stream {
    /// Of a kind, everywhere (`""`) or in one namespace, what has the label or all. It takes its turn among streams.
    pub fn of(wire: &Wire, kind: &Arc<ApiResource>, namespace: &str, labels: Option<&'static str>) -> Self {
        let wire = wire.for_streams();
        let backoff = wire.timings.retry();
        let (kind, namespace) = (kind.clone(), namespace.to_owned());
        Self { wire, kind, namespace, labels, at: At::Start, backoff, rests: None }
    }

    /// The next event. A call that is dropped loses none. After a failure the next call waits first.
    pub async fn next(&mut self) -> Result<Event, Problem> {
        if let Some(until) = self.rests {
            sleep_until(until).await;
            self.rests = None;
        }
        let next = self.step().await;
        match &next {
            // A list that begins, or breaks off in its middle, is no sign that things are well.
            Ok(Event::Begun | Event::Listed(_)) => {}
            Ok(_) => self.backoff.reset(),
            Err(_) => self.rests = Some(Instant::now() + self.backoff.after_failure(fastrand::f64())),
        }
        next
    }

    /// Nothing is asked for so long, whatever came last.
    pub fn rest(&mut self, pause: Duration) {
        self.rests = Some(Instant::now() + pause);
    }

    async fn step(&mut self) -> Result<Event, Problem> {
        loop {
            match &mut self.at {
                At::Start => {
                    self.at = At::List { page: VecDeque::new(), more: None };
                    return Ok(Event::Begun);
                }
                At::List { page, more } => match page.pop_front() {
                    Some(object) => return Ok(Event::Listed(object)),
                    None => {
                        let from = more.clone();
                        match self.page(from).await {
                            Ok(at) => self.at = at,
                            Err(problem) => {
                                self.at = At::Start;
                                return Err(problem);
                            }
                        }
                    }
                },
                At::LastPage { page, version } => match page.pop_front() {
                    Some(object) => return Ok(Event::Listed(object)),
                    None => {
                        self.at = At::Listed { version: std::mem::take(version) };
                        return Ok(Event::Complete);
                    }
                },
                At::Listed { version } => {
                    let version = version.clone();
                    let watch = self.watch(&version).await;
                    self.at = match watch {
                        Ok(watch) => At::Watch { version, watch },
                        Err(problem) => {
                            self.fell_behind(&problem);
                            return Err(problem);
                        }
                    };
                }
                At::Watch { version, watch } => {
                    let heard = timeout_at(watch.ends, watch.events.next()).await;
                    let (event, object) = match heard {
                        Ok(Some(Ok(
                            WatchEvent::Added(Bookless(object)) | WatchEvent::Modified(Bookless(object)),
                        ))) => (Event::Changed as fn(Value) -> Event, object),
                        Ok(Some(Ok(WatchEvent::Deleted(Bookless(object))))) => (Event::Deleted as _, object),
                        Ok(Some(Ok(WatchEvent::Bookmark(mark)))) => {
                            (*version, watch.spoke) = (mark.metadata.resource_version, true);
                            continue;
                        }
                        ended => {
                            let too_soon = !watch.spoke && watch.begun.elapsed() < TOO_SOON;
                            self.at = At::Listed { version: std::mem::take(version) };
                            let problem = match ended {
                                Ok(Some(Ok(WatchEvent::Error(status)))) => told(&status),
                                Ok(Some(Err(error))) => Problem::unanswered(chain(&error)),
                                Ok(None) if too_soon => {
                                    Problem::unanswered("the API server ends a watch as soon as it begins")
                                }
                                _ => continue,
                            };
                            self.fell_behind(&problem);
                            return Err(problem);
                        }
                    };
                    (*version, watch.spoke) = (text(&object, "/metadata/resourceVersion").to_owned(), true);
                    return Ok(event(object));
                }
            }
        }
    }

    async fn page(&mut self, from: Option<String>) -> Result<At, Problem> {
        let page = self.wire.page(&self.kind, &self.namespace, self.labels, true, from).await?;
        let objects = page.bookless()?.collect::<Result<_, _>>()?;
        let (more, version, page) = (page.more, page.version, objects);
        Ok(if more.is_some() { At::List { page, more } } else { At::LastPage { page, version } })
    }

    async fn watch(&mut self, version: &str) -> Result<Watch, Problem> {
        let lasts = fastrand::u32(self.wire.timings.watch.clone());
        let events = self.wire.watch(&self.kind, &self.namespace, self.labels, version, lasts).await?;
        let begun = Instant::now();
        let ends = begun + Duration::from_secs(lasts.into()) + self.wire.timings.slack;
        Ok(Watch { events, begun, ends, spoke: false })
    }

    /// The server no longer knows what came after the version: only a list tells.
    fn fell_behind(&mut self, problem: &Problem) {
        if problem.code == 410 {
            self.at = At::Start;
        }
    }
}
