//! Times as people and programs read them: RFC 3339, in UTC, to the second.
//!
//! Owns: the only text form of a time in messages. Does not own: the current time.
//!
//! Invariants: a written time is read back as the same second, and nothing else is read.

/// Returns seconds since 1970 in UTC: 2026-11-24T10:53:18Z (RFC 3339).
pub fn utc(seconds: i64) -> String {
    // From days to a civil date, after Howard Hinnant, "chrono-Compatible Low-Level Date
    // Algorithms".
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns the milliseconds since 1970 of a time that [`utc`] wrote; `None` for any other text.
pub fn from_utc(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, by: char| -> Option<Vec<i64>> {
        text.split(by).map(|part| part.parse().ok()).collect()
    };
    let (date, time) = (numbers(date, '-')?, numbers(time, ':')?);
    let ([year, month, day], [hour, minute, second]) = (date.as_slice(), time.as_slice()) else {
        return None;
    };
    if !(1970..=9999).contains(year) {
        return None;
    }
    // The inverse of `utc`.
    let year_from_march = if *month <= 2 { year - 1 } else { *year };
    let era = year_from_march.div_euclid(400);
    let year_of_era = year_from_march - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    (utc(seconds) == text).then_some(seconds * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_utc() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_517_598), "2026-11-24T10:53:18Z");
        for seconds in [0, 951_782_400, 1_795_517_598, 4_102_444_799] {
            assert_eq!(from_utc(&utc(seconds)), Some(seconds * 1_000));
        }
        for text in ["2026-02-29T00:00:00Z", "2026-11-24T24:00:00Z", "2026-11-24", "now", ""] {
            assert_eq!(from_utc(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = |year: i64, month: i64| match month {
            2 => 28 + i64::from(leap(year)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..160_000 {
            let seconds = days * 86_400 + 45_296;
            let text = format!("{year:04}-{month:02}-{day:02}T12:34:56Z");
            assert_eq!(utc(seconds), text);
            assert_eq!(from_utc(&text), Some(seconds * 1_000));
            day += 1;
            if day > length(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!(year, 2408, "a century that is a leap year, and three that are not");
    }
}
