//! Starting one source: on the runtime, or on a thread of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use ingest::live::{StreamPlace, positions_of};
use ingest::samples::OwnersNow;
use ingest::source::bmp_listener::BmpSource;
use ingest::source::folder::FolderSource;
use ingest::source::kafka::{KafkaSource, KafkaTopics, Parted, Place, Positions};
use ingest::source::live::{Outbox, Stop};
use ingest::source::prometheus::PrometheusSource;
use ingest::source::ris_live::{RisLive, RisLiveSource};
use schemas::log::Position;
use schemas::registry::Registry;
use schemas::tables::Text;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{Declared, SourceError};
use crate::config::Source;
use crate::metrics::FeedCounts;
use crate::run::RunError;

/// What a source is started with.
pub(super) struct Start<'s> {
    pub(super) name: &'s str,
    pub(super) registry: &'s Registry,
    pub(super) registered: &'s OwnersNow,
    pub(super) declared: &'s Declared,
    pub(super) positions: &'s BTreeMap<Text, Position>,
    pub(super) parted: Option<Parted>,
    pub(super) outbox: Outbox,
    pub(super) first_stream: u64,
    pub(super) stop: Stop,
    /// Dropped when it has ended.
    pub(super) ending: oneshot::Sender<()>,
}

impl Start<'_> {
    /// Starts it; what is told of it.
    pub(super) fn launch(
        self,
        tasks: &mut JoinSet<()>,
        runtime: &Handle,
    ) -> Result<Option<String>, RunError> {
        let name = self.name.to_owned();
        let failed = |error: SourceError| RunError::Source { name, error };
        match &self.declared.source {
            Source::Files(_) => Ok(None),
            Source::BmpListener(listener) => {
                let source = BmpSource::bind(listener.clone(), self.first_stream)
                    .map_err(|error| failed(error.into()))?;
                let source = match &self.declared.feed {
                    FeedCounts::Bmp(counts) => source.counting(Arc::clone(counts)),
                    _ => source,
                };
                let told = source.address().to_string();
                let run = source.run(self.outbox, self.stop);
                spawn(tasks, runtime, run, self.ending);
                Ok(Some(told))
            }
            Source::RisLive(ris) => {
                let source = self.ris_live(ris).map_err(failed)?;
                spawn(tasks, runtime, source.run(self.outbox, self.stop), self.ending);
                Ok(Some(ris.url.clone()))
            }
            Source::Prometheus(pages) => {
                let owners = self.registered.clone();
                let source = PrometheusSource::new(self.name, pages.clone(), owners)
                    .map_err(|error| failed(error.into()))?;
                let source = match &self.declared.feed {
                    FeedCounts::Prometheus(counts) => source.counting(Arc::clone(counts)),
                    _ => source,
                };
                spawn(tasks, runtime, source.run(self.outbox, self.stop), self.ending);
                Ok(Some(format!("{} pages every {} s", pages.urls.len(), pages.interval_secs)))
            }
            Source::Folder(folder) => {
                let (_, files) = positions_of(self.positions, &self.declared.input);
                let source = FolderSource::new(folder.clone(), files, self.first_stream)
                    .noting(Arc::clone(&self.declared.book));
                let source = match &self.declared.feed {
                    FeedCounts::Folder(counts) => source.counting(Arc::clone(counts)),
                    _ => source,
                };
                let told = folder.folder.iter().chain(&folder.paths);
                let told: Vec<String> = told.map(|path| path.display().to_string()).collect();
                self.on_thread(move |outbox, stop| source.run(outbox, stop))?;
                Ok(Some(told.join(", ")))
            }
            Source::Kafka(topics) => {
                let told = topics.brokers.join(",");
                let (topics, first_stream) = (topics.clone(), self.first_stream);
                self.kafka(topics, first_stream, failed)?;
                Ok(Some(told))
            }
        }
    }

    fn ris_live(&self, ris: &RisLive) -> Result<RisLiveSource, SourceError> {
        let source = RisLiveSource::new(ris.clone(), self.registry, self.first_stream)?;
        let source = source.following(self.registered.clone());
        Ok(match &self.declared.feed {
            FeedCounts::RisLive(counts) => source.counting(Arc::clone(counts)),
            _ => source,
        })
    }

    fn kafka(
        mut self,
        topics: KafkaTopics,
        first_stream: u64,
        failed: impl FnOnce(SourceError) -> RunError,
    ) -> Result<(), RunError> {
        let (places, _) = positions_of(self.positions, &self.declared.input);
        let counts = match &self.declared.feed {
            FeedCounts::Kafka(counts) => Arc::clone(counts),
            _ => Arc::default(),
        };
        let source = KafkaSource::new(topics, by_partition(&places), first_stream, counts)
            .map_err(|error| failed(error.into()))?;
        let source = match self.parted.take() {
            Some(parted) => source.parted(parted),
            None => source,
        };
        self.on_thread(move |outbox, stop| source.run(outbox, stop))
    }

    fn on_thread(self, run: impl FnOnce(&Outbox, &Stop) + Send + 'static) -> Result<(), RunError> {
        let Self { name, outbox, stop, ending, .. } = self;
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                run(&outbox, &stop);
                drop(ending);
            })
            .map(|_| ())
            .map_err(RunError::Thread)
    }
}

fn spawn(
    tasks: &mut JoinSet<()>,
    runtime: &Handle,
    run: impl Future<Output = ()> + Send + 'static,
    ending: oneshot::Sender<()>,
) {
    let run = async move {
        run.await;
        drop(ending);
    };
    tasks.spawn_on(run, runtime);
}

/// Places by topic and partition, out of the names `topic-partition`.
pub(in crate::run) fn by_partition(places: &BTreeMap<String, StreamPlace>) -> Positions {
    let one = |(name, place): (&String, &StreamPlace)| {
        let (topic, partition) = name.rsplit_once('-')?;
        let key = (topic.to_owned(), partition.parse().ok()?);
        let next = i64::try_from(place.next_offset).ok()?;
        Some((key, Place { next, topic: place.topic }))
    };
    places.iter().filter_map(one).collect()
}
