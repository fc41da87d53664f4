//! Configuration errors: what, where, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use schemas::registry::RegistryError;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Unlike names further apart than this are no typing error.
const NEAR_MIN: f64 = 0.6;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{path}: {error}{hint}", path = path.display(), hint = if *is_default {
        "; name a configuration with --config or PEERSCOPE_CONFIG"
    } else {
        ""
    })]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
        /// Whether nobody named it.
        is_default: bool,
    },
    /// Something in it is wrong.
    #[error("{place}: {problem}")]
    Wrong {
        /// File, line and column.
        place: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl ConfigError {
    /// An error of the TOML or of a value in it.
    pub(super) fn syntax(text: &str, path: &Path, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start);
        let problem = unknown_key(error.message()).unwrap_or_else(|| error.message().to_owned());
        Self::Wrong { place: place(text, path, at), problem }
    }

    /// An error of a `[source.*]`.
    pub(super) fn source(text: &str, path: &Path, name: &str, problem: &str) -> Self {
        let at = Places::of(text).and_then(|places| places.source(name)).unwrap_or(0);
        Self::Wrong { place: place(text, path, at), problem: problem.to_owned() }
    }

    /// Registrations that contradict each other: both places are named.
    pub(super) fn registry(text: &str, path: &Path, error: &RegistryError) -> Self {
        let places = Places::of(text);
        let at = |find: &dyn Fn(&Places<'_>) -> Option<usize>| {
            place(text, path, places.as_ref().and_then(find).unwrap_or(0))
        };
        let (first, second) = match error {
            RegistryError::NameTwice { first, second, .. } => (
                Some(at(&|p| p.key("connection", *first, "name"))),
                at(&|p| p.key("connection", *second, "name")),
            ),
            RegistryError::OwnedTwice { first, second, .. } => {
                (Some(at(&|p| p.prefix(*first))), at(&|p| p.prefix(*second)))
            }
            RegistryError::WatchedTwice { first, second, .. } => (
                Some(at(&|p| p.key("asn", *first, "number"))),
                at(&|p| p.key("asn", *second, "number")),
            ),
            RegistryError::MaxLength { at: place, .. } => (None, at(&|p| p.prefix(*place))),
        };
        let problem = match first {
            Some(first) => format!("{error} (first at {first})"),
            None => error.to_string(),
        };
        Self::Wrong { place: second, problem }
    }
}

/// Where the values of a document stand.
struct Places<'t> {
    root: Spanned<DeTable<'t>>,
}

impl<'t> Places<'t> {
    fn of(text: &'t str) -> Option<Self> {
        DeTable::parse(text).ok().map(|root| Self { root })
    }

    fn entry(&self, list: &str, index: usize) -> Option<&DeTable<'t>> {
        self.root.get_ref().get(list)?.get_ref().as_array()?.get(index)?.get_ref().as_table()
    }

    fn key(&self, list: &str, index: usize, key: &str) -> Option<usize> {
        self.entry(list, index)?.get(key).map(|value| value.span().start)
    }

    fn prefix(&self, (connection, prefix): (usize, usize)) -> Option<usize> {
        let prefixes = self.entry("connection", connection)?.get("prefixes")?;
        Some(prefixes.get_ref().as_array()?.get(prefix)?.span().start)
    }

    fn source(&self, name: &str) -> Option<usize> {
        let sources: &DeValue<'t> = self.root.get_ref().get("source")?.get_ref();
        sources.as_table()?.get(name).map(|value| value.span().start)
    }
}

/// `FILE:LINE:COLUMN`, both counted from 1, columns in characters.
fn place(text: &str, path: &Path, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{}:{line}:{column}", path.display())
}

/// Turns serde's word on an unknown field into one with the nearest known key.
fn unknown_key(message: &str) -> Option<String> {
    let quoted: Vec<&str> =
        message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2).collect();
    let (unknown, known) = quoted.split_first()?;
    let nearest = known
        .iter()
        .map(|key| (strsim::jaro_winkler(unknown, key), key))
        .filter(|(likeness, _)| *likeness >= NEAR_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    Some(match nearest {
        Some((_, key)) => format!("unknown key `{unknown}`, did you mean `{key}`?"),
        None => format!("unknown key `{unknown}`, known here: {}", known.join(", ")),
    })
}
