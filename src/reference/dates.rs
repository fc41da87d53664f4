//! Dates in names of files: `20180101.as-rel.txt.bz2`, `vrps-2026-03-04T1200Z.json.gz`.

use schemas::time::Timestamp;

/// The first date in a name, with a time of day behind it where there is one; none if there is none.
pub(super) fn date_of(name: &str) -> Option<Timestamp> {
    let bytes = name.as_bytes();
    (0..bytes.len()).find_map(|at| {
        let is_begun =
            at.checked_sub(1).and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        let (digits, rest) = day(name.get(at..)?)?;
        let follows = rest.bytes().next().is_some_and(|next| next.is_ascii_digit());
        let is_alone = !is_begun && (!follows || clock(rest).is_some());
        is_alone.then(|| time(&digits, clock(rest).unwrap_or_default())).flatten()
    })
}

/// Eight digits, or the same with `-` or `_` between them; what stands behind.
fn day(text: &str) -> Option<(String, &str)> {
    for (shape, length) in [("yyyymmdd", 8), ("yyyy-mm-dd", 10), ("yyyy_mm_dd", 10)] {
        let (head, rest) = text.split_at_checked(length)?;
        let fits = head.bytes().zip(shape.bytes()).all(|(found, wanted)| match wanted {
            b'-' | b'_' => found == wanted,
            _ => found.is_ascii_digit(),
        });
        if fits {
            return Some((head.chars().filter(char::is_ascii_digit).collect(), rest));
        }
    }
    None
}

/// Hours, minutes and seconds behind a date: `T120000Z`, `-1200`, `.1200`, `1200`.
fn clock(rest: &str) -> Option<[i64; 3]> {
    let rest = rest.trim_start_matches(['T', 't', '-', '_', '.']);
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let part = |at: usize| digits.get(at..at + 2).and_then(|two| two.parse().ok());
    match digits.len() {
        4 => Some([part(0)?, part(2)?, 0]),
        6 => Some([part(0)?, part(2)?, part(4)?]),
        _ => None,
    }
}

fn time(digits: &str, [hours, minutes, seconds]: [i64; 3]) -> Option<Timestamp> {
    let (year, rest) = digits.split_at_checked(4)?;
    let (month, day) = rest.split_at_checked(2)?;
    let is_clock = hours < 24 && minutes < 60 && seconds < 60;
    let day: Timestamp = format!("{year}-{month}-{day}T00:00:00Z").parse().ok()?;
    (is_clock && ("1990".."2100").contains(&year))
        .then(|| day.plus_secs(hours * 3_600 + minutes * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_found_where_people_put_them() {
        for (name, wanted) in [
            ("20180101.as-rel.txt.bz2", "2018-01-01T00:00:00Z"),
            ("vrps-2026-03-04.json", "2026-03-04T00:00:00Z"),
            ("rpki_2026_03_04.csv.gz", "2026-03-04T00:00:00Z"),
            ("rpki-20260304T101530Z.json", "2026-03-04T10:15:30Z"),
            ("vrps.20260304.1015.csv", "2026-03-04T10:15:00Z"),
            ("vrps-202603041015.csv", "2026-03-04T10:15:00Z"),
            ("as65551-20260304.csv", "2026-03-04T00:00:00Z"),
        ] {
            let wanted = wanted.parse().ok();
            assert_eq!(date_of(name), wanted, "{name}");
        }
    }

    #[test]
    fn numbers_that_are_no_dates_are_none() {
        for name in ["vrps.json", "20261301.csv", "20260230.csv", "120260304.csv", "18000101", "é"]
        {
            assert_eq!(date_of(name), None, "{name}");
        }
        assert_eq!(date_of("20260304-9999.csv"), None, "no such time of day");
    }
}
