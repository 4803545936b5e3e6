//! The Functions app: `host.json`, a timer for each feed with a schedule, and the function that takes deliveries.
//!
//! A feed's cron has five fields and its own zone; a timer's has six, seconds first, and the app's one zone. Invariant: a
//! timer comes at the times that its feed's calendar has, but where clocks are set; a pattern that cannot be said so is
//! left to the platform's own schedule, in words.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use serde_json::{Value, json};
use vitalake_contract::feed::FeedTrigger;
use vitalake_contract::project::feeds::FeedFile;

use super::Rendered;

/// Where the functions lie in a deployment.
pub(super) const FOLDER: &str = "project/functions";
/// The function that takes deliveries.
pub(crate) const DELIVER: &str = "deliver";
/// What the function of a feed begins with: a feed may be called as the other one is.
const FEED: &str = "feed_";
/// How long a run may take; the platform answers when what came has been delivered.
const RUN_MINUTES_MAX: &str = "00:10:00";

/// The feed that a function runs; none of one that is no feed's.
#[must_use]
pub fn feed_of_function(function: &str) -> Option<&str> {
    function.strip_prefix(FEED).filter(|feed| !feed.is_empty())
}

/// The files of the app, and what was left out of it.
pub(super) fn render(feeds: &[FeedFile]) -> (Vec<Rendered>, Vec<String>) {
    let scheduled: Vec<(&str, &str, Tz)> = feeds
        .iter()
        .filter_map(|file| match &file.feed.trigger {
            FeedTrigger::Schedule { calendar, .. } => {
                Some((file.feed.name.as_str(), calendar.pattern(), calendar.zone()))
            }
            FeedTrigger::Arrival => None,
        })
        .collect();
    let zone = zone_of_most(&scheduled);
    let mut left_out = Vec::new();
    let mut files = vec![
        file("host.json", &host()),
        file(&format!("{DELIVER}/function.json"), &delivery()),
        Rendered { path: "project/settings.json".to_owned(), text: pretty(&json!({"timeZone": zone.name()})) },
    ];
    for (feed, pattern, its_zone) in scheduled {
        if its_zone != zone {
            left_out.push(format!(
                "feed {feed} runs in {its_zone}, and the timers of one app have one zone, {zone}: the platform runs it alone"
            ));
            continue;
        }
        match six_fields(pattern) {
            Ok(schedule) => files.push(file(&format!("{FEED}{feed}/function.json"), &timer(&schedule))),
            Err(why) => {
                left_out.push(format!("feed {feed}: a timer cannot say {pattern:?}: {why}; the platform runs it alone"))
            }
        }
    }
    (files, left_out)
}

/// The zone of most feeds, the first by name among equals.
fn zone_of_most(scheduled: &[(&str, &str, Tz)]) -> Tz {
    let mut zones: BTreeMap<&str, (usize, Tz)> = BTreeMap::new();
    for (_, _, zone) in scheduled {
        zones.entry(zone.name()).or_insert((0, *zone)).0 += 1;
    }
    let most = zones.values().map(|(count, _)| *count).max().unwrap_or(0);
    zones.values().find(|(count, _)| *count == most).map_or(Tz::UTC, |(_, zone)| *zone)
}

fn file(name: &str, value: &Value) -> Rendered {
    Rendered { path: format!("{FOLDER}/{name}"), text: pretty(value) }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).map(|text| text + "\n").unwrap_or_default()
}

fn host() -> Value {
    json!({
        "version": "2.0",
        "functionTimeout": RUN_MINUTES_MAX,
        "logging": {"applicationInsights": {"samplingSettings": {"isEnabled": true, "excludedTypes": "Request"}}},
        "extensions": {"http": {"routePrefix": "api", "maxConcurrentRequests": 8}},
        "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"},
        "customHandler": {
            "description": {"defaultExecutablePath": "vitalake", "arguments": ["functions"]},
            "enableProxyingHttpRequest": false
        }
    })
}

fn timer(schedule: &str) -> Value {
    json!({"bindings": [
        {"name": "timer", "type": "timerTrigger", "direction": "in", "schedule": schedule, "runOnStartup": false, "useMonitor": true}
    ]})
}

fn delivery() -> Value {
    json!({"bindings": [
        {"name": "req", "type": "httpTrigger", "direction": "in", "authLevel": "function", "methods": ["post"], "route": "deliver/{dataset}"},
        {"name": "res", "type": "http", "direction": "out"}
    ]})
}

