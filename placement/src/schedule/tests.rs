//! Windows, freezes and cron expressions as rows.

use super::*;

fn ms(text: &str) -> u64 {
    let time: Timestamp = text.parse().expect("a time");
    u64::try_from(time.as_millisecond()).expect("after 1970")
}

fn zone(name: &str) -> Zone {
    name.parse().expect("a zone")
}

fn window(cron: &str, hours: u64, timezone: &str) -> Window {
    Window { cron: cron.parse().expect("valid"), duration_ms: hours * 3_600_000, timezone: zone(timezone) }
}

fn freeze(from: &str, to: &str, timezone: &str) -> Freeze {
    Freeze { from: from.parse().expect("valid"), to: to.parse().expect("valid"), timezone: zone(timezone) }
}

#[test]
fn beginnings_are_those_of_crontab() {
    // (expression, after, the next three)
    let rows = [
        ("0 1 * * *", "2026-11-29T00:30", ["2026-11-29T01:00", "2026-11-30T01:00", "2026-12-01T01:00"]),
        ("0 1 * * *", "2026-11-29T01:00", ["2026-11-30T01:00", "2026-12-01T01:00", "2026-12-02T01:00"]),
        ("*/20 9-10 * * *", "2026-11-29T09:50", ["2026-11-29T10:00", "2026-11-29T10:20", "2026-11-29T10:40"]),
        ("5/20 0 * * *", "2026-11-29T00:10", ["2026-11-29T00:25", "2026-11-29T00:45", "2026-11-30T00:05"]),
        ("0 22 * * 1-5", "2026-11-27T23:00", ["2026-11-30T22:00", "2026-12-01T22:00", "2026-12-02T22:00"]),
        (
            "0 22 * * MON,fri",
            "2026-11-27T23:00",
            ["2026-11-30T22:00", "2026-12-04T22:00", "2026-12-07T22:00"],
        ),
        ("0 0 * * 7", "2026-11-29T00:00", ["2026-12-06T00:00", "2026-12-13T00:00", "2026-12-20T00:00"]),
        ("0 0 29 FEB *", "2026-11-29T00:00", ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"]),
        ("0 0 31 * *", "2026-11-29T00:00", ["2026-12-31T00:00", "2027-01-31T00:00", "2027-03-31T00:00"]),
        // Without a star either day suffices; with one, both are asked.
        ("0 0 1 * 2", "2026-11-29T00:00", ["2026-12-01T00:00", "2026-12-08T00:00", "2026-12-15T00:00"]),
        ("0 0 */2 * 2", "2026-11-29T00:00", ["2026-12-01T00:00", "2026-12-15T00:00", "2026-12-29T00:00"]),
        ("@monthly", "2026-11-29T00:00", ["2026-12-01T00:00", "2027-01-01T00:00", "2027-02-01T00:00"]),
    ];
    for (expression, after, expected) in rows {
        let cron: Cron = expression.parse().expect(expression);
        let mut at: Timestamp = format!("{after}:00Z").parse().expect("a time");
        for expected in expected {
            at = cron.next(at, &TimeZone::UTC).expect("it comes");
            assert_eq!(at.to_string(), format!("{expected}:00Z"), "{expression}");
            assert_eq!(cron.last(at, Timestamp::UNIX_EPOCH, &TimeZone::UTC), Some(at), "{expression}");
        }
    }
}

#[test]
fn what_is_no_cron_expression_says_which_field() {
    let rows = [
        ("", "has five fields"),
        ("0 1 * *", "has five fields"),
        ("0 0 1 * * *", "has five fields"),
        ("@reboot", "has five fields"),
        ("60 * * * *", "\"60\" is no minute of a cron expression: write *, a number from 0 to 59"),
        ("* 24 * * *", "\"24\" is no hour"),
        ("* * 0 * *", "\"0\" is no day of month"),
        ("* * * 13 *", "\"13\" is no month"),
        (
            "* * * * 8",
            "\"8\" is no day of week of a cron expression: write *, a number from 0 to 7 or SUN to SAT, a range a-b from low to high",
        ),
        ("* * * MON *", "\"MON\" is no month"),
        ("5-1 * * * *", "\"5-1\" is no minute"),
        ("*/0 * * * *", "\"*/0\" is no minute"),
        ("1,,2 * * * *", "\"1,,2\" is no minute"),
        ("+1 * * * *", "\"+1\" is no minute"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6 *", "never comes"),
    ];
    for (text, expected) in rows {
        let error = text.parse::<Cron>().expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_window_is_open_by_the_clock_of_its_zone_also_when_that_is_set() {
    let berlin =
        |cron, hours| Schedule { windows: vec![window(cron, hours, "Europe/Berlin")], freezes: vec![] };
    // (windows, time, None: open; or when it opens)
    let rows = [
        // Winter: UTC+1.
        (berlin("0 1 * * *", 4), "2026-11-29T23:59:59Z", Some("2026-11-30 01:00 Europe/Berlin")),
        (berlin("0 1 * * *", 4), "2026-11-30T00:00:00Z", None),
        (berlin("0 1 * * *", 4), "2026-11-30T03:59:59Z", None),
        (berlin("0 1 * * *", 4), "2026-11-30T04:00:00Z", Some("2026-12-01 01:00 Europe/Berlin")),
        // Summer: UTC+2.
        (berlin("0 1 * * *", 4), "2026-07-01T22:30:00Z", Some("2026-07-02 01:00 Europe/Berlin")),
        (berlin("0 1 * * *", 4), "2026-07-01T23:00:00Z", None),
        // 02:30 does not exist on 29 March 2026: the window begins an hour later, and is as long as ever.
        (berlin("30 2 * * *", 1), "2026-03-29T01:29:00Z", Some("2026-03-29 03:30 Europe/Berlin")),
        (berlin("30 2 * * *", 1), "2026-03-29T01:30:00Z", None),
        (berlin("30 2 * * *", 1), "2026-03-29T02:30:00Z", Some("2026-03-30 02:30 Europe/Berlin")),
        // 02:30 comes twice on 25 October 2026: the first counts.
        (berlin("30 2 * * *", 1), "2026-10-25T00:30:00Z", None),
        (berlin("30 2 * * *", 1), "2026-10-25T01:30:00Z", Some("2026-10-26 02:30 Europe/Berlin")),
        // What begins every hour begins in both.
        (berlin("0 * * * *", 1), "2026-10-25T00:30:00Z", None),
        (berlin("0 * * * *", 1), "2026-10-25T01:30:00Z", None),
        (berlin("0 * * * *", 1), "2026-03-29T01:30:00Z", None),
        // One that lasts over midnight, and one over days.
        (berlin("0 22 * * 5", 5), "2026-11-28T01:59:00Z", None),
        (berlin("0 22 * * 5", 60), "2026-11-29T20:00:00Z", None),
        (berlin("0 22 * * 5", 5), "2026-11-28T02:00:00Z", Some("2026-12-04 22:00 Europe/Berlin")),
    ];
    for (schedule, at, expected) in rows {
        let closed = schedule.closed(ms(at));
        let expected = expected.map(|opens| format!("no window is open; the next opens at {opens}"));
        assert_eq!(closed.map(|closed| closed.to_string()), expected, "{at} {schedule:?}");
    }
}

#[test]
fn a_freeze_is_of_whole_days_and_stands_above_windows() {
    let schedule = Schedule {
        windows: vec![window("0 1 * * *", 4, "Europe/Berlin"), window("0 12 * * 6", 1, "UTC")],
        freezes: vec![
            freeze("2026-11-20", "2026-12-01", "Europe/Berlin"),
            freeze("2026-12-02T00:30", "2026-12-02T03:00", "Europe/Berlin"),
        ],
    };
    let rows = [
        ("2026-11-19T22:59:00Z", Some("no window is open; the next opens at 2026-12-02 03:00 Europe/Berlin")),
        (
            "2026-11-19T23:00:00Z",
            Some("changes are frozen; they may start at 2026-12-02 03:00 Europe/Berlin"),
        ),
        (
            "2026-12-01T22:59:00Z",
            Some("changes are frozen; they may start at 2026-12-02 03:00 Europe/Berlin"),
        ),
        ("2026-12-02T02:00:00Z", None),
        ("2026-12-02T03:59:00Z", None),
        ("2026-12-02T04:00:00Z", Some("no window is open; the next opens at 2026-12-03 01:00 Europe/Berlin")),
        ("2026-12-05T11:00:00Z", Some("no window is open; the next opens at 2026-12-05 12:00 UTC")),
        ("2026-12-05T12:00:00Z", None),
    ];
    for (at, expected) in rows {
        let closed = schedule.closed(ms(at));
        if let Some(until) = closed.as_ref().and_then(|closed| closed.until_ms) {
            assert_eq!(schedule.closed(until), None, "{at}");
            assert!(schedule.closed(until - 1).is_some(), "{at}");
        }
        assert_eq!(closed.map(|closed| closed.to_string()).as_deref(), expected, "{at}");
    }
    let none = Schedule::default();
    assert_eq!((none.is_empty(), none.closed(ms("2026-11-20T00:00:00Z"))), (true, None));
    let days = Schedule { freezes: vec![freeze("2026-11-20", "2026-11-20", "UTC")], windows: vec![] };
    assert!(days.closed(ms("2026-11-20T23:59:59Z")).is_some());
    assert_eq!(days.closed(ms("2026-11-21T00:00:00Z")), None);
    let forever = Schedule { freezes: vec![freeze("2026-11-20", "9999-12-31", "UTC")], windows: vec![] };
    let said = forever.closed(ms("2026-11-21T00:00:00Z")).expect("frozen").to_string();
    assert_eq!(said, "changes are frozen, and no time is to be seen at which they may start");
}

#[test]
fn a_set_that_cannot_be_read_lets_nothing_start_and_one_that_nobody_has_anything() {
    let text = "---\napiVersion: nave.dev/v1alpha1\nkind: ClusterSet\nmetadata: {name: broken}\nspec: {freeze: [{from: 2026-12-10, to: 2026-11-01}]}\n\
                ---\napiVersion: nave.dev/v1alpha1\nkind: ClusterSet\nmetadata: {name: night}\nspec: {windows: [{cron: 0 1 * * *, duration: 4h}, {cron: 0 1 * * *, duration: 4h, timezone: UTC}]}\n\
                ---\napiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {name: own}\nspec: {set: night, timezone: Asia/Tokyo}\n";
    let catalog =
        crate::catalog::tests::assembled("1", &[("a.yaml", text)], &crate::catalog::LastGood::new());
    assert_eq!(catalog.problems.len(), 1, "{:?}", catalog.problems);
    let of = |name: &str, set: Option<&str>| {
        let name = ClusterName::new(name).expect("a name");
        (name, Candidate { set: set.map(str::to_owned), ..Candidate::default() })
    };
    let fleet: Fleet = [
        of("own", Some("night")),
        of("utc", Some("night")),
        of("stopped", Some("broken")),
        of("lost", Some("nobody")),
        of("free", None),
    ]
    .into();
    let said: Vec<String> =
        schedules(&catalog, &fleet).iter().map(|(name, schedule)| format!("{name}: {schedule}")).collect();
    assert_eq!(
        said,
        [
            "own: 0 1 * * * for 4h (Asia/Tokyo), 0 1 * * * for 4h (UTC)",
            "stopped: frozen from 1970-01-01 to 9999-12-31 (UTC)",
            "utc: 0 1 * * * for 4h (UTC), 0 1 * * * for 4h (UTC)",
        ]
    );
    let stopped = &schedules(&catalog, &fleet)[&ClusterName::new("stopped").expect("a name")];
    assert!(stopped.closed(ms("2026-11-29T00:00:00Z")).is_some());
}

#[test]
fn dates_and_zones_are_read_strictly() {
    for text in ["2026-11-20", "2026-11-20T18:00:00", "2026-11-20T18:00:30"] {
        assert_eq!(text.parse::<When>().expect(text).to_string(), text);
    }
    for text in [
        "",
        "2026-11-31",
        "20.11.2026",
        "20261120",
        "2026-11-20T18",
        "2026-11-20T24:00",
        "2026-11-20T18:00Z",
        "2026-11-20 18:00",
        "2026-11-20T18:00+01:00",
    ] {
        assert!(text.parse::<When>().is_err(), "{text}");
    }
    assert!("2026-11-20".parse::<When>().expect("valid").is_before("2026-11-20".parse().expect("valid")));
    assert!(
        !"2026-11-20T10:00"
            .parse::<When>()
            .expect("valid")
            .is_before("2026-11-20T10:00".parse().expect("valid"))
    );
    assert_eq!(zone("europe/berlin").as_str(), "Europe/Berlin");
    for name in ["", "Europe", "Europe/Belin", "/etc/localtime", "../UTC"] {
        assert!(name.parse::<Zone>().is_err(), "{name}");
    }
}

#[test]
fn a_schedule_keeps_its_form() {
    let schedule = Schedule {
        windows: vec![window("0 1 * * *", 4, "Europe/Berlin")],
        freezes: vec![freeze("2026-11-20", "2026-12-01T12:00", "UTC")],
    };
    let json = serde_json::to_string(&schedule).expect("it serializes");
    assert_eq!(
        json,
        r#"{"windows":[{"cron":"0 1 * * *","durationMs":14400000,"timezone":"Europe/Berlin"}],"freezes":[{"from":"2026-11-20","to":"2026-12-01T12:00:00","timezone":"UTC"}]}"#
    );
    assert_eq!(serde_json::from_str::<Schedule>(&json).expect("its own form"), schedule);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 2048, failure_persistence: None, ..Default::default() })]
    #[test]
    fn whatever_is_written_and_whenever_it_is_asked_what_is_said_is_true(
        texts in proptest::collection::vec("[0-9*/,JANSUmon@-]{1,5}( [0-9*/,-]{1,4}){4}|[0-9]{1,2} [0-9]{1,2} \\* \\* [0-7]|.{0,12}", 0..4),
        minutes in 0_u64..20_000,
        frozen in proptest::bool::ANY,
        now in proptest::prop_oneof![0..2_000_000_000_000_u64, proptest::num::u64::ANY, 253_402_200_000_000..253_402_300_900_000_u64],
        zone_name in proptest::sample::select(vec!["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York"]),
    ) {
        let windows = texts.iter().filter_map(|text| {
            Some(Window { cron: text.parse().ok()?, duration_ms: minutes * 60_000, timezone: zone(zone_name) })
        });
        let freezes = if frozen { vec![freeze("2026-11-20", "2026-12-01", zone_name)] } else { Vec::new() };
        let schedule = Schedule { windows: windows.collect(), freezes };
        if let Some(closed) = schedule.closed(now) {
            // Where an end is told, it is one, and none comes before it.
            if let Some(until) = closed.until_ms {
                proptest::prop_assert!(until > now);
                proptest::prop_assert_eq!(schedule.closed(until), None);
                proptest::prop_assert!(schedule.closed(until - 1).is_some());
            }
            proptest::prop_assert!(!closed.to_string().is_empty());
        }
    }
}
