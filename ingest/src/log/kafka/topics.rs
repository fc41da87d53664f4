//! Topics: made where they are missing, and checked where they are there.
//!
//! What the log relies on and Kafka does not promise by itself: the time of the append as the time of a
//! record, compaction of the two topics of state, one partition for what has one order, room for our
//! longest message. What a broker does not tell is let pass, with a word.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use schemas::log::LogError;

use super::brokers;
use super::clients::Ears;
use super::config::KafkaLogConfig;
use crate::kafka::topic_id::{TopicId, topic_id};

/// How long brokers may take to answer what we ask.
const ANSWER: Duration = Duration::from_secs(10);
/// How long is listened for what went wrong.
const LISTEN: Duration = Duration::from_millis(100);
/// How long brokers may be away when a process starts.
const START_WAIT: Duration = Duration::from_secs(60);
/// How long a broker may take to know a topic that was just made.
const MADE_WAIT: Duration = Duration::from_secs(20);
/// Bytes beside the payload of a message.
const OVERHEAD_BYTES: u32 = 40_000;

/// The topics of a log as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Partitions of the events topic: those of the log.
    pub partitions: u32,
    /// Partitions of the sources topic: shares of the inputs.
    pub source_partitions: u32,
    /// Id of the events topic; none from brokers that have no ids.
    pub events_id: Option<TopicId>,
    /// Id of the cluster.
    pub cluster: String,
}

impl Topics {
    /// What tells this log from any other one.
    #[must_use]
    pub fn identity(&self, config: &KafkaLogConfig) -> String {
        let Self { cluster, events_id, partitions, .. } = self;
        let id = events_id.map_or_else(|| "without-id".to_owned(), |id| id.to_string());
        format!("kafka/{cluster}/{}/{id}/{partitions}", config.events_topic)
    }
}

/// What a topic must be.
struct Wanted<'c> {
    topic: &'c str,
    /// Partitions if it is made.
    partitions: u32,
    is_single: bool,
    is_compacted: bool,
    has_append_time: bool,
    settings: BTreeMap<&'static str, String>,
}

fn wanted(config: &KafkaLogConfig) -> [Wanted<'_>; 4] {
    let bytes_max = config.message_bytes_max.saturating_add(OVERHEAD_BYTES).to_string();
    let retention_ms = u64::from(config.retention_hours) * 3_600_000;
    let stream = || {
        BTreeMap::from([
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", retention_ms.to_string()),
            ("max.message.bytes", bytes_max.clone()),
        ])
    };
    // Keys change many times a second: small segments that are cleaned soon keep it short to read.
    let state = || {
        BTreeMap::from([
            ("cleanup.policy", "compact".to_owned()),
            ("segment.ms", "600000".to_owned()),
            ("segment.bytes", (16 << 20).to_string()),
            ("min.cleanable.dirty.ratio", "0.1".to_owned()),
            ("max.compaction.lag.ms", "1800000".to_owned()),
            ("max.message.bytes", bytes_max.clone()),
        ])
    };
    let mut events = stream();
    events.insert("message.timestamp.type", "LogAppendTime".to_owned());
    [
        Wanted {
            topic: &config.events_topic,
            partitions: config.partitions,
            is_single: false,
            is_compacted: false,
            has_append_time: true,
            settings: events,
        },
        Wanted {
            topic: &config.summaries_topic,
            partitions: 1,
            is_single: true,
            is_compacted: false,
            has_append_time: false,
            settings: stream(),
        },
        Wanted {
            topic: &config.sources_topic,
            partitions: config.source_partitions,
            is_single: false,
            is_compacted: true,
            has_append_time: false,
            settings: state(),
        },
        Wanted {
            topic: &config.control_topic,
            partitions: 1,
            is_single: true,
            is_compacted: true,
            has_append_time: false,
            settings: state(),
        },
    ]
}

/// Makes the topics that are missing, and checks all of them.
///
/// # Errors
/// [`LogError::Brokers`] if nobody answers, [`LogError::Topic`] with its remedy for one that does not
/// fit.
pub fn ensure(config: &KafkaLogConfig) -> Result<Topics, LogError> {
    let client = config.client().map_err(|error| brokers(config, &error))?;
    let admin: AdminClient<Ears> =
        client.create_with_context(Ears::default()).map_err(|error| brokers(config, &error))?;
    // An administrator hears nothing of what goes wrong.
    let asker: BaseConsumer<Ears> =
        client.create_with_context(Ears::default()).map_err(|error| brokers(config, &error))?;
    let known = all_topics(config, &asker)?;
    let wanted = wanted(config);
    for topic in &wanted {
        if !known.contains_key(topic.topic) {
            create(config, &admin, topic)?;
        }
    }
    let mut counts = BTreeMap::new();
    for topic in &wanted {
        let partitions = partitions(config, &asker, topic.topic)?;
        check(config, &admin, topic, partitions)?;
        if partitions != topic.partitions {
            let (topic, configured) = (topic.topic, topic.partitions);
            tracing::warn!(topic, partitions, configured, "the number of the topic counts");
        }
        counts.insert(topic.topic, partitions);
    }
    let count = |topic: &str| counts.get(topic).copied().unwrap_or_default();
    let events_id = topic_id(asker.client(), &config.events_topic, ANSWER)
        .map_err(|code| brokers(config, &format!("{}: {code}", config.events_topic)))?;
    if events_id.is_none() {
        tracing::warn!(
            "these brokers have no topic ids: a topic made anew is noticed by its end only"
        );
    }
    Ok(Topics {
        partitions: count(&config.events_topic),
        source_partitions: count(&config.sources_topic),
        events_id,
        cluster: asker.client().fetch_cluster_id(ANSWER).unwrap_or_default(),
    })
}

