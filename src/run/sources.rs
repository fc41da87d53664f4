//! The live sources of the configuration, started.

use std::collections::BTreeMap;
use std::sync::Arc;

use ingest::live::{FileOptions, Format, InputSettings, positions_of};
use ingest::log::embedded::Recovered;
use ingest::samples::Owners;
use ingest::session::BmpOptions;
use ingest::session::bmp::RoutingDomains;
use ingest::source::bmp_listener::{BmpListenerError, BmpSource, VrfRule};
use ingest::source::counter::Counter;
use ingest::source::folder::FolderSource;
use ingest::source::kafka::{KafkaFormat, KafkaSource, KafkaSourceError};
use ingest::source::live::{Arrival, Outbox, Stop};
use ingest::source::prometheus::{PrometheusError, PrometheusSource};
use ingest::source::ris_live::{RisLiveError, RisLiveSource};
use schemas::bgp::{Asn, Prefix};
use schemas::connection::PUBLIC_ROUTING_DOMAIN;
use schemas::tables::Text;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{RunError, on_thread};
use crate::config::{Config, HTTP_INPUT, Source};
use crate::http::HttpListener;
use crate::metrics::{FeedCounts, LatencyGauges, Metrics};

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
    /// RIS Live.
    #[error(transparent)]
    RisLive(#[from] RisLiveError),
}

/// Sources that run.
pub(super) struct Sources {
    /// Their inputs, by number.
    pub(super) inputs: Vec<InputSettings>,
    /// Names with the addresses they listen on.
    pub(super) listening: Vec<(String, String)>,
    feeds: Vec<(String, FeedCounts)>,
    tasks: JoinSet<()>,
    threads: Vec<oneshot::Receiver<()>>,
}

/// Whether a source is part of a running service.
pub(super) const fn is_live(source: &Source) -> bool {
    !matches!(source, Source::Files(_))
}

impl Sources {
    /// Starts every live source of the configuration where the log ends.
    pub(super) fn start(
        config: &Config,
        recovered: &Recovered,
        arrivals: &mpsc::Sender<Arrival>,
        stop: &Stop,
    ) -> Result<Self, RunError> {
        let mut sources = Self {
            inputs: Vec::new(),
            listening: Vec::new(),
            feeds: Vec::new(),
            tasks: JoinSet::new(),
            threads: Vec::new(),
        };
        for (name, source) in &config.sources {
            if !is_live(source) {
                continue;
            }
            let number = u32::try_from(sources.inputs.len()).unwrap_or(u32::MAX);
            let outbox = Outbox::new(number, arrivals.clone());
            let failed = |error| RunError::Source { name: name.clone(), error };
            let start = Start { name, config, recovered, outbox, stop: stop.clone() };
            match source {
                Source::Files(_) => continue,
                Source::BmpListener(_) => sources.bmp_listener(source, start).map_err(failed)?,
                Source::Folder(_) => sources.folder(source, start)?,
                Source::Kafka(_) => sources.kafka(source, start, failed)?,
                Source::Prometheus(_) => sources.prometheus(source, start).map_err(failed)?,
                Source::RisLive(_) => sources.ris_live(source, start).map_err(failed)?,
            }
        }
        Ok(sources)
    }

    /// Starts the HTTP listener, if there is to be one, behind all sources: it shows what they count.
    pub(super) fn listen(
        &mut self,
        config: &Config,
        (latency, heartbeat): (Arc<LatencyGauges>, Arc<Counter>),
        arrivals: &mpsc::Sender<Arrival>,
        stop: &Stop,
    ) -> Result<(), RunError> {
        let Some(address) = config.http.listen else { return Ok(()) };
        let listener = HttpListener::bind(&config.http, address)?;
        self.listening.push((HTTP_INPUT.to_owned(), listener.address().to_string()));
        let number = u32::try_from(self.inputs.len()).unwrap_or(u32::MAX);
        self.inputs.push(input(HTTP_INPUT, None, Format::Samples));
        let counted = |input: &InputSettings| {
            (input.name.to_string(), input.format.as_str(), Arc::clone(&input.counts))
        };
        let metrics = Arc::new(Metrics {
            inputs: self.inputs.iter().map(counted).collect(),
            feeds: std::mem::take(&mut self.feeds),
            latency,
            heartbeat,
            ..Metrics::default()
        });
        let outbox = Outbox::new(number, arrivals.clone());
        let owners = Arc::new(Owners::new(Arc::clone(&config.registry)));
        self.tasks.spawn(listener.run(outbox, stop.clone(), owners, metrics));
        Ok(())
    }

