//! Orders: how inputs come and go where several processes write one log.
//!
//! An input that comes brings the positions of its streams, as the one before left them. One that goes
//! takes nothing with it: what it said is in the log, with its positions, when the order is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::log::{LogError, Position, Publisher};
use schemas::registry::Registry;
use schemas::tables::Text;
use schemas::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::Live;
use crate::log::embedded::EmbeddedWriter;
use crate::log::kafka::publisher::KafkaPublisher;
use crate::source::live::Arrival;

/// Which keys of positions are meant.
pub type Keys = Box<dyn Fn(&str) -> bool + Send>;

/// One order.
pub enum Order {
    /// These are ours now.
    Given {
        /// Inputs that are ours as a whole.
        inputs: Vec<Text>,
        /// Where the streams are that came.
        positions: BTreeMap<Text, Position>,
        /// Answered once they are known.
        done: oneshot::Sender<()>,
    },
    /// These are another's soon. Their sources have said their last word.
    Taken {
        /// Inputs that were ours as a whole.
        inputs: Vec<Text>,
        /// The streams that go.
        keys: Keys,
        /// Answered once all that they said is in the log.
        done: oneshot::Sender<()>,
    },
    /// From here on this version of the registry counts.
    Registry(Arc<Registry>),
}

/// Where orders come from.
pub type Orders = mpsc::Receiver<Order>;

/// A log that an intake writes.
pub trait LiveLog: Publisher {
    /// These positions are in the log, and move by our hand from here on.
    fn know(&mut self, _positions: &BTreeMap<Text, Position>) {}

    /// These are another's.
    fn forget(&mut self, _keys: &dyn Fn(&str) -> bool) {}
}

impl LiveLog for EmbeddedWriter {}

impl LiveLog for KafkaPublisher {
    fn know(&mut self, positions: &BTreeMap<Text, Position>) {
        Self::know(self, positions);
    }

    fn forget(&mut self, keys: &dyn Fn(&str) -> bool) {
        Self::forget(self, keys);
    }
}

impl<C: Fn() -> Timestamp, W: LiveLog> Live<C, W> {
    /// Does what is ordered.
    pub(super) fn obey(
        &mut self,
        order: Order,
        arrivals: &mut mpsc::Receiver<Arrival>,
    ) -> Result<(), LogError> {
        // What was said before the order was given goes before it.
        for _ in 0..arrivals.len() {
            let Ok(arrival) = arrivals.try_recv() else { break };
            self.inputs.take(arrival, self.now, &mut self.intake, &mut self.moved)?;
        }
        match order {
            Order::Given { inputs, positions, done } => {
                self.writer.know(&positions);
                self.inputs.give(
                    &inputs,
                    positions,
                    self.now,
                    &mut self.intake,
                    &mut self.moved,
                )?;
                self.append()?;
                // Whoever gave the order may be gone by now.
                let _ = done.send(());
            }
            Order::Taken { inputs, keys, done } => {
                self.inputs.hand_over(&keys, self.now, &mut self.intake, &mut self.moved)?;
                self.append()?;
                self.inputs.take_away(&inputs, &keys);
                self.writer.forget(&keys);
                let _ = done.send(());
            }
            Order::Registry(registry) => {
                let version = registry.version;
                tracing::info!(version, "another version of the registry counts");
                self.intake.enter(registry)?;
            }
        }
        Ok(())
    }
}
