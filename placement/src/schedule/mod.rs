//! Schedule: when changes may start on a cluster.
//!
//! In: windows and freezes as an assignment carries them, the time. Out: that changes may start, or until when they may not, and
//! why. Never: knows the clock; reads time zones of the machine: their table is a part of the program, so hub, spoke and command
//! line say the same.
//!
//! A freeze stands above windows. Without a window every time is one.

mod cron;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use jiff::civil::{Date, DateTime};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ClusterName;
use crate::catalog::{Catalog, ClusterSet, FreezeRule, Kind, Problem, WindowRule};
use crate::fleet::{Candidate, Fleet};

pub use cron::{Cron, CronError};

/// Turns of "frozen, then no window, then frozen again" that are looked through for an end.
const TURNS: usize = 64;

/// A time zone that the table has, by its IANA name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(String);

/// A name that is in no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone {0:?}; write its IANA name, e.g. Europe/Berlin, or UTC")]
pub struct ZoneError(String);

fn table() -> &'static TimeZoneDatabase {
    static TABLE: OnceLock<TimeZoneDatabase> = OnceLock::new();
    TABLE.get_or_init(TimeZoneDatabase::bundled)
}

impl Zone {
    /// The time that every other is told by.
    pub fn utc() -> Self {
        Self("UTC".to_owned())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn time_zone(&self) -> TimeZone {
        // It was there when this was made, and the table is a constant.
        table().get(&self.0).unwrap_or(TimeZone::UTC)
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        let zone = table().get(name).map_err(|_| ZoneError(name.to_owned()))?;
        // As the table spells it: it is found in any case.
        Ok(Self(zone.iana_name().unwrap_or(name).to_owned()))
    }
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;

    fn try_from(name: String) -> Result<Self, ZoneError> {
        name.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> String {
        zone.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A time of which changes may start: from each beginning on, for so long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When it begins.
    pub cron: Cron,
    /// How long it is open.
    pub duration_ms: u64,
    /// Whose clock it goes by.
    pub timezone: Zone,
}

/// A time in which no change starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Freeze {
    /// When it begins.
    pub from: When,
    /// When it ends; a date is its whole day.
    pub to: When,
    /// Whose clock it goes by.
    pub timezone: Zone,
}

/// A date, or a date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum When {
    /// A day.
    Day(Date),
    /// A time.
    Time(DateTime),
}

/// Text that is neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no date; write 2026-11-20, or 2026-11-20T18:00 for a time of day")]
pub struct WhenError(String);

impl When {
    fn begins(self) -> DateTime {
        match self {
            Self::Day(date) => date.at(0, 0, 0, 0),
            Self::Time(time) => time,
        }
    }

    /// `None` at the end of all times.
    fn ends(self) -> Option<DateTime> {
        match self {
            Self::Day(date) => date.tomorrow().ok().map(|date| date.at(0, 0, 0, 0)),
            Self::Time(time) => Some(time),
        }
    }

    /// Whether a freeze from here to there has any length.
    pub fn is_before(self, to: Self) -> bool {
        to.ends().is_none_or(|ends| self.begins() < ends)
    }
}

impl FromStr for When {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        let wrong = || WhenError(text.to_owned());
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
        // The library reads more than this, zones that would be dropped among it.
        if date.len() != 10 || !date.split('-').all(digits) {
            return Err(wrong());
        }
        let date: Date = date.parse().map_err(|_| wrong())?;
        let Some(time) = time else { return Ok(Self::Day(date)) };
        let numbers: Option<Vec<i8>> = time
            .split(':')
            .map(|part| (digits(part) && part.len() == 2).then(|| part.parse().ok())?)
            .collect();
        let time = match numbers.as_deref() {
            Some([hour, minute]) => jiff::civil::Time::new(*hour, *minute, 0, 0),
            Some([hour, minute, second]) => jiff::civil::Time::new(*hour, *minute, *second, 0),
            _ => return Err(wrong()),
        };
        Ok(Self::Time(date.to_datetime(time.map_err(|_| wrong())?)))
    }
}

impl TryFrom<String> for When {
    type Error = WhenError;

    fn try_from(text: String) -> Result<Self, WhenError> {
        text.parse()
    }
}

impl From<When> for String {
    fn from(when: When) -> String {
        when.to_string()
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(date) => write!(f, "{date}"),
            Self::Time(time) => write!(f, "{time}"),
        }
    }
}

/// When changes may start on a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Schedule {
    /// Only in one of these; at any time where there is none.
    pub windows: Vec<Window>,
    /// Never in one of these.
    pub freezes: Vec<Freeze>,
}

/// Why no change may start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// No window is open.
    Windows,
    /// A freeze.
    Freeze,
    /// What was said of windows and freezes cannot be read here.
    Unreadable,
}

/// No change may start now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Why.
    pub by: ClosedBy,
    /// When changes may start again, Unix milliseconds; absent where that is not to be seen.
    pub until_ms: Option<u64>,
    /// That time, as the clock shows it by which the rule goes that closes now; or what cannot be read.
    shown: Option<String>,
}

impl Closed {
    /// Rules that this version does not understand let nothing start.
    pub fn unreadable(why: &str) -> Self {
        Self { by: ClosedBy::Unreadable, until_ms: None, shown: Some(why.to_owned()) }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (now, next) = match self.by {
            ClosedBy::Windows => ("no window is open", "the next opens"),
            ClosedBy::Freeze => ("changes are frozen", "they may start"),
            ClosedBy::Unreadable => {
                let why = self.shown.as_deref().unwrap_or_default();
                return write!(
                    f,
                    "the rules of when changes may start cannot be read here: {why}; update the spoke"
                );
            }
        };
        match &self.shown {
            Some(shown) => write!(f, "{now}; {next} at {shown}"),
            None => write!(f, "{now}, and no time is to be seen at which they may start"),
        }
    }
}