    /// Returns when all of them have ended.
    pub(super) async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
        while let Some(thread) = self.threads.last_mut() {
            let _ = thread.await;
            self.threads.pop();
        }
    }

    fn bmp_listener(&mut self, source: &Source, start: Start<'_>) -> Result<(), SourceError> {
        let Source::BmpListener(listener) = source else { return Ok(()) };
        let options = BmpOptions {
            message_bytes_max: listener.message_bytes_max,
            domains: domains(&listener.vrfs),
            ..BmpOptions::default()
        };
        self.inputs.push(start.input(listener.collector.as_deref(), Format::Bmp(options)));
        let source = BmpSource::bind(listener.clone(), 0)?;
        self.feeds.push((start.name.to_owned(), FeedCounts::Bmp(source.counts())));
        self.listening.push((start.name.to_owned(), source.address().to_string()));
        self.tasks.spawn(source.run(start.outbox, start.stop));
        Ok(())
    }

    fn ris_live(&mut self, source: &Source, start: Start<'_>) -> Result<(), SourceError> {
        let Source::RisLive(ris) = source else { return Ok(()) };
        self.inputs.push(start.input(ris.collector.as_deref(), Format::RisLive));
        let registry = &start.config.registry;
        let public = registry
            .connections()
            .iter()
            .filter(|connection| connection.routing_domain == PUBLIC_ROUTING_DOMAIN);
        let prefixes: Vec<Prefix> = public
            .flat_map(|connection| connection.prefixes.iter().map(|registered| registered.prefix))
            .collect();
        let asns: Vec<Asn> = registry.watched().iter().map(|watched| watched.number).collect();
        let source = RisLiveSource::new(ris.clone(), &prefixes, &asns, 0)?;
        self.feeds.push((start.name.to_owned(), FeedCounts::RisLive(source.counts())));
        self.listening.push((start.name.to_owned(), ris.url.clone()));
        self.tasks.spawn(source.run(start.outbox, start.stop));
        Ok(())
    }

    fn prometheus(&mut self, source: &Source, start: Start<'_>) -> Result<(), SourceError> {
        let Source::Prometheus(pages) = source else { return Ok(()) };
        self.inputs.push(start.input(None, Format::Samples));
        let owners = Arc::new(Owners::new(Arc::clone(&start.config.registry)));
        let source = PrometheusSource::new(start.name, pages.clone(), owners)?;
        self.feeds.push((start.name.to_owned(), FeedCounts::Prometheus(source.counts())));
        let told = format!("{} pages every {} s", pages.urls.len(), pages.interval_secs);
        self.listening.push((start.name.to_owned(), told));
        self.tasks.spawn(source.run(start.outbox, start.stop));
        Ok(())
    }

    fn folder(&mut self, source: &Source, start: Start<'_>) -> Result<(), RunError> {
        let Source::Folder(folder) = source else { return Ok(()) };
        let bmp = BmpOptions { domains: domains(&folder.vrfs), ..BmpOptions::default() };
        let options = FileOptions { bmp, mapping: folder.fields.clone().map(Arc::new) };
        let (_, files) = positions_of(&start.recovered.positions, start.name);
        let source = FolderSource::new(folder.clone(), files, 0);
        self.feeds.push((start.name.to_owned(), FeedCounts::Folder(source.counts())));
        let rules = start.config.clone();
        let mut input = start.input(folder.collector.as_deref(), Format::Files(options));
        input.book = Some(source.book());
        if folder.collector.is_none() {
            input.collector_of =
                Some(Arc::new(move |name| rules.collector_of(name).map(Text::from)));
        }
        self.inputs.push(input);
        let told = folder.folder.iter().chain(&folder.paths);
        let told: Vec<String> = told.map(|path| path.display().to_string()).collect();
        self.listening.push((start.name.to_owned(), told.join(", ")));
        let (outbox, stop) = (start.outbox, start.stop);
        self.threads.push(on_thread(start.name, move || source.run(&outbox, &stop))?);
        Ok(())
    }

    fn kafka(
        &mut self,
        source: &Source,
        start: Start<'_>,
        failed: impl FnOnce(SourceError) -> RunError,
    ) -> Result<(), RunError> {
        let Source::Kafka(topics) = source else { return Ok(()) };
        let options = BmpOptions {
            domains: domains(&topics.vrfs),
            router_asn: topics.collector_asn.map(Asn),
            ..BmpOptions::default()
        };
        let (offsets, _) = positions_of(&start.recovered.positions, start.name);
        let named = topics.clone();
        let format = match topics.format {
            KafkaFormat::Openbmp => Format::OpenBmp(options),
            KafkaFormat::Rtt => Format::RttMessages,
        };
        let mut input = start.input(topics.collector.as_deref(), format);
        input.collector_of = Some(Arc::new(move |stream| {
            let topic = stream.rsplit_once('-').map_or(stream, |(topic, _)| topic);
            named.collector_of(topic).map(Text::from)
        }));
        self.inputs.push(input);
        let source = KafkaSource::new(topics.clone(), by_partition(&offsets), 0)
            .map_err(|error| failed(error.into()))?;
        self.feeds.push((start.name.to_owned(), FeedCounts::Kafka(source.counts())));
        self.listening.push((start.name.to_owned(), topics.brokers.join(",")));
        let (outbox, stop) = (start.outbox, start.stop);
        self.threads.push(on_thread(start.name, move || source.run(&outbox, &stop))?);
        Ok(())
    }
}

/// What a source is started with.
struct Start<'s> {
    name: &'s str,
    config: &'s Config,
    recovered: &'s Recovered,
    outbox: Outbox,
    stop: Stop,
}

impl Start<'_> {
    fn input(&self, collector: Option<&str>, format: Format) -> InputSettings {
        input(self.name, collector, format)
    }
}

fn input(name: &str, collector: Option<&str>, format: Format) -> InputSettings {
    InputSettings {
        name: name.into(),
        collector: collector.unwrap_or(name).into(),
        format,
        book: None,
        collector_of: None,
        counts: Arc::default(),
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

/// Offsets by topic and partition, out of the names `topic-partition`.
fn by_partition(offsets: &BTreeMap<String, u64>) -> BTreeMap<(String, i32), i64> {
    let one = |(name, offset): (&String, &u64)| {
        let (topic, partition) = name.rsplit_once('-')?;
        let key = (topic.to_owned(), partition.parse().ok()?);
        Some((key, i64::try_from(*offset).ok()?))
    };
    offsets.iter().filter_map(one).collect()
}
