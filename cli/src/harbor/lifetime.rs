//! How long a robot's login lasts. Harbor counts its days from the robot's creation, and works its end out anew only
//! when their number changes.

use accel_domain::Timestamp;
use serde_json::Value;

/// A lifetime without an end.
const FOREVER: i64 = -1;
/// For a new robot, unless another lifetime is named.
const DAYS: i64 = 365;
/// A robot that expires within so many days is warned of.
const SOON_DAYS: i64 = 14;
const DAY_SECONDS: i64 = 24 * 3600;

/// The days of a new robot, in Harbor's words.
pub(super) fn of_new(days: Option<u32>) -> i64 {
    named(days).unwrap_or(DAYS)
}

/// Days that were named, in Harbor's words; 0 is forever.
pub(super) fn named(days: Option<u32>) -> Option<i64> {
    days.map(|days| if days == 0 { FOREVER } else { i64::from(days) })
}

/// Gives a robot another lifetime, and the end that Harbor will work out of it.
pub(super) fn change(robot: &mut Value, days: i64) {
    robot["duration"] = days.into();
    robot["expires_at"] = match created(robot) {
        _ if days == FOREVER => FOREVER.into(),
        Some(created) => (created + days * DAY_SECONDS).into(),
        None => Value::Null,
    };
}

/// When a robot, or what creating one was answered with, expires. `None` is never, or not known.
pub(super) fn expires(robot: &Value) -> Option<Timestamp> {
    let seconds = robot["expires_at"].as_i64().filter(|seconds| *seconds > 0)?;
    Timestamp::from_second(seconds).ok()
}

/// [`expires`] as a date.
pub(super) fn last_day(robot: &Value) -> Option<String> {
    expires(robot).map(|end| end.strftime("%Y-%m-%d").to_string())
}

/// What is to be said of a robot whose login ends soon, or has ended.
pub(super) fn warning(robot: &Value, now: Timestamp) -> Option<String> {
    let left = expires(robot)?.as_second() - now.as_second();
    if left >= SOON_DAYS * DAY_SECONDS {
        return None;
    }
    let ends = if left <= 0 { "has ended" } else { "ends" };
    let days = created(robot).map_or("DAYS".to_owned(), |created| {
        let age = (now.as_second() - created).max(0) / DAY_SECONDS;
        (age + DAYS).to_string()
    });
    let day = last_day(robot)?;
    Some(format!("the robot's login {ends} on {day}: --robot-days {days}, counted from its creation, gives it longer"))
}

fn created(robot: &Value) -> Option<i64> {
    robot["creation_time"].as_str()?.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_robot_that_ends_soon_is_warned_of() {
        let rows = [
            ("2026-03-01T00:00:00Z", Some("has ended on 2026-01-31: --robot-days 424")),
            ("2026-01-31T00:00:00Z", Some("has ended on 2026-01-31: --robot-days 395")),
            ("2026-01-30T00:00:00Z", Some("ends on 2026-01-31: --robot-days 394")),
            ("2026-01-17T00:00:00Z", None),
        ];
        let mut robot =
            json!({"creation_time": "2026-01-01T00:00:00.000Z", "expires_at": at("2026-01-31T00:00:00Z").as_second()});
        for (now, told) in rows {
            let warning = warning(&robot, at(now));
            assert_eq!(warning.is_some(), told.is_some(), "{now}");
            assert!(told.is_none_or(|told| warning.as_ref().unwrap().contains(told)), "{warning:?}");
        }
        robot["creation_time"] = Value::Null;
        assert!(warning(&robot, at("2026-03-01T00:00:00Z")).unwrap().contains("--robot-days DAYS"));
        robot["expires_at"] = FOREVER.into();
        assert_eq!(warning(&robot, at("2026-03-01T00:00:00Z")), None);
    }

    #[test]
    fn the_end_is_counted_from_the_creation() {
        let created = json!({"creation_time": "2026-01-01T00:00:00.000Z", "duration": -1, "expires_at": -1});
        let rows = [(30, Some("2026-01-31")), (365, Some("2027-01-01")), (FOREVER, None)];
        for (days, expected) in rows {
            let mut robot = created.clone();
            change(&mut robot, days);
            assert_eq!((last_day(&robot).as_deref(), &robot["duration"]), (expected, &json!(days)));
        }
        let mut unknown = json!({"expires_at": 1});
        change(&mut unknown, 30);
        assert_eq!(expires(&unknown), None);
    }
}