/// A cron pattern as the six fields of a timer.
fn six_fields(pattern: &str) -> Result<String, String> {
    let pattern = match pattern.trim() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        other => other,
    };
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    let &[minute, hour, day, month, weekday] = fields.as_slice() else {
        return Err("it has not five fields".to_owned());
    };
    if let Some(strange) = pattern.chars().find(|c| !(c.is_ascii_alphanumeric() || " *,-/".contains(*c))) {
        return Err(format!("it has a {strange:?}"));
    }
    let weekday = weekdays(weekday)?;
    if day != "*" && weekday != "*" {
        // Cron runs on either; a timer on days that are both.
        return Err("it names days of the month and of the week".to_owned());
    }
    if [minute, hour, day].iter().any(|field| field.chars().any(|c| c.is_ascii_alphabetic())) {
        return Err("it has a letter in a field of numbers".to_owned());
    }
    Ok(format!("0 {minute} {hour} {day} {month} {weekday}"))
}

/// Days of the week as numbers from 0, Sunday: a timer knows no 7.
fn weekdays(field: &str) -> Result<String, String> {
    const NAMES: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    let number = |text: &str| -> Result<usize, String> {
        let by_name = NAMES.iter().position(|name| name.eq_ignore_ascii_case(text));
        by_name
            .or_else(|| text.parse().ok().filter(|day| *day <= 7))
            .ok_or_else(|| format!("{text:?} is no day of the week"))
    };
    let mut days = [false; 7];
    for part in field.split(',') {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let step = step.parse::<usize>().ok().filter(|step| *step > 0).ok_or("a step is a number above 0")?;
        let (first, last) = match (range, range.split_once('-')) {
            ("*", _) => (0, 6),
            (_, Some((first, last))) => (number(first)?, number(last)?),
            (one, None) if part.contains('/') => (number(one)?, 6),
            (one, None) => (number(one)?, number(one)?),
        };
        if first > last {
            return Err("its days of the week go backwards".to_owned());
        }
        (first..=last).step_by(step).for_each(|day| {
            if let Some(is_meant) = days.get_mut(day % 7) {
                *is_meant = true;
            }
        });
    }
    if days.iter().all(|is_meant| *is_meant) {
        return Ok("*".to_owned());
    }
    let meant = days.iter().enumerate().filter(|(_, is_meant)| **is_meant).map(|(day, _)| day.to_string());
    Ok(meant.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("30 2 * * *", "0 30 2 * * *")]
    #[case("@daily", "0 0 0 * * *")]
    #[case("*/15 6-20 * * 1-5", "0 */15 6-20 * * 1,2,3,4,5")]
    #[case("0 4 * * 7", "0 0 4 * * 0")]
    #[case("0 4 * * 5-7", "0 0 4 * * 0,5,6")]
    #[case("0 4 * * mon,WED", "0 0 4 * * 1,3")]
    #[case("0 4 * * 0-6", "0 0 4 * * *")]
    #[case("0 4 * * */2", "0 0 4 * * 0,2,4,6")]
    #[case("0 4 1,15 JAN-MAR *", "0 0 4 1,15 JAN-MAR *")]
    fn what_a_timer_can_say(#[case] cron: &str, #[case] timer: &str) {
        assert_eq!(six_fields(cron).as_deref(), Ok(timer));
    }

    #[rstest]
    #[case::either_day("0 4 1 * 1")]
    #[case::last_day("0 4 L * *")]
    #[case::second_monday("0 4 * * 1#2")]
    #[case::nearest_weekday("0 4 15W * *")]
    #[case::question("0 4 ? * 1")]
    #[case::seconds("0 0 4 * * *")]
    fn what_it_cannot(#[case] cron: &str) {
        assert!(six_fields(cron).is_err());
    }

    #[test]
    fn the_zone_is_that_of_most_feeds() {
        let (berlin, utc) = (Tz::Europe__Berlin, Tz::UTC);
        assert_eq!(zone_of_most(&[("a", "", utc), ("b", "", berlin), ("c", "", berlin)]), berlin);
        assert_eq!(zone_of_most(&[]), utc);
        assert_eq!(zone_of_most(&[("a", "", utc), ("b", "", berlin)]), berlin);
    }

    #[test]
    fn a_function_knows_its_feed() {
        assert_eq!(feed_of_function("feed_deliver"), Some("deliver"));
        assert_eq!(feed_of_function("deliver"), None);
        assert_eq!(feed_of_function("feed_"), None);
    }
}
