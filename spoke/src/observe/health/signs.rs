//! Signs: how a kind says how it is, as data.
//!
//! In: an object, the signs of its kind. Out: the first verdict that a sign gives; healthy where none objects.
//! Never: believes a condition that is about an older generation.

use jiff::Timestamp;
use serde_json::Value;

use super::read::{
    Condition, annotation, condition, degraded, flag, number, or, progressing, suspended, text,
};
use crate::target::{Health, HealthState};

/// Controllers try again: what failed since less than this may be their first attempts, made before what they need was
/// there. Afterwards, or where nothing says since when, it failed.
const PATIENCE_S: i64 = 60;

/// One thing that an object of a kind shows.
pub(super) enum Sign {
    /// This condition is true: it is healthy, whatever the signs after it would say.
    Suffices(&'static str),
    /// This is so: it failed.
    Fails(Test),
    /// This is so: it is on its way.
    Delays(Test),
    /// This condition must be true, and must be there.
    Needs(&'static str),
    /// This condition must be true if it is there.
    Heeds(&'static str),
    /// A text says how it is; absent is not yet.
    Phase(Phase),
    /// This flag must be true.
    NeedsFlag(&'static str, &'static str),
    /// What only code can say.
    By(fn(&Value, &Moment) -> Option<Health>),
}

/// A text that says how an object is.
pub(super) struct Phase {
    pub at: &'static str,
    /// Where the object explains it.
    pub message: &'static str,
    pub good: &'static [&'static str],
    pub bad: &'static [&'static str],
    pub paused: &'static [&'static str],
    pub unclear: &'static [&'static str],
}

/// What may be so.
pub(super) enum Test {
    /// A flag is true.
    Flag(&'static str),
    /// An annotation is there, and not `false`.
    Annotated(&'static str),
    /// A condition has this status.
    Is(&'static str, &'static str),
    /// A condition is not true for one of these reasons.
    Because(&'static str, &'static [&'static str]),
    /// A text has one of these values.
    Text(&'static str, &'static [&'static str]),
    /// A text is there; the second, if it is there, explains it.
    There(&'static str, &'static str),
}

/// When an object is looked at.
pub(super) struct Moment {
    pub now: Option<Timestamp>,
    pub generation: i64,
}

impl Moment {
    pub fn is_old(&self, condition: &Condition<'_>) -> bool {
        condition.observed.is_some_and(|observed| observed < self.generation)
    }

    /// Failed, unless it is so early that the controller will try again.
    pub fn failed(&self, condition: &Condition<'_>) -> Health {
        let age = self.now.and_then(|now| condition.age(now));
        let early = age.is_some_and(|age| age < PATIENCE_S);
        condition.verdict(if early { HealthState::Progressing } else { HealthState::Degraded })
    }

    /// What a condition that has to be true lacks.
    pub fn lacks(&self, condition: &Condition<'_>) -> Option<Health> {
        if self.is_old(condition) {
            return Some(older(condition.kind));
        }
        (!condition.is_true()).then(|| condition.verdict(HealthState::Progressing))
    }
}

fn older(kind: &str) -> Health {
    progressing("LatestGenerationNotObserved", format!("{kind} is of an older generation"))
}

/// Whether somebody stopped it on purpose. Asked first: who is stopped does not even observe.
pub(super) fn stopped(object: &Value, tests: &[Test]) -> Option<Health> {
    let moment = Moment { now: None, generation: number(object, "/metadata/generation", 0) };
    let kind = text(object, "/kind");
    let because = |(what, message): (String, String)| match message.as_str() {
        "" => suspended(format!("the {kind} is suspended ({what})")),
        message => suspended(message),
    };
    tests.iter().find_map(|test| test.holds(object, &moment)).map(|held| match held {
        Held::Condition(condition) => because((condition.kind.to_owned(), condition.message.to_owned())),
        Held::Else(what, message) => because((what, message)),
    })
}

/// The first verdict of the signs.
pub(super) fn judge(object: &Value, signs: &[Sign], moment: &Moment) -> Health {
    for sign in signs {
        let verdict = match sign {
            Sign::Suffices(kind) => match condition(object, kind) {
                Some(c) if c.is_true() && !moment.is_old(&c) => return Health::healthy(),
                _ => None,
            },
            Sign::Fails(test) => test.holds(object, moment).map(|held| match held {
                Held::Condition(condition) => moment.failed(&condition),
                Held::Else(reason, message) => degraded(&reason, message),
            }),
            Sign::Delays(test) => test.holds(object, moment).map(|held| match held {
                Held::Condition(condition) => condition.verdict(HealthState::Progressing),
                Held::Else(reason, message) => progressing(&reason, message),
            }),
            Sign::Needs(kind) => match condition(object, kind) {
                Some(condition) => moment.lacks(&condition),
                None => Some(progressing("NotObserved", format!("there is no condition {kind} yet"))),
            },
            Sign::Heeds(kind) => condition(object, kind).and_then(|condition| moment.lacks(&condition)),
            Sign::Phase(phase) => phase.says(object),
            Sign::NeedsFlag(at, reason) => (!flag(object, at))
                .then(|| progressing(reason, format!("{} is not true yet", at[1..].replace('/', ".")))),
            Sign::By(judge) => judge(object, moment),
        };
        if let Some(verdict) = verdict {
            return verdict;
        }
    }
    Health::healthy()
}

impl Phase {
    fn says(&self, object: &Value) -> Option<Health> {
        let is = text(object, self.at);
        if self.good.contains(&is) {
            return None;
        }
        let said = text(object, self.message);
        let field = self.at.rsplit('/').next().unwrap_or_default();
        let message = match (is, said) {
            (_, said) if !said.is_empty() => said.to_owned(),
            ("", _) => format!("its {field} is not known yet"),
            (is, _) => format!("its {field} is {is}"),
        };
        Some(match is {
            "" => progressing("NotObserved", message),
            is if self.bad.contains(&is) => degraded(is, message),
            is if self.paused.contains(&is) => suspended(message),
            is if self.unclear.contains(&is) => {
                Health { state: HealthState::Unknown, reason: is.to_owned(), message }
            }
            is => progressing(is, message),
        })
    }
}

/// What makes a test hold.
enum Held<'a> {
    Condition(Condition<'a>),
    /// Reason, message.
    Else(String, String),
}

impl Test {
    fn holds<'a>(&self, object: &'a Value, moment: &Moment) -> Option<Held<'a>> {
        let of = |kind: &str| condition(object, kind).filter(|condition| !moment.is_old(condition));
        match self {
            Self::Flag(at) => flag(object, at).then(|| Held::Else(at[1..].replace('/', "."), String::new())),
            Self::Annotated(name) => annotation(object, name)
                .filter(|value| *value != "false")
                .map(|value| Held::Else(format!("{name}: {value}"), String::new())),
            Self::Is(kind, status) => of(kind).filter(|c| c.status == *status).map(Held::Condition),
            Self::Because(kind, reasons) => {
                of(kind).filter(|c| !c.is_true() && reasons.contains(&c.reason)).map(Held::Condition)
            }
            Self::Text(at, values) => {
                let is = text(object, at);
                let field = at.rsplit('/').next().unwrap_or_default();
                values.contains(&is).then(|| Held::Else(is.to_owned(), format!("its {field} is {is}")))
            }
            Self::There(at, explains) => {
                let is = text(object, at);
                (!is.is_empty()).then(|| Held::Else(is.to_owned(), or(text(object, explains), is)))
            }
        }
    }
}
