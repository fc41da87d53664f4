//! `[lake]`: where rows go, and how an object store is reached.

use std::collections::BTreeMap;
use std::path::PathBuf;

use analytics::lake::LakeRoot;
use analytics::lake::place::{Access, PlaceError};
use schemas::tables;
use serde::Deserialize;

use super::DEFAULT_LAKE;

/// The keys for the reference page: key, type, default, meaning.
pub(super) const KEYS: &str = r#"
url | text | `./lake` | folder of the lake, or `file:///...`, `s3://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`, `gs://BUCKET/PREFIX`
commit_secs | number | 60 | a running service closes its files after this long; findings have a file of their own each second that has some
snapshot_secs | number | 300 | a running service keeps the state of its folds after this long: where the next start begins
endpoint | URL | the cloud's own | service of the object store: MinIO, Azurite, a private endpoint
region | text | `us-east-1` | region of an S3 bucket
allow_http | true, false | false | speak to the object store without TLS, where nobody can listen
credentials_file | file | none | lines `NAME=value` with the store's credentials, named like the environment variables, which they outweigh; see [the guide](../guide/lake.md)
request_timeout_secs | number | 120 | a request to the object store that is not answered after this time is made again
retry_secs | number | 300 | how long an object store that fails, or a disk that is full, is tried again before the service stops
compact_after_hours | number | 24 | `lake compact` leaves a day alone until so long after its end
"#;

/// The keys of `[lake.retention]`.
pub(super) const RETENTION_KEYS: &str = r#"
TABLE | number of days | for ever | `lake purge` removes files all of whose rows are older, counted back from the newest day in the lake; the newest file of each chain stays
"#;

/// `[lake]`: where rows go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    /// Folder of the lake, or `file:///...`, `s3://...`, `az://...`, `gs://...`.
    pub url: String,
    /// A running service closes its files after this long.
    pub commit_secs: u32,
    /// A running service keeps the state of its folds after this long.
    pub snapshot_secs: u32,
    /// URL of the object store's service, where it is not the cloud's own.
    pub endpoint: Option<String>,
    /// Region of an S3 bucket.
    pub region: Option<String>,
    /// Speak to the object store without TLS.
    pub allow_http: bool,
    /// File of `NAME=value` lines with the credentials of the object store.
    pub credentials_file: Option<PathBuf>,
    /// A request to the object store that is not answered after this time is made again.
    pub request_timeout_secs: u32,
    /// How long an object store that fails, or a full disk, is tried again before the service stops.
    pub retry_secs: u32,
    /// `lake compact` leaves a day alone until this long after its end.
    pub compact_after_hours: u32,
    /// Days for which `lake purge` keeps the rows of a table; without an entry for ever.
    pub retention: BTreeMap<String, u32>,
}

impl Default for LakeConfig {
    fn default() -> Self {
        let Access {
            endpoint,
            region,
            allow_http,
            credentials_file,
            request_timeout_secs,
            retry_secs,
        } = Access::default();
        Self {
            url: DEFAULT_LAKE.to_owned(),
            commit_secs: 60,
            snapshot_secs: 300,
            endpoint,
            region,
            allow_http,
            credentials_file,
            request_timeout_secs,
            retry_secs,
            compact_after_hours: 24,
            retention: BTreeMap::new(),
        }
    }
}

impl LakeConfig {
    /// The lake that is named, else the configured one, reached as configured.
    ///
    /// # Errors
    /// [`PlaceError`] for a URL that names no place.
    pub fn root(&self, named: Option<&str>) -> Result<LakeRoot, PlaceError> {
        let access = Access {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            allow_http: self.allow_http,
            credentials_file: self.credentials_file.clone(),
            request_timeout_secs: self.request_timeout_secs,
            retry_secs: self.retry_secs,
        };
        Ok(LakeRoot::parse(named.unwrap_or(&self.url))?.with_access(access))
    }

    /// What is wrong with the values, if anything.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.request_timeout_secs == 0 {
            return Err("request_timeout_secs is at least 1".to_owned());
        }
        for (name, days) in &self.retention {
            if tables::by_name(name).is_none() {
                let names: Vec<_> = tables::ALL.iter().map(|table| table.name).collect();
                return Err(format!(
                    "[lake.retention] {name} is no table; there are {}",
                    names.join(", ")
                ));
            }
            if *days == 0 {
                return Err(format!("[lake.retention] {name} is at least 1 day"));
            }
        }
        self.root(None).map(|_| ()).map_err(|error| error.to_string())
    }
}
