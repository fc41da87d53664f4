//! `--learn`: an exception for a finding, written into the configuration.
//!
//! It is appended: nothing that stands in the file is touched, neither its comments nor its order. The
//! file is replaced only by a text that was read and checked as a whole.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use schemas::bgp::{Asn, Prefix};
use schemas::exception::{Accusation, Exception, Until};
use schemas::finding::Rule;
use schemas::time::Timestamp;

use crate::command::Global;
use crate::config::{Config, DEFAULT_FILE};

/// What is learned of a finding.
#[derive(Clone, Debug)]
pub(super) struct Lesson {
    pub(super) id: String,
    pub(super) rule: Rule,
    pub(super) connection: Option<String>,
    pub(super) prefix: Option<Prefix>,
    pub(super) culprit: Option<Asn>,
    pub(super) opened_at: Timestamp,
    pub(super) until: Option<Until>,
    pub(super) note: Option<String>,
}

/// A configuration with a lesson in it, checked, not yet written.
pub(super) struct Learned {
    path: PathBuf,
    /// The whole text; none: it has such an exception already.
    text: Option<String>,
    /// What was added.
    pub(super) lines: String,
}

impl Learned {
    /// Reads the configuration, appends the lesson and checks the whole.
    ///
    /// # Errors
    /// A configuration that cannot be read, or that nothing can be appended to.
    pub(super) fn prepare(lesson: &Lesson, global: &Global) -> anyhow::Result<Self> {
        let path = global.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        // A link stays a link.
        let path = fs::canonicalize(&path).map_err(|error| {
            anyhow::anyhow!("{}: {error}; --learn writes there", path.display())
        })?;
        let before = fs::read_to_string(&path)?;
        let config = Config::parse(&before, &path)?;
        let lines = lesson.lines();
        if config.detect.exception.iter().any(|exception| lesson.is_covered_by(exception)) {
            return Ok(Self { path, text: None, lines: String::new() });
        }
        let text = appended(&before, &lines);
        let covers = Config::parse(&text, &path).is_ok_and(|config| {
            config.detect.exception.iter().any(|exception| lesson.is_covered_by(exception))
        });
        anyhow::ensure!(
            covers,
            "{} cannot be added to at its end; write this into it yourself:\n{lines}",
            path.display()
        );
        Ok(Self { path, text: Some(text), lines })
    }

    /// Whether there is something to write.
    pub(super) fn is_news(&self) -> bool {
        self.text.is_some()
    }

    /// Where it is written.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file at once.
    ///
    /// # Errors
    /// What the system says; then the file is as it was.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        let Some(text) = &self.text else { return Ok(()) };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(fs::metadata(&self.path)?.permissions())?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }
}

/// A text with lines behind it, an empty one between.
fn appended(before: &str, lines: &str) -> String {
    let end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let between = if before.is_empty() { "" } else { "\n" };
    format!("{before}{end}{between}{lines}")
}

impl Lesson {
    fn is_covered_by(&self, exception: &Exception) -> bool {
        exception.covers(&Accusation {
            rule: self.rule,
            connection: self.connection.as_deref(),
            prefix: self.prefix.as_ref(),
            culprit: self.culprit,
            time: self.opened_at,
        })
    }

    /// The lesson as TOML.
    fn lines(&self) -> String {
        let reason = match &self.note {
            Some(note) => note.clone(),
            None => format!("finding {} was a false positive", self.id),
        };
        let text = |value: &str| toml::Value::from(value).to_string();
        let mut lines = format!("[[detect.exception]] # finding {}\n", self.id);
        let mut line = |key: &str, value: String| lines.push_str(&format!("{key} = {value}\n"));
        line("rule", text(self.rule.as_str()));
        if let Some(connection) = &self.connection {
            line("connection", text(connection));
        }
        if let Some(prefix) = self.prefix {
            line("prefix", text(&prefix.to_string()));
        }
        if let Some(culprit) = self.culprit {
            line("culprit_asn", culprit.0.to_string());
        }
        if let Some(until) = &self.until {
            line("until", text(&until.to_string()));
        }
        line("reason", text(&reason));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson() -> Lesson {
        Lesson {
            id: "00ff".to_owned(),
            rule: Rule::HijackExact,
            connection: Some("contoso".to_owned()),
            prefix: "203.0.113.0/24".parse().ok(),
            culprit: Some(Asn(64_511)),
            opened_at: Timestamp::from_secs(1),
            until: Until::read("2026-12-31").ok(),
            note: Some("a \"friend\" of ours".to_owned()),
        }
    }

    fn learned(text: &str) -> anyhow::Result<(Learned, PathBuf, tempfile::TempDir)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        fs::write(&path, text).unwrap();
        let global = Global {
            config: Some(path.clone()),
            lake: None,
            verbose: 0,
            log_format: Default::default(),
            color: Default::default(),
        };
        Ok((Learned::prepare(&lesson(), &global)?, path, folder))
    }

    #[test]
    fn what_stands_in_the_file_stays_to_the_byte() {
        for before in ["", "# mine\n[detect] # keep\nscore_min = 2.0", "[lake]\nurl = \"l\"\n\n"] {
            let (learned, path, _folder) = learned(before).unwrap();
            assert!(learned.is_news());
            assert_eq!(fs::read_to_string(&path).unwrap(), before, "nothing is written yet");
            learned.write().unwrap();
            let after = fs::read_to_string(&path).unwrap();
            assert!(after.starts_with(before) && after.ends_with(&learned.lines), "{after}");
            let config = Config::parse(&after, &path).unwrap();
            assert_eq!(config.detect.exception.len(), 1);
            assert_eq!(config.detect.exception[0].reason, "a \"friend\" of ours");
        }
    }

    #[test]
    fn what_is_covered_already_is_no_news_and_what_cannot_be_extended_is_said() {
        let (again, ..) = learned("[[detect.exception]]\nculprit_asn = 64511\n").unwrap();
        assert!(!again.is_news());
        let refused = learned("detect = { score_min = 2.0 }\n").err().unwrap().to_string();
        assert!(refused.contains("write this into it yourself"), "{refused}");
        assert!(refused.contains("[[detect.exception]]"), "{refused}");
    }
}