/// Every topic with its partitions. Brokers that are just starting are waited for.
fn all_topics(
    config: &KafkaLogConfig,
    asker: &BaseConsumer<Ears>,
) -> Result<BTreeMap<String, u32>, LogError> {
    let since = Instant::now();
    loop {
        match asker.fetch_metadata(None, ANSWER) {
            Ok(metadata) => {
                let count = |topic: &rdkafka::metadata::MetadataTopic| {
                    u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX)
                };
                let found = metadata.topics().iter().filter(|topic| topic.error().is_none());
                return Ok(found.map(|topic| (topic.name().to_owned(), count(topic))).collect());
            }
            Err(error) => {
                // What went wrong comes to our ears in a poll.
                drop(asker.poll(LISTEN));
                if let Some(refused) = asker.context().refused() {
                    return Err(brokers(config, &refused));
                }
                if since.elapsed() > START_WAIT {
                    // A broker that wants a certificate may hang up without a word.
                    let tls = match config.security_protocol.has_tls() {
                        true => "; check ssl_ca, ssl_certificate and ssl_key",
                        false => "",
                    };
                    let what = format!(
                        "{error}; nobody answered for {} s: check `brokers` and whether they run{tls}",
                        START_WAIT.as_secs()
                    );
                    return Err(brokers(config, &what));
                }
                tracing::warn!(%error, "brokers do not answer, trying on");
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

fn create(
    config: &KafkaLogConfig,
    admin: &AdminClient<Ears>,
    wanted: &Wanted<'_>,
) -> Result<(), LogError> {
    let replicas = config.replicas.map_or(-1, i32::from);
    let partitions = i32::try_from(wanted.partitions).unwrap_or(i32::MAX);
    let mut topic = NewTopic::new(wanted.topic, partitions, TopicReplication::Fixed(replicas));
    for (key, value) in &wanted.settings {
        topic = topic.set(key, value);
    }
    let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
    let made = block_on(admin.create_topics([&topic], &options));
    let refuse = |why: &dyn std::fmt::Display| LogError::Topic {
        topic: wanted.topic.to_owned(),
        what: format!(
            "it is not there and cannot be made: {why}; make it with {} partitions and these settings: \
             {:?}",
            wanted.partitions, wanted.settings
        ),
    };
    match made.map_err(|error| refuse(&error))?.into_iter().next() {
        Some(Ok(_)) => {
            let (topic, partitions) = (wanted.topic, wanted.partitions);
            tracing::info!(topic, partitions, "topic made");
            Ok(())
        }
        // Another process of ours was quicker.
        Some(Err((_, Code::TopicAlreadyExists))) | None => Ok(()),
        Some(Err((_, code))) => Err(refuse(&code)),
    }
}

/// How many partitions a topic has, once the brokers know it.
fn partitions(
    config: &KafkaLogConfig,
    asker: &BaseConsumer<Ears>,
    name: &str,
) -> Result<u32, LogError> {
    let since = Instant::now();
    loop {
        let found = all_topics(config, asker)?.remove(name).filter(|partitions| *partitions > 0);
        match found {
            Some(partitions) => return Ok(partitions),
            None if since.elapsed() > MADE_WAIT => {
                let what = "made, and not known to the brokers yet; start again".to_owned();
                return Err(LogError::Topic { topic: name.to_owned(), what });
            }
            None => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn check(
    config: &KafkaLogConfig,
    admin: &AdminClient<Ears>,
    wanted: &Wanted<'_>,
    partitions: u32,
) -> Result<(), LogError> {
    let name = wanted.topic;
    let refuse = |what: String| Err(LogError::Topic { topic: name.to_owned(), what });
    if wanted.is_single && partitions != 1 {
        return refuse(format!(
            "it has {partitions} partitions and must have one: what it holds has one order; take \
             another name, or make it anew"
        ));
    }
    let specifier = ResourceSpecifier::Topic(name);
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let told = block_on(admin.describe_configs([&specifier], &options))
        .map_err(|error| error.rdkafka_error_code().unwrap_or(Code::Fail))
        .and_then(|found| found.into_iter().next().unwrap_or(Err(Code::Fail)));
    let settings = match told {
        Ok(settings) => settings,
        Err(code) => {
            tracing::warn!(topic = name, %code, "settings of the topic are not told, not checked");
            return Ok(());
        }
    };
    let value = |key: &str| settings.get(key).and_then(|entry| entry.value.as_deref());
    let policy = value("cleanup.policy").unwrap_or_default();
    if wanted.is_compacted && !policy.is_empty() && policy != "compact" {
        return refuse(format!(
            "cleanup.policy is {policy:?} and must be \"compact\": without it positions are lost with \
             time; set it, or delete the topic if it is empty"
        ));
    }
    if !wanted.is_compacted && policy.contains("compact") {
        return refuse(format!("cleanup.policy is {policy:?} and must be \"delete\"; set it"));
    }
    let time = value("message.timestamp.type").unwrap_or("LogAppendTime");
    if wanted.has_append_time && time != "LogAppendTime" {
        return refuse(format!(
            "message.timestamp.type is {time:?} and must be \"LogAppendTime\": log time is the time of \
             the append; set it before the first start"
        ));
    }
    let needed = u64::from(config.message_bytes_max) + u64::from(OVERHEAD_BYTES);
    match value("max.message.bytes").and_then(|value| value.parse::<u64>().ok()) {
        Some(room) if room < needed => refuse(format!(
            "max.message.bytes is {room}, [kafka] message_bytes_max needs {needed}; raise the one or \
             lower the other"
        )),
        _ => Ok(()),
    }
}
