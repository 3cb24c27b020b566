//! Cron: five fields that say at which minutes of which days something begins, as `crontab(5)` and Kubernetes' CronJob have them.
//!
//! In: the text, a time. Out: the beginnings before and after it. Never: walks minute by minute; it looks at days.
//!
//! A beginning that falls into the hour that a change of the clocks leaves out comes that much later; one in the hour that comes
//! twice comes the first time, unless it comes every hour: then both times.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

/// What a field's numbers are, and the names that stand for them.
struct Part {
    name: &'static str,
    least: u8,
    most: u8,
    words: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const PARTS: [Part; 5] = [
    Part { name: "minute", least: 0, most: 59, words: &[] },
    Part { name: "hour", least: 0, most: 23, words: &[] },
    Part { name: "day of month", least: 1, most: 31, words: &[] },
    Part { name: "month", least: 1, most: 12, words: &MONTHS },
    // Sunday is 0 and 7.
    Part { name: "day of week", least: 0, most: 7, words: &DAYS },
];
/// Words for whole expressions.
const WORDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// All hours, as bits.
const EVERY_HOUR: u64 = (1 << 24) - 1;
/// 29 February comes once in at most eight years.
const MOST_DAYS: i32 = 8 * 366;

/// Text that is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Too few fields, or too many.
    #[error(
        "{0:?} is no cron expression: it has five fields, minute, hour, day of month, month, day of week, e.g. 0 1 * * 1-5"
    )]
    Fields(String),
    /// A field says nothing that it can.
    #[error(
        "{field:?} is no {part} of a cron expression: write *, a number from {least} to {most}{words}, a range a-b from low to high, a step */n, or several with commas"
    )]
    Field {
        /// What it says.
        field: String,
        /// Which it is.
        part: &'static str,
        /// Its least number.
        least: u8,
        /// Its greatest.
        most: u8,
        /// And the names that stand for them.
        words: &'static str,
    },
    /// There is no such day.
    #[error("{0:?} never comes: no such month has such a day")]
    Never(String),
}

/// When something begins.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    /// Numbers as bits, a field each.
    numbers: [u64; 5],
    /// Whether the days of the month, and of the week, begin with a star.
    stars: (bool, bool),
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let word = WORDS.iter().find(|(word, _)| *word == text.trim()).map(|(_, means)| *means);
        let fields: Vec<&str> = word.unwrap_or(text).split_ascii_whitespace().collect();
        let [_, _, days, _, weekdays] = fields[..] else { return Err(CronError::Fields(text.to_owned())) };
        let mut numbers = [0; 5];
        for ((field, part), bits) in fields.iter().zip(&PARTS).zip(&mut numbers) {
            *bits = field.split(',').try_fold(0, |bits, term| Some(bits | part.term(term)?)).ok_or_else(
                || {
                    let Part { name, least, most, words } = part;
                    let words = match words {
                        [] => "",
                        words if words.len() == MONTHS.len() => " or JAN to DEC",
                        _ => " or SUN to SAT",
                    };
                    CronError::Field {
                        field: (*field).to_owned(),
                        part: name,
                        least: *least,
                        most: *most,
                        words,
                    }
                },
            )?;
        }
        numbers[4] |= numbers[4] >> 7 & 1;
        let cron = Self {
            text: text.to_owned(),
            numbers,
            stars: (days.starts_with('*'), weekdays.starts_with('*')),
        };
        let somewhere = Timestamp::UNIX_EPOCH;
        match cron.next(somewhere, &TimeZone::UTC) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never(text.to_owned())),
        }
    }
}

impl Part {
    /// The bits of `*`, `*/n`, `a`, `a-b`, `a-b/n` or `a/n`.
    fn term(&self, term: &str) -> Option<u64> {
        let (range, step) = match term.split_once('/') {
            Some((range, step)) => (range, step.parse::<u8>().ok().filter(|step| *step > 0)?),
            None => (term, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((from, to)) => (self.number(from)?, self.number(to)?),
            // `5/15` goes on to the end.
            None if term.contains('/') => (self.number(range)?, self.most),
            None => (self.number(range)?, self.number(range)?),
        };
        (from <= to).then(|| (from..=to).step_by(step.into()).fold(0, |bits, number| bits | 1 << number))
    }

    fn number(&self, text: &str) -> Option<u8> {
        if let Some(at) = self.words.iter().position(|word| word.eq_ignore_ascii_case(text)) {
            return u8::try_from(at).ok().map(|at| at + self.least);
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits)?;
        (self.least..=self.most).contains(&number).then_some(number)
    }
}

impl Cron {
    fn has(&self, field: usize, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.numbers[field] >> number & 1 == 1)
    }

    /// Days of the month and of the week are both asked where one begins with a star, and either suffices where none does.
    fn is_day(&self, date: Date) -> bool {
        let by_month = self.has(2, date.day());
        let by_week = self.has(4, date.weekday().to_sunday_zero_offset());
        let day = if self.stars.0 || self.stars.1 { by_month && by_week } else { by_month || by_week };
        self.has(3, date.month()) && day
    }

    /// The beginnings of a day; where its clock was set, they are in no order.
    fn of_day<'a>(&'a self, date: Date, zone: &'a TimeZone) -> impl Iterator<Item = Timestamp> + 'a {
        let hours = (0..24).filter(move |hour| self.is_day(date) && self.has(1, *hour));
        let times = hours.flat_map(move |hour| {
            (0..60).filter(|minute| self.has(0, *minute)).map(move |minute| date.at(hour, minute, 0, 0))
        });
        times.flat_map(|time| {
            let ambiguous = zone.to_ambiguous_timestamp(time);
            let is_twice = matches!(ambiguous.offset(), AmbiguousOffset::Fold { .. });
            let again = (is_twice && self.numbers[1] == EVERY_HOUR).then(|| ambiguous.later().ok());
            [moment(time, zone), again.flatten()].into_iter().flatten()
        })
    }

    /// The first beginning after a time.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // The day before: a clock that goes back may lead into it.
        let first = zone.to_datetime(after).date().yesterday().ok()?;
        let days = (0..MOST_DAYS).map_while(|day| first.checked_add(day.days()).ok());
        days.filter_map(|day| self.of_day(day, zone).filter(|begins| *begins > after).min()).next()
    }

    /// The last beginning at a time or before it, of those after `bound`.
    pub fn last(&self, at: Timestamp, bound: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut day = zone.to_datetime(at).date().tomorrow().ok()?;
        let end = zone.to_datetime(bound).date().yesterday().ok()?;
        while day >= end {
            if let Some(begins) = self.of_day(day, zone).filter(|begins| *begins <= at).max() {
                return (begins > bound).then_some(begins);
            }
            day = day.yesterday().ok()?;
        }
        None
    }
}

/// A time of a clock as a moment.
pub(super) fn moment(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(time).compatible().ok()
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl TryFrom<String> for Cron {
    type Error = CronError;

    fn try_from(text: String) -> Result<Self, CronError> {
        text.parse()
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> String {
        cron.text
    }
}
