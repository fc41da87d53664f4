//! Names with stars: `*` stands for any text.

/// Whether a name fits a pattern.
#[must_use]
pub fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let head = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(head) else { return false };
    let mut middle: Vec<&str> = parts.collect();
    let Some(tail) = middle.pop() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let fitting = [
            ("rrc00.*.gz", "rrc00.updates.gz"),
            ("*", "x"),
            ("*", ""),
            ("a", "a"),
            ("a**b", "ab"),
            ("*ab*ab", "abab"),
            ("routeviews.*.bmp_raw", "routeviews.amsix.ams.61955.bmp_raw"),
        ];
        for (pattern, name) in fitting {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        let strange = [
            ("rrc00.*.gz", "rrc01.updates.gz"),
            ("a*b", "ac"),
            ("a", "ab"),
            ("ab*ab", "ab"),
            ("", "a"),
        ];
        for (pattern, name) in strange {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
