//! Ticks against tables, and against a second cron that goes minute by minute.

use proptest::prelude::*;

use super::*;

mod vixie;

fn schedule(expression: &str, zone: &str) -> Schedule {
    Schedule::new(expression.to_owned().try_into().unwrap(), zone.to_owned().try_into().unwrap())
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn ticks(schedule: &Schedule, from: &str, until: &str) -> Vec<String> {
    let all = std::iter::successors(schedule.after(at(from)), |tick| schedule.after(*tick));
    all.take_while(|tick| *tick < at(until)).map(|tick| tick.format("%dT%H:%M").to_string()).collect()
}

#[test]
fn there_are_only_the_zones_of_the_iana() {
    let zone = |name: &str| TimeZone::try_from(name.to_owned());
    for name in ["Europe/Atlantis", "Etc/Unknown", "", "CEST", "+02:00"] {
        let refusal = zone(name).unwrap_err().to_string();
        assert!(refusal.contains("IANA's database 20"), "{name}: {refusal}");
    }
    for name in ["UTC", "Etc/UTC", "Europe/Berlin", "Europe/Kyiv", "Asia/Calcutta", "EST5EDT"] {
        assert_eq!(zone(name).unwrap().to_string(), name);
    }
}

#[test]
fn the_data_of_the_zones_is_old_when_its_year_is_more_than_a_year_ago() {
    assert!(TimeZone::release() >= "2026f");
    for (now, old) in [("2026-01-01T00:00:00Z", false), ("2027-12-31T23:59:59Z", false), ("2028-01-01T00:00:00Z", true)]
    {
        assert_eq!(TimeZone::is_old("2026f", at(now)), old, "{now}");
    }
}

#[test]
fn weekdays_are_those_of_crontab() {
    // 2026-11-25 is a Wednesday.
    for (day, date) in
        [("0", 29), ("1", 30), ("3", 25), ("6", 28), ("7", 29), ("SUN", 29), ("1-5", 25), ("5-7", 27), ("sat-sun", 28)]
    {
        let tick = schedule(&format!("0 12 * * {day}"), "UTC").after(at("2026-11-25T00:00:00Z")).unwrap();
        assert_eq!(tick, at(&format!("2026-11-{date}T12:00:00Z")), "{day}");
    }
}

/// The day of the month and of the week are "or", unless one of them begins with a star: then "and".
#[test]
fn days_are_those_of_crontab() {
    for (expression, days) in [
        // 2026-11: the 1st is a Sunday. Neither begins with a star.
        ("0 12 26 * 5", vec![6, 13, 20, 26, 27]),
        ("0 12 1-7 * 0", vec![1, 2, 3, 4, 5, 6, 7, 8, 15, 22, 29]),
        ("0 12 1-31 * 1", (1..=30).collect()),
        ("0 12 13 * 0-6/2", vec![1, 3, 5, 7, 8, 10, 12, 13, 14, 15, 17, 19, 21, 22, 24, 26, 28, 29]),
        ("0 12 1,*/15 * 1", vec![1, 2, 9, 16, 23, 30]),
        // One is a star.
        ("0 12 * * 1", vec![2, 9, 16, 23, 30]),
        ("0 12 13 * *", vec![13]),
        // One begins with a star.
        ("0 12 */2 * 1", vec![9, 23]),
        ("0 12 */2 * mon", vec![9, 23]),
        ("0 12 */10 * 1-5", vec![11]),
        ("0 12 1-7 * */7", vec![1]),
        ("0 12 8-14 * */2", vec![8, 10, 12, 14]),
        ("0 12 15 * */7", vec![15]),
        ("0 12 16 * */7", vec![]),
        ("0 12 *,13 * 1", vec![2, 9, 16, 23, 30]),
        ("0 12 */16,15 * 2", vec![17]),
        // Both do.
        ("0 12 */5 * */3", vec![1, 11, 21]),
    ] {
        let (from, until) = ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z");
        let expected: Vec<_> = days.iter().map(|day| format!("{day:02}T12:00")).collect();
        assert_eq!(ticks(&schedule(expression, "UTC"), from, until), expected, "{expression}");
    }
    for (expression, tick) in [("0 12 */2 * 1", "2026-12-07T11:00:00Z"), ("0 9 1-7 * */7", "2026-12-06T08:00:00Z")] {
        let next = schedule(expression, "Europe/Berlin").after(at("2026-11-28T12:00:00Z"));
        assert_eq!(next, Some(at(tick)), "{expression}");
    }
}

#[test]
fn seconds_may_come_first() {
    let next = |expression: &str, from: &str| schedule(expression, "UTC").after(at(from)).unwrap();
    assert_eq!(next("*/2 * * * * *", "2026-11-25T00:00:00.7Z"), at("2026-11-25T00:00:02Z"));
    assert_eq!(next("30 59 23 31 12 *", "2026-12-31T23:59:30Z"), at("2027-12-31T23:59:30Z"));
}

#[test]
fn what_is_rare_is_found() {
    let next = |expression: &str, from: &str| schedule(expression, "Europe/Berlin").after(at(from));
    assert_eq!(next("0 0 29 2 *", "2096-03-01T00:00:00Z"), Some(at("2104-02-28T23:00:00Z")));
    assert_eq!(next("0 0 29 2 */7", "2026-11-28T00:00:00Z"), Some(at("2032-02-28T23:00:00Z")));
}

/// Ticks of one day about a change of the clocks, as their times in UTC.
#[test]
fn fixed_times_run_once_and_what_repeats_goes_by_the_time_that_passes() {
    for (zone, expression, from, until, expected) in [
        // Berlin: 2026-03-29 02:00 becomes 03:00 at 01:00 UTC.
        ("Europe/Berlin", "30 2 * * *", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", vec!["29T01:00"]),
        ("Europe/Berlin", "0 2 * * *", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", vec!["29T01:00"]),
        ("Europe/Berlin", "0,30 2 * * *", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", vec!["29T01:00"]),
        (
            "Europe/Berlin",
            "30 1,2,3 * * *",
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z",
            vec!["29T00:30", "29T01:00", "29T01:30"],
        ),
        (
            "Europe/Berlin",
            "15 1-3 * * *",
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z",
            vec!["29T00:15", "29T01:00", "29T01:15"],
        ),
        ("Europe/Berlin", "0 2,3 * * *", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", vec!["29T01:00"]),
        ("Europe/Berlin", "*/30 2 * * *", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", vec![]),
        (
            "Europe/Berlin",
            "30 */2 * * *",
            "2026-03-28T23:00:00Z",
            "2026-03-29T06:00:00Z",
            vec!["28T23:30", "29T02:30", "29T04:30"],
        ),
        ("Europe/Berlin", "*/10 30 2 * * *", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", vec!["29T01:00"]),
        ("Europe/Berlin", "30 2 29 3 *", "2026-03-28T23:00:00Z", "2026-03-30T22:00:00Z", vec!["29T01:00"]),
        ("Europe/Berlin", "30 2 * * 1", "2026-03-28T23:00:00Z", "2026-03-30T22:00:00Z", vec!["30T00:30"]),
        // Berlin: 2026-10-25 03:00 becomes 02:00 at 01:00 UTC.
        ("Europe/Berlin", "30 2 * * *", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", vec!["25T00:30"]),
        ("Europe/Berlin", "0,30 2 * * *", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", vec!["25T00:00", "25T00:30"]),
        (
            "Europe/Berlin",
            "0 1,2,3 * * *",
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
            vec!["24T23:00", "25T00:00", "25T02:00"],
        ),
        (
            "Europe/Berlin",
            "*/30 2 * * *",
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
            vec!["25T00:00", "25T00:30", "25T01:00", "25T01:30"],
        ),
        (
            "Europe/Berlin",
            "0 */2 * * *",
            "2026-10-24T22:00:00Z",
            "2026-10-25T04:00:00Z",
            vec!["25T00:00", "25T01:00", "25T03:00"],
        ),
        // New York: 2026-03-08 02:00 becomes 03:00 at 07:00 UTC; 2026-11-01 02:00 becomes 01:00 at 06:00 UTC.
        ("America/New_York", "5,35 2 * * 0", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z", vec!["08T07:00"]),
        (
            "America/New_York",
            "5,35 1 * * *",
            "2026-11-01T04:00:00Z",
            "2026-11-02T05:00:00Z",
            vec!["01T05:05", "01T05:35"],
        ),
        // Lord Howe: 2026-10-04 02:00 becomes 02:30 at 15:30 UTC; 2026-04-05 02:00 becomes 01:30 at 15:00 UTC.
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z", vec!["03T15:30"]),
        (
            "Australia/Lord_Howe",
            "15,45 2 * * *",
            "2026-10-03T13:30:00Z",
            "2026-10-04T13:00:00Z",
            vec!["03T15:30", "03T15:45"],
        ),
        (
            "Australia/Lord_Howe",
            "15,45 1 * * *",
            "2026-04-04T13:00:00Z",
            "2026-04-05T13:30:00Z",
            vec!["04T14:15", "04T14:45"],
        ),
        (
            "Australia/Lord_Howe",
            "15,45 * * * *",
            "2026-04-04T14:00:00Z",
            "2026-04-04T16:30:00Z",
            vec!["04T14:15", "04T14:45", "04T15:15", "04T15:45", "04T16:15"],
        ),
        // Casablanca: back for Ramadan, 2026-02-15 03:00 becomes 02:00 at 02:00 UTC, and on 2026-03-22 02:00 becomes 03:00.
        ("Africa/Casablanca", "30 2 * * *", "2026-02-15T00:00:00Z", "2026-02-16T00:00:00Z", vec!["15T01:30"]),
        ("Africa/Casablanca", "30 2 * * *", "2026-03-22T00:00:00Z", "2026-03-23T00:00:00Z", vec!["22T02:00"]),
        // São Paulo: 2018-11-04 00:00 becomes 01:00 at 03:00 UTC; 2018-02-18 00:00 becomes 23:00 of the day before at 02:00 UTC.
        (
            "America/Sao_Paulo",
            "0 0 * * *",
            "2018-11-03T12:00:00Z",
            "2018-11-05T12:00:00Z",
            vec!["04T03:00", "05T02:00"],
        ),
        (
            "America/Sao_Paulo",
            "0 0 * * *",
            "2018-02-17T12:00:00Z",
            "2018-02-19T12:00:00Z",
            vec!["18T03:00", "19T03:00"],
        ),
        (
            "America/Sao_Paulo",
            "30 23 * * *",
            "2018-02-17T12:00:00Z",
            "2018-02-19T12:00:00Z",
            vec!["18T01:30", "19T02:30"],
        ),
        ("America/Sao_Paulo", "@daily", "2018-11-03T12:00:00Z", "2018-11-05T12:00:00Z", vec!["04T03:00", "05T02:00"]),
        // Beirut: 2026-03-29 00:00 becomes 01:00 at 22:00 UTC of the day before; 2026-10-25 00:00 becomes 23:00.
        ("Asia/Beirut", "0 0 * * 0", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", vec!["28T22:00"]),
        ("Asia/Beirut", "@weekly", "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z", vec!["24T22:00"]),
        // Apia had no 2011-12-30; Casey went three hours forwards on 2009-10-18 and back on 2010-03-05: corrections, the second none.
        (
            "Pacific/Apia",
            "0 12 * * *",
            "2011-12-29T10:00:00Z",
            "2012-01-01T10:00:00Z",
            vec!["29T22:00", "30T22:00", "31T22:00"],
        ),
        ("Pacific/Apia", "0 12 30 12 *", "2011-12-29T10:00:00Z", "2012-01-01T10:00:00Z", vec![]),
        ("Pacific/Apia", "0 0 31 12 *", "2011-12-29T10:00:00Z", "2012-01-01T10:00:00Z", vec!["30T10:00"]),
        ("Antarctica/Casey", "0 3 * * *", "2009-10-17T17:00:00Z", "2009-10-18T12:00:00Z", vec![]),
        ("Antarctica/Casey", "30 0 * * *", "2010-03-04T12:00:00Z", "2010-03-05T12:00:00Z", vec!["04T13:30"]),
    ] {
        assert_eq!(ticks(&schedule(expression, zone), from, until), expected, "{expression} in {zone} from {from}");
    }
    let hours = |from: &str, until: &str| ticks(&schedule("@hourly", "Europe/Berlin"), from, until).len();
    assert_eq!(hours("2026-03-28T22:30:00Z", "2026-03-29T22:00:00Z"), 23);
    assert_eq!(hours("2026-10-24T21:30:00Z", "2026-10-25T23:00:00Z"), 25);
}

#[test]
fn one_tick_that_came_is_scheduled_and_more_are_caught_up_by_one_run() {
    let every_five = schedule("*/5 * * * *", "UTC");
    let next = at("2026-11-25T12:00:00Z");
    assert_eq!(due(&every_five, next, at("2026-11-25T11:59:59.999Z")), None);
    let now = due(&every_five, next, at("2026-11-25T12:00:00Z")).unwrap();
    assert_eq!(
        (now.tick, now.kind, now.missed, now.next),
        (next, RunKind::Scheduled, 0, Some(at("2026-11-25T12:05:00Z")))
    );
    let late = due(&every_five, next, at("2026-11-25T12:02:00Z")).unwrap();
    assert_eq!((late.tick, late.kind, late.missed), (next, RunKind::CaughtUp, 0));
    let missed = due(&every_five, next, at("2026-11-25T13:02:00Z")).unwrap();
    assert_eq!((missed.tick, missed.kind, missed.missed), (at("2026-11-25T13:00:00Z"), RunKind::CaughtUp, 12));
    assert_eq!((missed.missed_from, missed.next), (Some(next), Some(at("2026-11-25T13:05:00Z"))));
}

#[test]
fn a_next_tick_that_a_clock_ahead_has_written_is_put_right() {
    let hourly = schedule("@hourly", "UTC");
    let (now, comes) = (at("2026-11-28T12:30:00Z"), at("2026-11-28T13:00:00Z"));
    let put_right = |next: &str, last: Option<&str>| first_without_run(&hourly, at(next), last.map(at), now);
    for last in [None, Some("2026-11-28T09:00:00Z")] {
        for plausible in ["2026-11-28T10:00:00Z", "2026-11-28T12:00:00Z", "2026-11-28T13:00:00Z"] {
            assert_eq!(put_right(plausible, last), at(plausible));
        }
    }
    let ahead = "2026-11-29T14:00:00Z";
    assert_eq!(put_right(ahead, None), comes, "what was run is not known");
    assert_eq!(put_right(ahead, Some("2026-11-28T12:00:00Z")), comes);
    assert_eq!(put_right(ahead, Some("2026-11-28T10:00:00Z")), at("2026-11-28T11:00:00Z"), "no tick is lost");
}

/// Zones with the days about a change of their clocks, and one day of each without.
const CHANGES: [(&str, &str); 22] = [
    ("UTC", "2026-03-29"),
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("Europe/Berlin", "2026-07-01"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("America/St_Johns", "2026-03-08"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Africa/Casablanca", "2026-02-15"),
    ("Africa/Casablanca", "2026-03-22"),
    ("America/Sao_Paulo", "2018-02-18"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("Asia/Beirut", "2026-03-29"),
    ("Asia/Beirut", "2026-10-25"),
    ("Asia/Kathmandu", "2026-10-25"),
    ("Pacific/Apia", "2011-12-30"),
    ("Pacific/Kiritimati", "1994-12-31"),
    ("Antarctica/Casey", "2009-10-18"),
    ("Antarctica/Casey", "2010-03-05"),
    ("Antarctica/Troll", "2026-03-29"),
    ("Antarctica/Troll", "2026-10-25"),
];

/// A field of crontab: stars, ranges, steps and lists of them.
fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
    let range = (low..=high, low..=high).prop_map(|(one, other)| format!("{}-{}", one.min(other), one.max(other)));
    let element = prop_oneof![
        (low..=high).prop_map(|value| value.to_string()),
        range.clone(),
        (range, 1..=high + 1).prop_map(|(range, step)| format!("{range}/{step}")),
        Just("*".to_owned()),
        (1..=high + 1).prop_map(|step| format!("*/{step}")),
    ];
    prop_oneof![
        2 => Just("*".to_owned()),
        3 => (low..=high).prop_map(|value| value.to_string()),
        3 => prop::collection::vec(element, 1..4).prop_map(|elements| elements.join(",")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    // Hours about the changes come often.
    let hours = prop_oneof![field(0, 23), field(0, 4), Just("2".to_owned()), Just("23".to_owned())];
    let months = prop_oneof![5 => Just("*".to_owned()), 1 => field(1, 12)];
    (field(0, 59), hours, field(1, 31), months, field(0, 7))
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// The second cron starts the entry in the minutes that are the schedule's ticks; ticks rise, and the last of them is found too.
    #[test]
    fn ticks_are_those_of_vixie_cron((zone, day) in prop::sample::select(&CHANGES[..]), expression in expression()) {
        let middle = at(&format!("{day}T00:00:00Z"));
        let (from, until) = (middle - TimeDelta::days(2), middle + TimeDelta::days(3));
        // What never comes is refused.
        let Ok(readable) = Expression::try_from(expression.clone()) else { return Ok(()) };
        let schedule = Schedule::new(readable, zone.to_owned().try_into().unwrap());
        let all = std::iter::successors(schedule.after(from), |tick| schedule.after(*tick));
        let ticks: Vec<_> = all.take_while(|tick| *tick < until).collect();
        prop_assert!(ticks.is_sorted_by(|one, next| one < next), "{} in {}", expression, zone);
        if let (Some(first), Some(last)) = (ticks.first(), ticks.last()) {
            prop_assert_eq!(schedule.latest(*first, until - SECOND), Some(*last));
        }
        prop_assert_eq!(ticks, vixie::minutes(&expression, zone, from, until), "{} in {}", expression, zone);
    }

    /// However the looks fall, before and after changes of the clocks too: the runs' ticks and the missed ones together are
    /// the schedule's ticks, each once.
    #[test]
    fn every_tick_is_run_or_counted_once(
        expression in prop_oneof![expression(), Just("*/20 * * * * *".to_owned())],
        (zone, day) in prop::sample::select(&CHANGES[..]),
        steps in prop::collection::vec(1_i64..60_000, 1..12),
    ) {
        let Ok(readable) = Expression::try_from(expression.clone()) else { return Ok(()) };
        let schedule = Schedule::new(readable, zone.to_owned().try_into().unwrap());
        let start = at(&format!("{day}T00:00:00Z")) - TimeDelta::days(1);
        let first = schedule.after(start).unwrap();
        let (mut now, mut next, mut told) = (start, first, 0);
        for step in steps {
            now += TimeDelta::milliseconds(step * 997);
            let Some(due) = due(&schedule, next, now) else { continue };
            prop_assert!(due.tick >= next && due.tick <= now);
            next = due.next.unwrap();
            prop_assert!(next > now);
            told += due.missed + 1;
        }
        let came = std::iter::successors(Some(first), |tick| schedule.after(*tick)).take_while(|tick| *tick < next);
        prop_assert_eq!(told, i32::try_from(came.count()).unwrap());
    }
}
