//! The place of a lake: a URL and how its store is reached in, a folder or a prefix of a bucket out.
//!
//! `./lake`, `/srv/lake`, `file:///srv/lake`, `s3://bucket/prefix`, `az://container/prefix`,
//! `gs://bucket/prefix`. No secret stands in a URL or a setting: credentials come from the usual
//! environment variables or from a file ([`Access`]).

use std::fmt;
use std::path::PathBuf;

use object_store::path::Path;

/// Why a URL or a setting names no place. One variant per remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// A typing error, or a store that is not known.
    #[error(
        "lake url {url:?}: {scheme} is not known, write ./lake, file:///srv/lake, s3://bucket/prefix, \
         az://container/prefix or gs://bucket/prefix"
    )]
    Scheme {
        /// What was asked for.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// A `file:` url that names no local path.
    #[error("lake url {url:?} names no local folder, write file:///srv/lake or a plain path")]
    File {
        /// What was asked for.
        url: String,
    },
    /// No bucket, or more than a bucket and a prefix.
    #[error(
        "lake url {url:?}: {problem}; write {scheme}://NAME/PREFIX, credentials go into the \
         environment or into [lake] credentials_file"
    )]
    Bucket {
        /// What was asked for.
        url: String,
        /// Its scheme.
        scheme: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Whose object store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// S3, of AWS or compatible.
    S3,
    /// Azure Blob.
    Azure,
    /// Google Cloud Storage.
    Gcs,
}

impl Cloud {
    /// The scheme of its URLs.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Azure => "az",
            Self::Gcs => "gs",
        }
    }

    fn of(scheme: &str) -> Option<Self> {
        [Self::S3, Self::Azure, Self::Gcs].into_iter().find(|cloud| cloud.scheme() == scheme)
    }
}

/// Where a lake lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On local disk.
    Folder(PathBuf),
    /// In an object store.
    Bucket {
        /// Whose.
        cloud: Cloud,
        /// Bucket or container.
        bucket: String,
        /// What all keys start with.
        prefix: Path,
    },
}

/// How an object store is reached, beside what the environment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// URL of the service, where it is not the cloud's own.
    pub endpoint: Option<String>,
    /// Region of an S3 bucket.
    pub region: Option<String>,
    /// Speak without TLS.
    pub allow_http: bool,
    /// A file of `NAME=value` lines, named as in the environment, for secrets.
    pub credentials_file: Option<PathBuf>,
    /// A request that is not answered after this time is given up, and made again.
    pub request_timeout_secs: u32,
    /// How long a store that fails is asked again.
    pub retry_secs: u32,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            allow_http: false,
            credentials_file: None,
            request_timeout_secs: 120,
            retry_secs: 300,
        }
    }
}

/// The root of a lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeRoot {
    url: String,
    place: Place,
    access: Access,
}

impl LakeRoot {
    /// Reads a URL; its store is reached as the environment says.
    ///
    /// # Errors
    /// [`PlaceError`] for what names no place.
    pub fn parse(url: &str) -> Result<Self, PlaceError> {
        let place = match url.split_once("://") {
            None => Place::Folder(PathBuf::from(url)),
            Some(("file", rest)) => Place::Folder(folder_of(url, rest)?),
            Some((scheme, rest)) => match Cloud::of(scheme) {
                Some(cloud) => bucket_of(url, cloud, rest)?,
                None => {
                    let (url, scheme) = (url.to_owned(), scheme.to_owned());
                    return Err(PlaceError::Scheme { url, scheme });
                }
            },
        };
        Ok(Self { url: url.to_owned(), place, access: Access::default() })
    }

    /// A folder.
    #[must_use]
    pub fn at(folder: PathBuf) -> Self {
        let url = folder.display().to_string();
        Self { url, place: Place::Folder(folder), access: Access::default() }
    }

    /// The same place, reached as settings say.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Where it lies.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How its store is reached.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The folder of a lake on local disk.
    #[must_use]
    pub fn folder(&self) -> Option<&std::path::Path> {
        match &self.place {
            Place::Folder(folder) => Some(folder),
            Place::Bucket { .. } => None,
        }
    }
}

impl fmt::Display for LakeRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Folder(folder) => folder.display().fmt(f),
            Place::Bucket { .. } => self.url.trim_end_matches('/').fmt(f),
        }
    }
}

fn folder_of(url: &str, rest: &str) -> Result<PathBuf, PlaceError> {
    match Path::from_url_path(rest) {
        Ok(path) if rest.starts_with('/') => Ok(PathBuf::from(format!("/{path}"))),
        _ => Err(PlaceError::File { url: url.to_owned() }),
    }
}

fn bucket_of(url: &str, cloud: Cloud, rest: &str) -> Result<Place, PlaceError> {
    let wrong = |problem| PlaceError::Bucket {
        // What stands before an @ may be a secret.
        url: url.rsplit_once('@').map_or(url, |(_, rest)| rest).to_owned(),
        scheme: cloud.scheme().to_owned(),
        problem,
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(wrong("no bucket is named"));
    }
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.$".contains(letter);
    if !bucket.chars().all(is_plain) {
        return Err(wrong("the name of the bucket holds what no such name can"));
    }
    let prefix = Path::parse(prefix).map_err(|_| wrong("the prefix cannot be one"))?;
    Ok(Place::Bucket { cloud, bucket: bucket.to_owned(), prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_folder_or_a_bucket_with_a_prefix() {
        let folder = |url: &str| LakeRoot::parse(url).unwrap().folder().unwrap().to_owned();
        assert_eq!(folder("./lake"), PathBuf::from("./lake"));
        assert_eq!(folder("file:///a%20b/c"), PathBuf::from("/a b/c"));
        let bucket = |url: &str| match LakeRoot::parse(url).unwrap().place {
            Place::Bucket { cloud, bucket, prefix } => (cloud, bucket, prefix.to_string()),
            Place::Folder(folder) => panic!("{folder:?}"),
        };
        assert_eq!(bucket("s3://b/x/y/"), (Cloud::S3, "b".to_owned(), "x/y".to_owned()));
        assert_eq!(bucket("az://c"), (Cloud::Azure, "c".to_owned(), String::new()));
        assert_eq!(bucket("gs://b.example/x"), (Cloud::Gcs, "b.example".to_owned(), "x".into()));
    }

    #[test]
    fn what_names_no_place_is_refused_with_a_remedy() {
        let refused = |url: &str| LakeRoot::parse(url).unwrap_err().to_string();
        assert!(refused("s4://b/x").contains("s3://bucket/prefix"));
        assert!(refused("file://host/x").contains("file:///srv/lake"));
        assert!(refused("s3:///x").contains("no bucket is named"));
        assert!(refused("s3://b/x//y").contains("prefix"));
        assert!(refused("az://a b/x").contains("az://NAME/PREFIX"));
        let secret = refused("s3://key:hunter2@b/x");
        assert!(secret.contains("environment") && !secret.contains("hunter2"), "{secret}");
    }
}
