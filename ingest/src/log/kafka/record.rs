//! Records: a batch as message payloads that the brokers take, and back.
//!
//! A batch whose bytes are too many is cut in two, again and again. A single record that is still too
//! long, such as a version of a large registry, is compressed by itself: brokers bound what a client
//! hands over before compression.

use schemas::batch::EventBatch;
use schemas::batch_ipc::{self, BatchError};
use schemas::log::LogError;

/// First byte of a payload that is compressed; no version of the encoding has it.
const COMPRESSED: u8 = 0xff;
/// Bytes of a payload that is compressed, unpacked, at most.
const UNPACKED_BYTES_MAX: usize = 256 << 20;
/// How hard a long record is compressed: it is one in a while.
const LEVEL: i32 = 3;

/// A batch as payloads, in order, each at most `bytes_max` long. How often it was cut.
///
/// # Errors
/// [`LogError::Topic`] for a single record that does not fit, with its remedy.
pub(super) fn encode(
    batch: &EventBatch,
    topic: &str,
    bytes_max: usize,
    into: &mut Vec<(u32, Vec<u8>)>,
) -> Result<u64, LogError> {
    let mut payload = Vec::new();
    let refuse = |what: String| LogError::Topic { topic: topic.to_owned(), what };
    batch_ipc::encode(batch, &mut payload).map_err(|error| refuse(error.to_string()))?;
    if payload.len() <= bytes_max {
        into.push((batch.partition, payload));
        return Ok(0);
    }
    if let Some((first, second)) = batch.halves() {
        let cut = encode(&first, topic, bytes_max, into)?;
        return Ok(1 + cut + encode(&second, topic, bytes_max, into)?);
    }
    let plain = payload.len();
    let packed =
        zstd::bulk::compress(&payload, LEVEL).map_err(|error| refuse(error.to_string()))?;
    payload.clear();
    payload.push(COMPRESSED);
    payload.extend(packed);
    if payload.len() > bytes_max || plain > UNPACKED_BYTES_MAX {
        let what = format!(
            "one record has {} bytes, compressed, and [kafka] message_bytes_max is {bytes_max}; raise \
             it and max.message.bytes of the topic",
            payload.len()
        );
        return Err(refuse(what));
    }
    into.push((batch.partition, payload));
    Ok(0)
}

/// The batch that a payload is.
///
/// # Errors
/// [`BatchError`] if it is none.
pub(super) fn decode(payload: &[u8]) -> Result<EventBatch, BatchError> {
    match payload.split_first() {
        Some((&COMPRESSED, packed)) => {
            let plain = zstd::bulk::decompress(packed, UNPACKED_BYTES_MAX)
                .map_err(|_| BatchError::Malformed { what: "compression" })?;
            batch_ipc::decode(&plain)
        }
        _ => batch_ipc::decode(payload),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::batch::{Content, Control};
    use schemas::registry::Registry;
    use schemas::time::Timestamp;

    use super::*;

    fn ticks(count: u32) -> EventBatch {
        let mut batch = EventBatch::starting(3, 0, true);
        for at in 0..count {
            let inputs = (0..100).collect();
            batch.controls.push(Control::Tick { inputs, until: Timestamp(at.into()) });
            batch.append(Timestamp(1), Content::Control(at));
        }
        batch
    }

    #[test]
    fn a_long_batch_is_cut_and_comes_back_in_order() {
        let mut payloads = Vec::new();
        let cut = encode(&ticks(1000), "t", 5_000, &mut payloads).unwrap();
        assert_eq!(payloads.len() as u64, cut + 1);
        assert!(cut > 10 && payloads.iter().all(|(_, payload)| payload.len() <= 5_000));
        let mut wanted = 0;
        for (partition, payload) in &payloads {
            assert_eq!(*partition, 3);
            for control in decode(payload).unwrap().controls {
                let Control::Tick { until, .. } = control else { panic!("{control:?}") };
                assert_eq!(until, Timestamp(wanted));
                wanted += 1;
            }
        }
        assert_eq!(wanted, 1000);
    }

    #[test]
    fn a_record_that_cannot_be_cut_is_compressed_or_refused() {
        let connection = |n: u32| -> schemas::connection::Connection {
            let prefix = std::net::Ipv4Addr::from(n << 8);
            let text = format!(r#"{{"name":"connection-{n}","prefixes":["{prefix}/24"]}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let registry = Registry::new(7, (0x0b_0000..0x0b_0400).map(connection).collect(), vec![]);
        let registry = Arc::new(registry.unwrap());
        let mut batch = EventBatch::starting(0, 0, true);
        batch.controls.push(Control::Registry { registry, settings: None });
        batch.append(Timestamp(1), Content::Control(0));
        let mut payloads = Vec::new();
        assert_eq!(encode(&batch, "t", 65_536, &mut payloads).unwrap(), 0);
        let (_, payload) = payloads.pop().unwrap();
        assert_eq!(payload[0], COMPRESSED);
        let back = decode(&payload).unwrap();
        let Control::Registry { registry, .. } = &back.controls[0] else { panic!() };
        assert_eq!((registry.version, registry.connections().len()), (7, 1024));
        let told = encode(&batch, "t", 1_000, &mut payloads).unwrap_err().to_string();
        assert!(told.contains("raise it and max.message.bytes"), "{told}");
        assert!(decode(&payload[..payload.len() / 2]).is_err());
        assert!(decode(&[COMPRESSED]).is_err() && decode(&[]).is_err());
    }
}
