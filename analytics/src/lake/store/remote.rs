//! A lake in an object store: create-if-absent by a conditional put, whatever the store says of it.
//!
//! What a store answers to a put does not always tell what came of it: a timeout or an error 500 may
//! come after the bytes landed, a 409 although nothing did. The key itself tells: equal bytes there
//! are this very commit, none are put again, others are a lost race.
//!
//! The calls block, also on a thread of another runtime: requests run on a small runtime of their own.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use schemas::killpoint::{self, KillPoint};
use tokio::runtime::Runtime;

use super::connect::{objects, variables};
use super::{Entry, LakeError};
use crate::lake::layout::INTERNAL;
use crate::lake::place::{Cloud, LakeRoot, Place};

/// Threads that speak to the store.
const THREADS: usize = 2;
/// The first pause before a put is tried again; each further one is twice as long.
const PAUSE_MS: u64 = 50;
/// The longest.
const PAUSE_MS_MAX: u64 = 10_000;
/// How long a store that fails is asked again while a lake is being opened: a wrong endpoint or
/// credential is to be told soon.
const OPEN_RETRY_SECS_MAX: u32 = 15;

/// How the names of tests at the opening start.
const SELF_TEST: &str = "selftest-";

/// A lake in an object store.
#[derive(Debug)]
pub(super) struct Remote {
    lake: String,
    cloud: Cloud,
    objects: Arc<dyn ObjectStore>,
    patience: Duration,
    retries: Arc<AtomicU64>,
    runtime: Option<Runtime>,
}

impl Drop for Remote {
    fn drop(&mut self) {
        // A runtime may not be awaited on a thread of another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Remote {
    /// Opens a lake; refuses what is neither one nor empty.
    pub(super) fn open(root: &LakeRoot) -> Result<Self, LakeError> {
        let remote = Self::connect(root)?;
        let names = remote.list("")?;
        if !names.is_empty() && !names.iter().any(|name| name == INTERNAL) {
            return Err(LakeError::NotALake { lake: remote.lake.clone() });
        }
        remote.prove_create()?;
        Ok(remote)
    }

    /// Opens a lake that must be there, to write beside its folds.
    pub(super) fn beside(root: &LakeRoot) -> Result<Self, LakeError> {
        let remote = Self::read(root)?;
        remote.prove_create()?;
        Ok(remote)
    }

    /// Opens a lake that must be there, to read it.
    pub(super) fn read(root: &LakeRoot) -> Result<Self, LakeError> {
        let remote = Self::connect(root)?;
        match remote.list("")?.iter().any(|name| name == INTERNAL) {
            true => Ok(remote),
            false => Err(LakeError::Missing { lake: remote.lake.clone() }),
        }
    }

    fn connect(root: &LakeRoot) -> Result<Self, LakeError> {
        let lake = root.to_string();
        let Place::Bucket { cloud, .. } = root.place() else {
            return Err(LakeError::Missing { lake });
        };
        // Before the runtime: that may not be dropped on a thread of another one.
        let objects = objects(root)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|error| LakeError::Io { path: lake.clone().into(), error })?;
        Ok(Self {
            lake,
            cloud: *cloud,
            objects,
            patience: Duration::from_secs(root.access().retry_secs.into()),
            retries: Arc::default(),
            runtime: Some(runtime),
        })
    }

    /// Puts that were tried again.
    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(super) fn put(&self, key: &str, bytes: &[u8]) -> Result<(), LakeError> {
        killpoint::reach(KillPoint::Put);
        self.put_within(key, bytes, self.patience)?;
        killpoint::reach(KillPoint::Put);
        Ok(())
    }

    fn put_within(&self, key: &str, bytes: &[u8], patience: Duration) -> Result<(), LakeError> {
        let create = Create {
            objects: Arc::clone(&self.objects),
            path: Path::from(key),
            bytes: Bytes::copy_from_slice(bytes),
            patience,
            retries: Arc::clone(&self.retries),
        };
        match self.wait(key, create.run())? {
            Created::Done => Ok(()),
            Created::Differs => Err(LakeError::Differs { key: key.to_owned() }),
            Created::Failed { error, attempts, took } => {
                Err(self.error("put", key, error, attempts, took))
            }
        }
    }

