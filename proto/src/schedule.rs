//! Schedules to bytes and back: the hub encodes one once, and nobody who passes it on reads it.

use nave_placement::assign::EncodedSchedule;
use nave_placement::schedule::{Closed, Freeze, Schedule, When, Window, Zone};
use prost::Message as _;

use crate::convert::ConvertError;
use crate::v1;

/// No window is open for longer: looking for its beginning looks at as many days.
const MOST_WINDOW_MS: u64 = 7 * 86_400_000;

/// A schedule as it travels.
pub fn encode_schedule(schedule: &Schedule) -> EncodedSchedule {
    let window = |window: &Window| v1::schedule::Window {
        cron: window.cron.to_string(),
        duration_ms: window.duration_ms,
        timezone: window.timezone.to_string(),
    };
    let freeze = |freeze: &Freeze| v1::schedule::Freeze {
        from: freeze.from.to_string(),
        to: freeze.to.to_string(),
        timezone: freeze.timezone.to_string(),
    };
    let message = v1::Schedule {
        windows: schedule.windows.iter().map(window).collect(),
        freezes: schedule.freezes.iter().map(freeze).collect(),
    };
    EncodedSchedule(message.encode_to_vec().into())
}

/// Reads a schedule.
///
/// # Errors
/// When a rule in it cannot be read: then it is not known when changes may start.
pub fn decode_schedule(encoded: &EncodedSchedule) -> Result<Schedule, ConvertError> {
    let message = v1::Schedule::decode(&*encoded.0).map_err(|_| ConvertError("schedule"))?;
    let zone = |name: String| name.parse::<Zone>().map_err(|_| ConvertError("time zone"));
    let when = |text: String| text.parse::<When>().map_err(|_| ConvertError("date of a freeze"));
    let window = |window: v1::schedule::Window| {
        let duration_ms = Some(window.duration_ms).filter(|ms| (1..=MOST_WINDOW_MS).contains(ms));
        Ok(Window {
            cron: window.cron.parse().map_err(|_| ConvertError("cron expression"))?,
            duration_ms: duration_ms.ok_or(ConvertError("length of a window"))?,
            timezone: zone(window.timezone)?,
        })
    };
    let freeze = |freeze: v1::schedule::Freeze| {
        Ok(Freeze { from: when(freeze.from)?, to: when(freeze.to)?, timezone: zone(freeze.timezone)? })
    };
    Ok(Schedule {
        windows: message.windows.into_iter().map(window).collect::<Result<_, _>>()?,
        freezes: message.freezes.into_iter().map(freeze).collect::<Result<_, _>>()?,
    })
}

/// Why no change may start at a time, Unix milliseconds; `None`: they may.
pub fn closed(encoded: &EncodedSchedule, now_ms: u64) -> Option<Closed> {
    match decode_schedule(encoded) {
        Ok(schedule) => schedule.closed(now_ms),
        Err(error) => Some(Closed::unreadable(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_reads_back_and_what_cannot_be_read_lets_nothing_start() {
        let schedule = Schedule {
            windows: vec![Window {
                cron: "0 1 * * 1-5".parse().expect("valid"),
                duration_ms: 14_400_000,
                timezone: "Europe/Berlin".parse().expect("a zone"),
            }],
            freezes: vec![Freeze {
                from: "2026-11-20".parse().expect("a date"),
                to: "2026-12-01T12:00".parse().expect("a date"),
                timezone: Zone::utc(),
            }],
        };
        let encoded = encode_schedule(&schedule);
        assert_eq!(decode_schedule(&encoded), Ok(schedule));
        let nothing = encode_schedule(&Schedule::default());
        assert!(nothing.is_empty());
        assert_eq!(closed(&nothing, 0), None);
        let of = |cron: &str, duration_ms, timezone: &str| {
            let window = v1::schedule::Window { cron: cron.into(), duration_ms, timezone: timezone.into() };
            let message = v1::Schedule { windows: vec![window], freezes: Vec::new() };
            EncodedSchedule(message.encode_to_vec().into())
        };
        assert_eq!(closed(&of("* * * * *", 60_000, "UTC"), 0), None);
        let wrong = [
            of("* * * *", 60_000, "UTC"),
            of("* * * * *", 0, "UTC"),
            of("* * * * *", u64::MAX, "UTC"),
            of("* * * * *", 60_000, "Mars/Olympus"),
            EncodedSchedule(b"\xff".as_slice().into()),
        ];
        for wrong in wrong {
            let said = closed(&wrong, 0).expect("nothing may start").to_string();
            assert!(said.contains("cannot be read here: the peer sent"), "{said}");
        }
    }
}
