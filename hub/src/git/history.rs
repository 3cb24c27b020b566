//! How commits follow one another, and what they say.
//!
//! In: ids of commits. Out: whether one descends from another, the new commits of the main line, author and trailers.
//! Never: takes missing history for an answer; where a shallow boundary is met, it says [`Walk::Cut`].

use std::collections::HashSet;

use gix::ObjectId;
use gix::objs::commit::MessageRef;
use gix::revision::walk::Sorting;
use gix::traverse::commit::simple::CommitTimeOrder;
use nave_placement::catalog::CommitId;

use super::errors::ReadError;
use super::objects::{Objects, damaged, parse};

/// Who made a commit, and what they wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    /// The author's name.
    pub author: String,
    /// The author's address.
    pub email: String,
    /// When the author wrote it, in seconds since 1970.
    pub time: i64,
    /// The first paragraph, on one line.
    pub subject: String,
    /// The trailers of the last paragraph, in order, as `git interpret-trailers` finds them.
    pub trailers: Vec<(String, String)>,
}

/// The trailers of a message, in order.
pub fn trailers_of(message: &str) -> Vec<(String, String)> {
    of_message(&MessageRef::from_bytes(message.as_bytes()))
}

fn of_message(message: &MessageRef<'_>) -> Vec<(String, String)> {
    let trailers = message.body().into_iter().flat_map(|body| {
        body.trailers()
            .map(|trailer| (trailer.token.to_string(), trailer.value.to_string()))
            .collect::<Vec<_>>()
    });
    trailers.collect()
}

/// Commits of a walk that is only to save a longer one: some milliseconds.
const SHORT_WALK: usize = 1_000;

/// An answer about history, or that it is not all here.
pub(super) enum Walk<T> {
    Known(T),
    /// The walk met a shallow boundary before it could tell.
    Cut,
}

impl Objects {
    pub(super) fn commit_info(&self, commit: &CommitId) -> Result<CommitInfo, ReadError> {
        let id = parse(&commit.0)?;
        let commit = self.commit(id)?;
        let author = commit.author().map_err(|e| damaged(id, e))?;
        let message = commit.message().map_err(|e| damaged(id, e))?;
        Ok(CommitInfo {
            author: author.name.to_string(),
            email: author.email.to_string(),
            time: author.time().map_or(0, |time| time.seconds),
            subject: message.summary().to_string(),
            trailers: of_message(&message),
        })
    }

    /// Whether `ancestor` is `head` or reachable from it through any parents.
    pub(super) fn is_descendant(
        &self,
        ancestor: &CommitId,
        head: &CommitId,
    ) -> Result<Walk<bool>, ReadError> {
        let wanted = parse(&ancestor.0)?;
        let head = parse(&head.0)?;
        if self.is_newer(wanted, head)? {
            return Ok(Walk::Known(false));
        }
        self.walk(head, false, |id| id == wanted)
    }

    /// Whether `head` is a true ancestor of `wanted`, as far as a short walk tells: whoever waits for a commit that is newer
    /// than the one in effect shall not pay for the whole history each time. False where it does not tell.
    fn is_newer(&self, wanted: ObjectId, head: ObjectId) -> Result<bool, ReadError> {
        // A commit that is not here at all is for the long walk to tell of.
        let time = |id: ObjectId| self.commit(id).ok()?.time().ok().map(|time| time.seconds);
        let (Some(then), Some(now)) = (time(wanted), time(head)) else { return Ok(false) };
        if wanted == head || then < now {
            return Ok(false);
        }
        let (mut left, mut met) = (SHORT_WALK, false);
        self.walk(wanted, false, |id| {
            met = id == head;
            left -= 1;
            met || left == 0
        })?;
        Ok(met)
    }

    /// The commits of `to`'s first-parent line that `from` does not reach, oldest first; without `from`, `to` alone.
    pub(super) fn first_parents(
        &self,
        from: Option<&CommitId>,
        to: &CommitId,
    ) -> Result<Walk<Vec<CommitId>>, ReadError> {
        let to_id = parse(&to.0)?;
        let Some(from) = from else {
            return Ok(Walk::Known(vec![to.clone()]));
        };
        let from = parse(&from.0)?;
        let mut line = Vec::new();
        let met = self.walk(to_id, true, |id| {
            let end = id == from;
            if !end {
                line.push(id);
            }
            end
        })?;
        match met {
            Walk::Known(true) => {}
            Walk::Cut => return Ok(Walk::Cut),
            // `from` came in by a merge, or is on another branch: leave out what it already reaches.
            Walk::Known(false) => {
                let mut old = HashSet::new();
                if let Walk::Cut = self.walk(from, false, |id| {
                    old.insert(id);
                    false
                })? {
                    return Ok(Walk::Cut);
                }
                line.retain(|id| !old.contains(id));
            }
        }
        Ok(Walk::Known(line.iter().rev().map(|id| CommitId(id.to_string().into())).collect()))
    }

    /// Visits `tip` and its ancestors, newest first, until `end` says so; says whether it did.
    fn walk(
        &self,
        tip: ObjectId,
        first_parent: bool,
        mut end: impl FnMut(ObjectId) -> bool,
    ) -> Result<Walk<bool>, ReadError> {
        let home = self.home(tip)?;
        let shallow = home.shallow_commits().map_err(|e| damaged(tip, e))?;
        let mut platform = home.rev_walk([tip]).sorting(Sorting::ByCommitTime(CommitTimeOrder::NewestFirst));
        if first_parent {
            platform = platform.first_parent_only();
        }
        let mut cut = false;
        for info in platform.all().map_err(|e| damaged(tip, e))? {
            let id = info.map_err(|e| damaged(tip, e))?.id;
            if end(id) {
                return Ok(Walk::Known(true));
            }
            cut |= shallow.as_ref().is_some_and(|boundary| boundary.iter().any(|b| *b == id));
        }
        Ok(if cut { Walk::Cut } else { Walk::Known(false) })
    }
}