    pub(super) fn put_over(&self, key: &str, bytes: &[u8]) -> Result<(), LakeError> {
        let payload = PutPayload::from(Bytes::copy_from_slice(bytes));
        self.ask("put", key, move |objects, path| async move {
            objects.put(&path, payload).await.map(|_| ())
        })
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, LakeError> {
        let found =
            self.ask(
                "read",
                key,
                |objects, path| async move { present(read(&*objects, &path).await) },
            )?;
        Ok(found.map(Vec::from))
    }

    pub(super) fn get_range(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<Option<Vec<u8>>, LakeError> {
        if range.is_empty() {
            return Ok(self.size(key)?.map(|_| Vec::new()));
        }
        let found = self.ask("read", key, |objects, path| async move {
            present(objects.get_range(&path, range).await)
        })?;
        Ok(found.map(Vec::from))
    }

    pub(super) fn size(&self, key: &str) -> Result<Option<u64>, LakeError> {
        self.ask("look for", key, |objects, path| async move {
            Ok(present(objects.head(&path).await)?.map(|meta| meta.size))
        })
    }

    pub(super) fn list(&self, folder: &str) -> Result<Vec<String>, LakeError> {
        self.ask("list", folder, |objects, path| async move {
            let listed = objects.list_with_delimiter(Some(&path)).await?;
            let folders = listed.common_prefixes.iter();
            let files = listed.objects.iter().map(|object| &object.location);
            let names = folders.chain(files).filter_map(Path::filename);
            let mut names: Vec<String> = names.map(str::to_owned).collect();
            names.sort();
            Ok(names)
        })
    }

    pub(super) fn list_all(&self, prefix: &str) -> Result<Vec<Entry>, LakeError> {
        self.ask("list", prefix, |objects, path| async move {
            let listed = objects.list(Some(&path));
            let entries = listed
                .map_ok(|object| Entry { key: object.location.to_string(), bytes: object.size });
            let mut entries: Vec<Entry> = entries.try_collect().await?;
            entries.sort();
            Ok(entries)
        })
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), LakeError> {
        self.ask("delete", key, |objects, path| async move {
            present(objects.delete(&path).await).map(|_| ())
        })
    }

    /// Tests that a killed process did not clear away.
    pub(super) fn leftovers(&self) -> Result<Vec<String>, LakeError> {
        let names = self.list(INTERNAL)?.into_iter();
        let tests = names.filter(|name| name.starts_with(SELF_TEST));
        Ok(tests.map(|name| format!("{INTERNAL}/{name}")).collect())
    }

    /// Creates a name twice: the second one must fail, or nothing here is safe.
    fn prove_create(&self) -> Result<(), LakeError> {
        let key = format!("{INTERNAL}/{SELF_TEST}{:016x}", nonce());
        let patience = self.patience.min(Duration::from_secs(OPEN_RETRY_SECS_MAX.into()));
        self.put_within(&key, b"first", patience)?;
        let refused = match self.put_within(&key, b"second", patience) {
            Err(LakeError::Differs { .. }) => self.get(&key)?.as_deref() == Some(b"first"),
            Err(other) => return Err(other),
            Ok(()) => false,
        };
        if !refused {
            return Err(LakeError::Unconditional { lake: self.lake.clone() });
        }
        // Who may not delete may commit all the same; `lake verify` tells of what is left.
        if let Err(error) = self.delete(&key) {
            tracing::warn!(key, %error, "the test of the store was not removed");
        }
        Ok(())
    }

    /// Asks what can be asked again without harm; the client does so.
    fn ask<T, F>(
        &self,
        doing: &'static str,
        key: &str,
        question: impl FnOnce(Arc<dyn ObjectStore>, Path) -> F,
    ) -> Result<T, LakeError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let began = Instant::now();
        let answer = self.wait(key, question(Arc::clone(&self.objects), Path::from(key)))?;
        answer.map_err(|error| self.error(doing, key, error, 1, began.elapsed()))
    }

    /// Runs a request on the store's own threads and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        key: &str,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, LakeError> {
        let (sender, receiver) = sync_channel(1);
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                // Nobody waits any more if the caller is gone.
                let _ = sender.send(request.await);
            });
        }
        receiver.recv().map_err(|_| LakeError::Io {
            path: format!("{}/{key}", self.lake).into(),
            error: std::io::Error::other("the request ended without an answer"),
        })
    }

    fn error(
        &self,
        doing: &'static str,
        key: &str,
        error: Error,
        attempts: u32,
        took: Duration,
    ) -> LakeError {
        let (lake, variables) = (self.lake.clone(), variables(self.cloud));
        let key = if key.is_empty() { "its root" } else { key }.to_owned();
        match status(&error) {
            Some(404) => LakeError::NoBucket { lake, error: error.into() },
            Some(401 | 403) => {
                LakeError::Denied { lake, doing, key, variables, error: error.into() }
            }
            _ => LakeError::Unreachable {
                lake,
                doing,
                key,
                attempts,
                secs: took.as_secs(),
                variables,
                error: error.into(),
            },
        }
    }
}

