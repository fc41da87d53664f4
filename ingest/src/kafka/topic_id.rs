//! Topic ids: a cluster and a topic's name in, the id of that topic out (KIP-516).
//!
//! A topic that was deleted and made anew has the old name and other offsets; its id tells. `rdkafka`
//! has no call for it, so librdkafka is asked itself: an unsafe place, and the only one that speaks to
//! it. Each pointer is owned by the frame that made it, and nothing of them leaves this file.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use serde::{Deserialize, Serialize};

/// The id of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicId(u128);

impl TopicId {
    /// An id out of its digits, as [`std::fmt::Display`] writes it.
    #[must_use]
    pub fn parse(digits: &str) -> Option<Self> {
        u128::from_str_radix(digits, 16).ok().map(Self)
    }
}

impl std::fmt::Display for TopicId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Asks for the id of a topic; none from brokers that have no ids.
///
/// # Errors
/// What the brokers answer, [`RDKafkaErrorCode::UnknownTopicOrPartition`] for a topic that is not there.
pub fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<TopicId>, RDKafkaErrorCode> {
    match described(client, &[topic], timeout) {
        Err(RDKafkaErrorCode::UnsupportedFeature) => Ok(None),
        described => match described?.into_iter().next() {
            Some((_, id)) => Ok(TopicId::of(id?)),
            None => Err(RDKafkaErrorCode::UnknownTopicOrPartition),
        },
    }
}

/// Asks for the ids of topics, by their names: of those that are there, and have one.
///
/// # Errors
/// What the brokers answer, if they answer for none of them.
pub fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    timeout: Duration,
) -> Result<BTreeMap<String, TopicId>, RDKafkaErrorCode> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    match described(client, topics, timeout) {
        Err(RDKafkaErrorCode::UnsupportedFeature) => Ok(BTreeMap::new()),
        described => Ok(described?
            .into_iter()
            .filter_map(|(name, id)| Some((name, TopicId::of(id.ok()?)?)))
            .collect()),
    }
}

impl TopicId {
    /// A topic of a broker without ids has none of its own.
    const fn of(id: u128) -> Option<Self> {
        if id == 0 { None } else { Some(Self(id)) }
    }
}

fn described<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    timeout: Duration,
) -> Result<Vec<native::Described>, RDKafkaErrorCode> {
    let names = topics.iter().map(|topic| CString::new(*topic)).collect::<Result<Vec<_>, _>>();
    let names = names.map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
    native::describe(client, &names, i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))
}

#[allow(unsafe_code, reason = "rdkafka has no safe call that tells a topic's id")]
mod native {
    use std::ffi::{CStr, CString};
    use std::{ptr, slice};

    use rdkafka::bindings as sys;
    use rdkafka::client::{Client, ClientContext};
    use rdkafka::error::RDKafkaErrorCode;
    use rdkafka::types::RDKafkaRespErr;

    /// A pointer and the call that gives it back.
    struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

    impl<T> Drop for Owned<T> {
        fn drop(&mut self) {
            if !self.0.is_null() {
                // SAFETY: it came from the call that belongs to this one, and is given back once.
                unsafe { (self.1)(self.0) }
            }
        }
    }

    /// A topic's name, and the two halves of its id as one number: 0 where it has none.
    pub(super) type Described = (String, Result<u128, RDKafkaErrorCode>);

    /// What the brokers say of each topic.
    pub(super) fn describe<C: ClientContext>(
        client: &Client<C>,
        names: &[CString],
        timeout_ms: i32,
    ) -> Result<Vec<Described>, RDKafkaErrorCode> {
        let rk = client.native_ptr();
        let mut names: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: `rk` lives as long as `client`, `names` longer than the call, which copies it; the
        // options and the queue are of this client. Each is checked before it is used.
        let (queue, options, topics) = unsafe {
            let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
            (
                Owned(sys::rd_kafka_queue_new(rk), sys::rd_kafka_queue_destroy),
                Owned(sys::rd_kafka_AdminOptions_new(rk, op), sys::rd_kafka_AdminOptions_destroy),
                Owned(
                    sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
                    sys::rd_kafka_TopicCollection_destroy,
                ),
            )
        };
        if queue.0.is_null() || options.0.is_null() || topics.0.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        // SAFETY: all four are alive; the answer comes to the queue, which outlives it.
        let event = unsafe {
            let (no_text, no_bytes) = (ptr::null_mut(), 0);
            let set = sys::rd_kafka_AdminOptions_set_request_timeout;
            set(options.0, timeout_ms, no_text, no_bytes);
            sys::rd_kafka_DescribeTopics(rk, topics.0, options.0, queue.0);
            let wait_ms = timeout_ms.saturating_add(1000);
            Owned(sys::rd_kafka_queue_poll(queue.0, wait_ms), sys::rd_kafka_event_destroy)
        };
        if event.0.is_null() {
            return Err(RDKafkaErrorCode::OperationTimedOut);
        }
        // SAFETY: the event is alive until the end, and so is what lies in it, which is as long as the
        // result says.
        unsafe {
            let error = sys::rd_kafka_event_error(event.0);
            if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(error.into());
            }
            let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
            let mut count = 0;
            let found = match result.is_null() {
                true => return Err(RDKafkaErrorCode::Fail),
                false => sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count),
            };
            if found.is_null() {
                return Ok(Vec::new());
            }
            Ok(slice::from_raw_parts(found, count).iter().map(|topic| one(*topic)).collect())
        }
    }

    /// # Safety
    /// `topic` is a description of a result that is alive.
    unsafe fn one(topic: *const sys::rd_kafka_TopicDescription_t) -> Described {
        // SAFETY: what lies in a description is alive as long as it is; its name is never null.
        unsafe {
            let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic));
            let error = sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(topic));
            let id = sys::rd_kafka_TopicDescription_topic_id(topic);
            let id = if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                Err(error.into())
            } else if id.is_null() {
                Ok(0)
            } else {
                let most = sys::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
                let least = sys::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
                Ok(u128::from(most) << 64 | u128::from(least))
            };
            (name.to_string_lossy().into_owned(), id)
        }
    }
}
