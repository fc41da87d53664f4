//! The live sources of the configuration: declared once, started and stopped by name.
//!
//! In one process all of them are started where the log ends. Over Kafka a listener belongs to its
//! process, whose name its input bears; a topic is read by every process that ingests, each its part;
//! any other source runs where its share is.

mod launch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use analytics::lake::LakeRoot;
use ingest::live::{FileOptions, Format, InputSettings};
use ingest::log::kafka::publisher::AT;
use ingest::samples::OwnersNow;
use ingest::session::BmpOptions;
use ingest::session::bmp::RoutingDomains;
use ingest::source::bmp_listener::{BmpListenerError, VrfRule};
use ingest::source::folder::FileBook;
use ingest::source::kafka::{KafkaFormat, KafkaSourceError, KafkaTopics, Parted};
use ingest::source::live::{Arrival, Outbox};
use ingest::source::prometheus::PrometheusError;
use ingest::source::ris_live::RisLiveError;
use schemas::bgp::Asn;
use schemas::log::Position;
use schemas::tables::Text;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::RunError;
use crate::config::{Config, HTTP_INPUT, Source};
use crate::http::HttpListener;
use crate::metrics::{FeedCounts, Metrics};
pub(super) use launch::by_partition;

/// Streams of one start of a source are numbered this far from those of the one before.
const STREAMS: u64 = 1 << 40;