/// One create-if-absent until it is known what came of it.
struct Create {
    objects: Arc<dyn ObjectStore>,
    path: Path,
    bytes: Bytes,
    patience: Duration,
    retries: Arc<AtomicU64>,
}

enum Created {
    /// The bytes are there under the name.
    Done,
    /// Others are.
    Differs,
    /// It is not known, or cannot be.
    Failed { error: Error, attempts: u32, took: Duration },
}

impl Create {
    async fn run(self) -> Created {
        let began = Instant::now();
        let mut pause = Duration::from_millis(PAUSE_MS);
        for attempts in 1.. {
            let options = PutOptions::from(PutMode::Create);
            let payload = PutPayload::from(self.bytes.clone());
            let error = match self.objects.put_opts(&self.path, payload, options).await {
                Ok(_) => return Created::Done,
                Err(error) => error,
            };
            if is_refusal(&error) {
                return Created::Failed { error, attempts, took: began.elapsed() };
            }
            match read(&*self.objects, &self.path).await {
                Ok(there) if there == self.bytes => return Created::Done,
                Ok(_) => return Created::Differs,
                // Absent, or not known either.
                Err(_) => {}
            }
            if began.elapsed() >= self.patience {
                return Created::Failed { error, attempts, took: began.elapsed() };
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
            let key = self.path.as_ref();
            tracing::warn!(key, attempts, %error, "put did not land, trying again");
            tokio::time::sleep(pause.mul_f64(jitter())).await;
            pause = (pause * 2).min(Duration::from_millis(PAUSE_MS_MAX));
        }
        // The numbers do not end.
        Created::Differs
    }
}

/// Whether the store has answered once and for all: nothing landed, and nothing will.
const fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::NotFound { .. }
            | Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::InvalidPath { .. }
            | Error::NotSupported { .. }
            | Error::NotImplemented { .. }
            | Error::UnknownConfigurationKey { .. }
    )
}

/// The status that a request was refused with. Of listings and deletions it stands in the text only.
fn status(error: &Error) -> Option<u16> {
    match error {
        Error::NotFound { .. } => Some(404),
        Error::Unauthenticated { .. } => Some(401),
        Error::PermissionDenied { .. } => Some(403),
        _ => {
            let text = error.to_string();
            let (_, status) = text.split_once("status code: ")?;
            status.get(..3)?.parse().ok()
        }
    }
}

async fn read(objects: &dyn ObjectStore, path: &Path) -> Result<Bytes, Error> {
    objects.get(path).await?.bytes().await
}

/// What is not there is none.
fn present<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(there) => Ok(Some(there)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A number that no other process has: what the standard library seeds its maps with.
fn nonce() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    RandomState::new().build_hasher().finish()
}

/// Between a half and one, so that those who failed together do not come again together.
fn jitter() -> f64 {
    0.5 + f64::from(u8::try_from(nonce() & 0xff).unwrap_or_default()) / 512.0
}
