//! The files of a lake as DataFusion sees them: the store of the lake in, one that lists only the
//! files that count out ([`crate::lake::cover`]), so that a query is exact at every instant of a
//! compaction. Nothing is written through it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::DataFusionError;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::lake::catalog::{LISTINGS_MAX, has_all};
use crate::lake::cover::cover;
use crate::lake::layout::{FileName, parts};

/// A lake's store with the files that count.
#[derive(Debug)]
pub(super) struct Live(pub(super) Arc<dyn ObjectStore>);

impl fmt::Display for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({})", self.0)
    }
}

/// Drops the files that a compacted one stands for. What has no name of ours is left as it is.
fn live(files: Vec<ObjectMeta>) -> Vec<ObjectMeta> {
    let mut others = Vec::new();
    let mut tables: std::collections::BTreeMap<String, Vec<(FileName, ObjectMeta)>> =
        std::collections::BTreeMap::new();
    for file in files {
        let named = parts(file.location.as_ref())
            .and_then(|(table, _, name)| Some((table.to_owned(), FileName::parse(name)?)));
        match named {
            Some((table, name)) => tables.entry(table).or_default().push((name, file)),
            None => others.push(file),
        }
    }
    let live = tables.into_values().flat_map(|files| cover(files).live);
    let mut files: Vec<ObjectMeta> = live.map(|(_, file)| file).chain(others).collect();
    files.sort_by(|left, right| left.location.cmp(&right.location));
    files
}

/// Lists files at one instant.
///
/// A listing takes its time: it may pass by the place of a compacted file before that is put, and by
/// those of its inputs after they are deleted, and see neither. Then the listing before it has seen
/// the inputs. So one is believed if nothing is gone that the one before it has seen.
async fn listed(store: Arc<dyn ObjectStore>, prefix: Option<Path>) -> Result<Vec<ObjectMeta>> {
    let mut before: Option<Vec<ObjectMeta>> = None;
    for _ in 0..LISTINGS_MAX {
        let mut files: Vec<ObjectMeta> = store.list(prefix.as_ref()).try_collect().await?;
        files.sort_by(|left, right| left.location.cmp(&right.location));
        match before.replace(files.clone()) {
            Some(before) if has_all(&files, &before, |file| &file.location) => return Ok(files),
            _ => {}
        }
    }
    Err(Error::Generic {
        store: "lake",
        source: "files go as fast as they are listed; wait for the compaction to end".into(),
    })
}

/// Whether a query failed because a file went between its listing and its reading, as the inputs of a
/// compaction do. Asked again it sees what they became.
#[must_use]
pub fn is_overtaken(error: &DataFusionError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(Error::NotFound { .. }) = error.downcast_ref() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn refused<T>() -> Result<T> {
    Err(Error::NotSupported { source: "the lake is written by peerscope alone".into() })
}

#[async_trait]
impl ObjectStore for Live {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        refused()
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        refused()
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        futures::stream::once(async { refused() }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = listed(Arc::clone(&self.0), prefix.cloned());
        futures::stream::once(listed)
            .map_ok(live)
            .map_ok(|files| futures::stream::iter(files.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.0.list_with_delimiter(prefix).await?;
        listed.objects = live(listed.objects);
        Ok(listed)
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt as _, PutMode};
    use std::sync::Mutex;

    /// A store in which somebody compacts while a listing is under way.
    #[derive(Debug)]
    struct Busy {
        inner: InMemory,
        listings: Mutex<u32>,
    }

    impl fmt::Display for Busy {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Busy")
        }
    }

    const INPUTS: [&str; 2] = [
        "t/date=2026-03-02/a-000-00000000000000000000.parquet",
        "t/date=2026-03-02/a-000-00000000000000000005.parquet",
    ];
    const OUTPUT: &str =
        "t/date=2026-03-02/a-000-00000000000000000000-00000000000000000009.parquet";
    const NEXT: &str = "t/date=2026-03-03/a-000-00000000000000000009.parquet";

    #[async_trait]
    impl ObjectStore for Busy {
        async fn put_opts(&self, p: &Path, b: PutPayload, o: PutOptions) -> Result<PutResult> {
            self.inner.put_opts(p, b, o).await
        }

        async fn put_multipart_opts(
            &self,
            p: &Path,
            o: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.inner.put_multipart_opts(p, o).await
        }

        async fn get_opts(&self, p: &Path, o: GetOptions) -> Result<GetResult> {
            self.inner.get_opts(p, o).await
        }

        fn delete_stream(
            &self,
            p: BoxStream<'static, Result<Path>>,
        ) -> BoxStream<'static, Result<Path>> {
            self.inner.delete_stream(p)
        }

        /// The second listing sees neither the inputs nor what they became.
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            let mut listings = self.listings.lock().unwrap();
            *listings += 1;
            let listed = self.inner.list(prefix);
            match *listings {
                2 => listed
                    .try_filter(|file| {
                        let seen = file.location.as_ref() == NEXT;
                        async move { seen }
                    })
                    .boxed(),
                3 => {
                    let inner = self.inner.clone();
                    let then = async move {
                        for input in INPUTS {
                            inner.delete(&input.into()).await?;
                        }
                        inner.put(&OUTPUT.into(), "rows".into()).await?;
                        inner.list(None).try_collect::<Vec<_>>().await
                    };
                    futures::stream::once(then)
                        .map_ok(|files| futures::stream::iter(files.into_iter().map(Ok)))
                        .try_flatten()
                        .boxed()
                }
                _ => listed,
            }
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.inner.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, f: &Path, t: &Path, o: CopyOptions) -> Result<()> {
            self.inner.copy_opts(f, t, o).await
        }
    }

    async fn listed_keys(live: &Live) -> Vec<String> {
        let files: Vec<ObjectMeta> = live.list(None).try_collect().await.unwrap();
        files.into_iter().map(|file| file.location.to_string()).collect()
    }

    async fn filled(keys: &[&str]) -> InMemory {
        let store = InMemory::new();
        for key in keys {
            store.put(&(*key).into(), "rows".into()).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn a_compaction_within_a_listing_hides_nothing() {
        let inner = filled(&[INPUTS[0], INPUTS[1], NEXT]).await;
        let live = Live(Arc::new(Busy { inner, listings: Mutex::new(0) }));
        assert_eq!(listed_keys(&live).await, [OUTPUT, NEXT]);
    }

    #[tokio::test]
    async fn between_create_and_delete_each_row_is_listed_once() {
        let strange = "t/date=2026-03-02/part-0.parquet";
        let store = filled(&[INPUTS[0], INPUTS[1], OUTPUT, NEXT, strange]).await;
        let live = Live(Arc::new(store));
        assert_eq!(listed_keys(&live).await, [OUTPUT, strange, NEXT]);
    }

    #[tokio::test]
    async fn nothing_is_written_through_it() {
        let live = Live(Arc::new(filled(&[NEXT]).await));
        live.put(&OUTPUT.into(), "rows".into()).await.unwrap_err();
        live.put_opts(&OUTPUT.into(), "rows".into(), PutMode::Create.into()).await.unwrap_err();
        live.delete(&NEXT.into()).await.unwrap_err();
        live.copy(&NEXT.into(), &OUTPUT.into()).await.unwrap_err();
        assert_eq!(listed_keys(&live).await, [NEXT]);
    }
}