/// Why a source cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A listener.
    #[error(transparent)]
    BmpListener(#[from] BmpListenerError),
    /// Topics.
    #[error(transparent)]
    Kafka(#[from] KafkaSourceError),
    /// Pages of exporters.
    #[error(transparent)]
    Prometheus(#[from] PrometheusError),
    /// RIPE's websocket.
    #[error(transparent)]
    RisLive(#[from] RisLiveError),
}

/// Whose a source is, where several processes ingest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belongs {
    /// To its process.
    Process,
    /// To every process, each its partitions.
    Parted,
    /// To whoever has its share.
    Share,
}

/// Sources that may run, and those that do.
pub(super) struct Sources {
    /// Their inputs, by number; taken by the intake.
    pub(super) inputs: Vec<InputSettings>,
    /// Names with the addresses they listen on.
    pub(super) listening: Vec<(String, String)>,
    config: Config,
    registered: OwnersNow,
    arrivals: mpsc::Sender<Arrival>,
    runtime: Handle,
    declared: BTreeMap<String, Declared>,
    running: BTreeMap<String, Running>,
    tasks: JoinSet<()>,
}

/// One source, to be started.
struct Declared {
    source: Source,
    /// Number of its input among the arrivals.
    number: u32,
    /// Name of its input.
    input: Text,
    feed: FeedCounts,
    book: Arc<FileBook>,
    starts: u64,
}

/// One source that was started.
struct Running {
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

/// Whether a source has ended.
fn has_ended(running: &mut Running) -> bool {
    matches!(running.ended.try_recv(), Err(oneshot::error::TryRecvError::Closed))
}

/// Whether a source is part of a running service.
pub(super) const fn is_live(source: &Source) -> bool {
    !matches!(source, Source::Files(_))
}

/// Whose a source is.
pub(super) const fn belongs(source: &Source) -> Belongs {
    match source {
        Source::BmpListener(_) => Belongs::Process,
        Source::Kafka(_) => Belongs::Parted,
        Source::Files(_) | Source::Folder(_) | Source::Prometheus(_) | Source::RisLive(_) => {
            Belongs::Share
        }
    }
}

impl Sources {
    /// Every live source of the configuration. `instance` names this process among others that ingest,
    /// if there are any.
    pub(super) fn declare(
        config: &Config,
        instance: Option<&str>,
        registered: &OwnersNow,
        arrivals: &mpsc::Sender<Arrival>,
    ) -> Self {
        let mut sources = Self {
            inputs: Vec::new(),
            listening: Vec::new(),
            config: config.clone(),
            registered: registered.clone(),
            arrivals: arrivals.clone(),
            runtime: Handle::current(),
            declared: BTreeMap::new(),
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        for (name, source) in config.sources.iter().filter(|(_, source)| is_live(source)) {
            let own = instance.filter(|_| belongs(source) == Belongs::Process);
            let number = u32::try_from(sources.inputs.len()).unwrap_or(u32::MAX);
            let (settings, feed) = input_of(name, source, own, config);
            let book = settings.book.clone().unwrap_or_default();
            let input = Text::clone(&settings.name);
            sources.inputs.push(settings);
            let source = source.clone();
            let declared = Declared { source, number, input, feed, book, starts: 0 };
            sources.declared.insert(name.clone(), declared);
        }
        sources
    }

    /// Starts every source where the log ends.
    pub(super) fn start_all(
        &mut self,
        positions: &BTreeMap<Text, Position>,
    ) -> Result<(), RunError> {
        let names: Vec<String> = self.declared.keys().cloned().collect();
        names.iter().try_for_each(|name| self.start(name, positions, None))
    }

    /// Names of sources that belong so.
    pub(super) fn that(&self, whose: Belongs) -> BTreeSet<String> {
        let named = self.declared.iter().filter(|(_, declared)| belongs(&declared.source) == whose);
        named.map(|(name, _)| name.clone()).collect()
    }

    /// Starts one source.
    pub(super) fn start(
        &mut self,
        name: &str,
        positions: &BTreeMap<Text, Position>,
        parted: Option<Parted>,
    ) -> Result<(), RunError> {
        let Some(declared) = self.declared.get_mut(name) else { return Ok(()) };
        let (stop, stopping) = watch::channel(false);
        let (ending, ended) = oneshot::channel();
        let start = launch::Start {
            name,
            registry: &self.config.registry,
            registered: &self.registered,
            declared,
            positions,
            parted,
            outbox: Outbox::new(declared.number, self.arrivals.clone()),
            first_stream: declared.starts * STREAMS,
            stop: stopping,
            ending,
        };
        let told = start.launch(&mut self.tasks, &self.runtime)?;
        declared.starts += 1;
        self.listening.extend(told.map(|told| (name.to_owned(), told)));
        self.running.insert(name.to_owned(), Running { stop, ended });
        Ok(())
    }

    /// Starts the HTTP listener, if there is to be one, behind all sources: it shows what they count.
    pub(super) fn listen(
        &mut self,
        instance: Option<&str>,
        lake: Option<&LakeRoot>,
        metrics: Metrics,
    ) -> Result<(), RunError> {
        let Some(address) = self.config.http.listen else { return Ok(()) };
        let listener = HttpListener::bind(&self.config.http, address)?;
        self.listening.push((HTTP_INPUT.to_owned(), listener.address().to_string()));
        let number = u32::try_from(self.inputs.len()).unwrap_or(u32::MAX);
        let name = named(HTTP_INPUT, instance);
        self.inputs.push(input(&name, None, Format::Samples, true));
        let counted = |input: &InputSettings| {
            (input.name.to_string(), input.format.as_str(), Arc::clone(&input.counts))
        };
        let feeds = self.declared.iter().map(|(name, one)| (name.clone(), one.feed.clone()));
        let metrics = Arc::new(Metrics {
            inputs: self.inputs.iter().map(counted).collect(),
            feeds: feeds.collect(),
            ..metrics
        });
        let outbox = Outbox::new(number, self.arrivals.clone());
        let (owners, lake) = (self.registered.clone(), lake.cloned());
        let (stop, stopping) = watch::channel(false);
        let (ending, ended) = oneshot::channel();
        let run = async move {
            listener.run(Some((outbox, owners)), lake, stopping, metrics).await;
            drop(ending);
        };
        self.tasks.spawn_on(run, &self.runtime);
        self.running.insert(HTTP_INPUT.to_owned(), Running { stop, ended });
        Ok(())
    }

    /// Tells sources to stop; what is to be waited for.
    pub(super) fn stop(&mut self, names: &BTreeSet<String>) -> Vec<oneshot::Receiver<()>> {
        let running = names.iter().filter_map(|name| self.running.remove(name));
        let stopped = running.filter_map(|mut running| {
            // Whoever ended by itself does not listen, and is not to be waited for again.
            let _ = running.stop.send(true);
            (!has_ended(&mut running)).then_some(running.ended)
        });
        stopped.collect()
    }

    /// Tells all of them to stop.
    pub(super) fn stop_all(&self) {
        for running in self.running.values() {
            let _ = running.stop.send(true);
        }
    }

    /// Returns when all of them have ended.
    pub(super) async fn ended(&mut self) {
        for running in self.running.values_mut() {
            // An end is told by nobody being left to tell it.
            let _ = (&mut running.ended).await;
        }
        self.running.clear();
    }

    /// Whether every one was started and has ended.
    pub(super) fn are_done(&mut self) -> bool {
        let was_started = |declared: &Declared| declared.starts > 0;
        self.declared.values().all(was_started) && self.running.values_mut().all(has_ended)
    }

    /// Tells all of them to stop, and starts none any more; what is to be waited for. Once the last one
    /// has ended, so has what they tell.
    pub(super) fn stop_for_good(&mut self) -> Vec<oneshot::Receiver<()>> {
        self.close();
        self.declared.clear();
        let names = self.running.keys().cloned().collect();
        self.stop(&names)
    }

    /// Nobody will be started any more: once the last one has ended, so has what they tell.
    pub(super) fn close(&mut self) {
        let (nobody, _) = mpsc::channel(1);
        self.arrivals = nobody;
    }
}

/// Name of an input that belongs to a process.
fn named(name: &str, instance: Option<&str>) -> String {
    instance.map_or_else(|| name.to_owned(), |instance| format!("{name}{AT}{instance}"))
}

/// The input of a source.
fn input_of(
    name: &str,
    source: &Source,
    instance: Option<&str>,
    config: &Config,
) -> (InputSettings, FeedCounts) {
    let own = named(name, instance);
    match source {
        Source::BmpListener(listener) => {
            let options = BmpOptions {
                message_bytes_max: listener.message_bytes_max,
                domains: domains(&listener.vrfs),
                ..BmpOptions::default()
            };
            let collector = listener.collector.as_deref().map(|name| named(name, instance));
            let input = input(&own, collector.as_deref(), Format::Bmp(options), true);
            (input, FeedCounts::Bmp(Arc::default()))
        }
        Source::RisLive(ris) => {
            let input = input(name, ris.collector.as_deref(), Format::RisLive, false);
            (input, FeedCounts::RisLive(Arc::default()))
        }
        Source::Prometheus(_) | Source::Files(_) => {
            let input = input(name, None, Format::Samples, false);
            (input, FeedCounts::Prometheus(Arc::default()))
        }
        Source::Folder(folder) => {
            let bmp = BmpOptions { domains: domains(&folder.vrfs), ..BmpOptions::default() };
            let options = FileOptions { bmp, mapping: folder.fields.clone().map(Arc::new) };
            let mut input = input(name, folder.collector.as_deref(), Format::Files(options), false);
            input.book = Some(Arc::default());
            if folder.collector.is_none() {
                let rules = config.clone();
                input.collector_of =
                    Some(Arc::new(move |name| rules.collector_of(name).map(Text::from)));
            }
            (input, FeedCounts::Folder(Arc::default()))
        }
        Source::Kafka(topics) => (topics_input(name, topics), FeedCounts::Kafka(Arc::default())),
    }
}

fn topics_input(name: &str, topics: &KafkaTopics) -> InputSettings {
    let options = BmpOptions {
        domains: domains(&topics.vrfs),
        router_asn: topics.collector_asn.map(Asn),
        ..BmpOptions::default()
    };
    let format = match topics.format {
        KafkaFormat::Openbmp => Format::OpenBmp(options),
        KafkaFormat::Rtt => Format::RttMessages,
    };
    let mut input = input(name, topics.collector.as_deref(), format, false);
    let named = topics.clone();
    input.collector_of = Some(Arc::new(move |stream| {
        let topic = stream.rsplit_once('-').map_or(stream, |(topic, _)| topic);
        named.collector_of(topic).map(Text::from)
    }));
    input
}

fn input(
    name: &str,
    collector: Option<&str>,
    format: Format,
    belongs_to_process: bool,
) -> InputSettings {
    InputSettings {
        name: name.into(),
        collector: collector.unwrap_or(name).into(),
        format,
        book: None,
        collector_of: None,
        counts: Arc::default(),
        belongs_to_process,
    }
}

/// Routing domains by the rules for VRFs.
fn domains(rules: &[VrfRule]) -> RoutingDomains {
    let rules = rules.to_vec();
    RoutingDomains::by(move |router, distinguisher| {
        let rule = rules.iter().find(|rule| rule.applies(&[router], distinguisher))?;
        Some(rule.routing_domain.as_str().into())
    })
}
