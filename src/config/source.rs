//! `[source.*]`: what is known of files by their names.

use serde::{Deserialize, Serialize};

/// `[source.NAME]`: a rule for files.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// Name of the files without folders; `*` stands for any text.
    pub files: String,
    /// Collector that wrote them; two files of one collector share its peers.
    #[serde(default)]
    pub collector: Option<String>,
}

impl FileSource {
    /// Whether a file's name fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        fits(&self.files, name)
    }

    /// What is wrong with the rule, if anything.
    ///
    /// # Errors
    /// The problem in words.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.files.is_empty() {
            Err("files is empty; give a name such as \"rrc00.*\"")
        } else if self.files.contains('/') {
            Err("files is a name without folders, such as \"rrc00.*\"")
        } else {
            Ok(())
        }
    }
}

/// Whether a name fits a pattern in which `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    tail.is_empty()
        || rest.char_indices().any(|(at, _)| rest.get(at..).is_some_and(|rest| fits(tail, rest)))
        || fits(tail, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(fits("rrc00.*.gz", "rrc00.updates.gz") && fits("*", "x") && fits("a", "a"));
        assert!(!fits("rrc00.*.gz", "rrc01.updates.gz") && !fits("a*b", "ac") && !fits("a", "ab"));
    }
}