impl Schedule {
    /// When changes may start on the clusters of a set that have this time zone.
    pub fn of(set: &ClusterSet, zone: &Zone) -> Self {
        let zone = |own: &Option<Zone>| own.as_ref().unwrap_or(zone).clone();
        let windows = set.windows.iter().map(|WindowRule { cron, duration_ms, timezone }| Window {
            cron: cron.clone(),
            duration_ms: *duration_ms,
            timezone: zone(timezone),
        });
        let freezes = set.freezes.iter().map(|FreezeRule { from, to, timezone }| Freeze {
            from: *from,
            to: *to,
            timezone: zone(timezone),
        });
        Self { windows: windows.collect(), freezes: freezes.collect() }
    }

    /// No change starts.
    fn never() -> Self {
        let freeze = Freeze {
            from: When::Day(jiff::civil::date(1970, 1, 1)),
            to: When::Day(Date::MAX),
            timezone: Zone::utc(),
        };
        Self { windows: Vec::new(), freezes: vec![freeze] }
    }

    /// Whether changes may start at any time.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.freezes.is_empty()
    }

    /// Why no change may start at a time; `None`: they may.
    pub fn closed(&self, now_ms: u64) -> Option<Closed> {
        let now = timestamp(now_ms)?;
        let (by, first, zone) = self.obstacle(now)?;
        let (mut until, mut turns) = (first, 0);
        while let Some(at) = until
            && let Some((_, next, _)) = self.obstacle(at)
        {
            turns += 1;
            until = next.filter(|_| turns < TURNS);
        }
        let until_ms = until.and_then(|until| u64::try_from(until.as_millisecond()).ok());
        let shown = until.map(|until| {
            let time = zone.time_zone().to_datetime(until);
            format!("{} {zone}", time.strftime("%Y-%m-%d %H:%M"))
        });
        Some(Closed { by, until_ms, shown })
    }

    /// What stands in the way of changes at a time, and until when that one thing does.
    fn obstacle(&self, at: Timestamp) -> Option<(ClosedBy, Option<Timestamp>, &Zone)> {
        if let Some((ends, zone)) = self.freezes.iter().find_map(|freeze| freeze.at(at)) {
            return Some((ClosedBy::Freeze, ends, zone));
        }
        let first = self.windows.first()?;
        if self.windows.iter().any(|window| window.is_open(at)) {
            return None;
        }
        let next = self.windows.iter().filter_map(|window| Some((window.next(at)?, &window.timezone))).min();
        Some(next.map_or((ClosedBy::Windows, None, &first.timezone), |(at, zone)| {
            (ClosedBy::Windows, Some(at), zone)
        }))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for Window { cron, duration_ms, timezone } in &self.windows {
            write!(f, "{separator}{cron} for {} ({timezone})", crate::duration::written(*duration_ms))?;
            separator = ", ";
        }
        for Freeze { from, to, timezone } in &self.freezes {
            write!(f, "{separator}frozen from {from} to {to} ({timezone})")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl Window {
    fn is_open(&self, at: Timestamp) -> bool {
        let length = SignedDuration::from_millis(i64::try_from(self.duration_ms).unwrap_or(i64::MAX));
        let bound = at.checked_sub(length);
        bound.is_ok_and(|bound| self.cron.last(at, bound, &self.timezone.time_zone()).is_some())
    }

    fn next(&self, at: Timestamp) -> Option<Timestamp> {
        self.cron.next(at, &self.timezone.time_zone())
    }
}

impl Freeze {
    /// One that lasts until a time, Unix milliseconds, and began long ago; `None` beyond the calendar.
    pub fn until(until_ms: u64) -> Option<Self> {
        let until = timestamp(until_ms.div_ceil(1_000) * 1_000)?;
        let to = When::Time(TimeZone::UTC.to_datetime(until));
        Some(Self { from: When::Day(jiff::civil::date(1970, 1, 1)), to, timezone: Zone::utc() })
    }

    /// When it ends, if it holds at a time.
    fn at(&self, at: Timestamp) -> Option<(Option<Timestamp>, &Zone)> {
        let zone = self.timezone.time_zone();
        let ends = self.to.ends().and_then(|ends| cron::moment(ends, &zone));
        let holds = cron::moment(self.from.begins(), &zone).is_none_or(|begins| begins <= at)
            && ends.is_none_or(|ends| at < ends);
        holds.then_some((ends, &self.timezone))
    }
}

/// The schedules of clusters whose set says something of them. Who is emptied by an operator's order is no candidate any more,
/// and has none.
pub fn schedules(catalog: &Catalog, fleet: &Fleet) -> BTreeMap<ClusterName, Schedule> {
    let schedule = |(name, candidate): (&ClusterName, &Candidate)| {
        let named = candidate.set.as_deref()?;
        let Some((_, set)) = catalog.set(named) else {
            // What is said of it cannot be read, and never could: it may have been a freeze.
            let of_set = |problem: &Problem| {
                let about = problem.object.as_ref();
                problem.is_error()
                    && about.is_some_and(|id| id.kind == Kind::ClusterSet && *id.name == *named)
            };
            return catalog.problems.iter().any(of_set).then(|| (name.clone(), Schedule::never()));
        };
        let zone = catalog.cluster(name).and_then(|(_, cluster)| cluster.timezone.clone());
        let schedule = Schedule::of(set, &zone.unwrap_or_else(Zone::utc));
        (!schedule.is_empty()).then(|| (name.clone(), schedule))
    };
    fleet.iter().filter_map(schedule).collect()
}

fn timestamp(ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()
}
