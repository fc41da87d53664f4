//! What is appended is what is read.

use std::sync::Arc;

use schemas::batch::{Content, Control, EventBatch};
use schemas::batch_ipc;
use schemas::log::{Append, Position, Publisher as _};
use schemas::time::Timestamp;

use super::support::{Folder, Ledger, Log, Writer, until};
use crate::kafka::access::SecurityProtocol;
use crate::log::kafka::config::KafkaLogConfig;
use crate::log::kafka::topics;

/// A batch of many control records, a different one for each number.
fn large(partition: u32, number: u32, records: u32) -> EventBatch {
    let mut batch = EventBatch::starting(partition, 0, true);
    batch.sources.push(format!("source-{number}").into());
    for at in 0..records {
        batch.controls.push(Control::FeedGap {
            source: 0,
            collector: None,
            started_at: Timestamp(at.into()),
            ended_at: None,
            reason: format!("{number} {at} {}", "x".repeat(500)).into(),
            lost: Some(number.into()),
        });
        batch.append(Timestamp(5), Content::Control(at));
    }
    batch
}

/// What the log stores of a batch: its bytes without its place and its time.
fn content(batch: &EventBatch) -> Vec<u8> {
    let mut batch = batch.clone();
    batch.place(0, 1, Timestamp(0));
    let mut bytes = Vec::new();
    batch_ipc::encode(&batch, &mut bytes).unwrap();
    bytes
}

pub(super) fn what_was_appended_is_read_back(log: &Log<'_>) {
    let mut writer = Writer::start(log, "one", 4);
    let mut wanted = vec![Vec::new(); 3];
    for number in 0..40 {
        let batches: Vec<_> = (0..3).map(|p| large(p, number * 3 + p, 1 + number % 5)).collect();
        for batch in &batches {
            wanted[batch.partition as usize].push(content(batch));
        }
        let position = Position { next_offset: number.into(), ..Position::default() };
        let positions = vec![("rtt\nprobes-1".into(), position)];
        let append = Append { log_time: Timestamp(number.into()), batches, positions };
        writer.publisher.append(&append).unwrap();
        writer.publisher.sync().unwrap();
    }
    // One that is cut: what it says comes back in pieces, in order.
    let whole = large(1, 7_777, 8_000);
    let batches = vec![whole.clone()];
    let append = Append { log_time: Timestamp(0), batches, positions: Vec::new() };
    writer.publisher.append(&append).unwrap();
    writer.publisher.sync().unwrap();
    assert!(writer.counts.cut.get() >= 4, "{}", writer.counts.cut.get());
    assert_eq!((writer.counts.transactions.get(), writer.counts.aborted.get()), (41, 0));
    writer.stop().unwrap();

    let ledger = Arc::<Ledger>::default();
    let folder = Folder::start(log, "one", &ledger);
    until("everything is read", || ledger.caught_up.lock().unwrap().len() == 3);
    folder.stop().unwrap();
    let heard = ledger.heard.lock().unwrap();
    for (partition, wanted) in (0..).zip(&wanted) {
        let found = &heard[&partition];
        let told: Vec<_> = found.iter().map(|(_, batch)| content(batch)).collect();
        assert_eq!(told[..wanted.len()], wanted[..], "partition {partition}");
        assert!(found.is_sorted_by_key(|(end, _)| *end));
        let (end, batch) = &found[5];
        assert_eq!((batch.end_offset(), batch.first_offset + 1), (*end, *end));
        let times: Vec<_> = found.iter().filter_map(|(_, batch)| batch.log_times()).collect();
        assert!(times.is_sorted() && times[0].0 > Timestamp::from_secs(1_600_000_000), "log time");
        assert!(times.iter().all(|(first, last)| first == last));
    }
    let pieces = &heard[&1][wanted[1].len()..];
    let said: Vec<_> = pieces.iter().flat_map(|(_, batch)| &batch.controls).collect();
    assert_eq!(format!("{said:?}"), format!("{:?}", whole.controls.iter().collect::<Vec<_>>()));
    assert!(ledger.failures.lock().unwrap().is_empty());
    assert!(ledger.owners.lock().unwrap().is_empty(), "every fold finished");
}

pub(super) fn topics_that_do_not_fit_are_refused(log: &Log<'_>) {
    let topics = log.topics();
    assert_eq!((topics.partitions, topics.source_partitions), (2, 4));
    assert!(topics.events_id.is_some());
    assert_eq!(log.topics(), topics, "they are there now");
    let identity = topics.identity(&log.config);
    assert!(identity.starts_with("kafka/") && identity.ends_with("/2"), "{identity}");
    let refuse = |change: &dyn Fn(&mut KafkaLogConfig)| {
        let mut config = log.config.clone();
        change(&mut config);
        topics::ensure(&config).unwrap_err().to_string()
    };
    // Each topic in the place of another one.
    let told = refuse(&|config| config.events_topic = log.config.sources_topic.clone());
    assert!(told.contains("cleanup.policy") && told.contains("\"delete\""), "{told}");
    let told = refuse(&|config| config.sources_topic = log.config.summaries_topic.clone());
    assert!(told.contains("must be \"compact\""), "{told}");
    let told = refuse(&|config| config.events_topic = log.config.summaries_topic.clone());
    assert!(told.contains("LogAppendTime"), "{told}");
    let told = refuse(&|config| config.summaries_topic = log.config.events_topic.clone());
    assert!(told.contains("must have one"), "{told}");
    let told = refuse(&|config| config.message_bytes_max = 2_000_000);
    assert!(told.contains("max.message.bytes is 1040000"), "{told}");
}

/// The log through SASL and through mTLS; a wrong password, and no certificate, say what to check.
pub(super) fn brokers_that_ask_who_we_are_are_answered(log: &Log<'_>) {
    let tls = log.broker.folder.join("tls");
    let password_file = log.broker.folder.join("log-password");
    std::fs::write(&password_file, "loopback-only\n").unwrap();
    let sasl = KafkaLogConfig {
        brokers: vec![format!("127.0.0.1:{}", log.broker.port + 1)],
        security_protocol: SecurityProtocol::SaslSsl,
        sasl_mechanism: Some("SCRAM-SHA-512".to_owned()),
        username: Some("peerscope".to_owned()),
        password_file: Some(password_file.clone()),
        ssl_ca: Some(tls.join("ca.pem")),
        ..log.config.clone()
    };
    let mutual = KafkaLogConfig {
        brokers: vec![format!("127.0.0.1:{}", log.broker.port + 3)],
        security_protocol: SecurityProtocol::Ssl,
        ssl_ca: Some(tls.join("ca.pem")),
        ssl_certificate: Some(tls.join("client.pem")),
        ssl_key: Some(tls.join("client.key")),
        ..log.config.clone()
    };
    for (number, config) in (0..).zip([sasl.clone(), mutual.clone()]) {
        assert_eq!(config.check(), Ok(()));
        let secure = Log { broker: log.broker, config };
        let mut writer = Writer::start(&secure, "one", 4);
        writer.append(&[(0, number)], "rtt\nload-0", 1).unwrap();
        writer.stop().unwrap();
    }
    let ledger = Arc::<Ledger>::default();
    let folder = Folder::start(&Log { broker: log.broker, config: mutual.clone() }, "one", &ledger);
    until("both are read", || ledger.count() == 2);
    folder.stop().unwrap();

    std::fs::write(&password_file, "wrong").unwrap();
    let told = topics::ensure(&sasl).unwrap_err().to_string();
    assert!(told.contains("check sasl_mechanism, username and password_file"), "{told}");
    let nameless = KafkaLogConfig { ssl_certificate: None, ssl_key: None, ..mutual };
    let told = topics::ensure(&nameless).unwrap_err().to_string();
    assert!(told.contains("check ssl_ca, ssl_certificate and ssl_key"), "{told}");
}
