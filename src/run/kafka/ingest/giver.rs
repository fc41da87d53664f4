//! The giver: what the member of the group does with shares that come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::ingest::live::{Order, positions_of};
use ::ingest::log::kafka::config::KafkaLogConfig;
use ::ingest::log::kafka::member::Holder;
use ::ingest::log::kafka::publisher::is_of_process;
use ::ingest::log::kafka::shares::{Shares, read_shares};
use ::ingest::source::kafka::{Owned, Parted};
use schemas::log::{LogError, Position};
use schemas::tables::Text;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Belongs, RunError, Shared, Sources, World, locked};
use crate::run::sources::by_partition;

/// How long a source may take to see that partitions went.
const SEEN: Duration = Duration::from_secs(60);

/// One source that reads its part of topics.
struct Topics {
    owned: watch::Sender<Owned>,
    seen: watch::Receiver<u64>,
}

/// Gives inputs to the intake and takes them back.
pub(super) struct Giver {
    kafka: KafkaLogConfig,
    shares: Shares,
    orders: mpsc::Sender<Order>,
    owned: BTreeSet<u32>,
    /// Where what came goes on, until every reader of topics has seen it.
    positions: BTreeMap<Text, Position>,
    number: u64,
    topics: BTreeMap<String, Topics>,
    /// Share of each source that runs where its share is.
    whole: BTreeMap<String, u32>,
    at_work: Option<(Shared, Handle)>,
}

impl Giver {
    /// A giver that owns nothing. Sources of topics are started, and read nothing yet.
    pub(super) fn new(
        world: &World,
        shares: &Shares,
        orders: mpsc::Sender<Order>,
        sources: &mut Sources,
    ) -> Result<Self, RunError> {
        let mut topics = BTreeMap::new();
        for name in sources.that(Belongs::Parted) {
            let (owned, owning) = watch::channel(Owned::default());
            let (seeing, seen) = watch::channel(0);
            let (input, of) = (name.clone(), shares.clone());
            let share_of =
                Arc::new(move |topic: &str, partition| of.of_partition(&input, topic, partition));
            let parted = Parted { owned: owning, seen: seeing, share_of };
            sources.start(&name, &BTreeMap::new(), Some(parted))?;
            topics.insert(name, Topics { owned, seen });
        }
        let whole = sources.that(Belongs::Share).into_iter();
        let whole = whole.map(|name| {
            let share = shares.of_input(&name);
            (name, share)
        });
        Ok(Self {
            kafka: world.config.kafka.clone(),
            shares: shares.clone(),
            orders,
            owned: BTreeSet::new(),
            positions: BTreeMap::new(),
            number: 0,
            topics,
            whole: whole.collect(),
            at_work: None,
        })
    }

    /// From here on sources are started and stopped.
    pub(super) fn begin(&mut self, sources: Shared, runtime: Handle) {
        self.at_work = Some((sources, runtime));
    }

    /// Another way to the intake.
    pub(super) fn orders(&self) -> mpsc::Sender<Order> {
        self.orders.clone()
    }

    /// Sources that run where these shares are.
    fn whole_in(&self, shares: &BTreeSet<u32>) -> BTreeSet<String> {
        let inside = self.whole.iter().filter(|(_, share)| shares.contains(*share));
        inside.map(|(name, _)| name.clone()).collect()
    }

    /// Tells the intake, and waits until it has done it.
    fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) -> Result<(), LogError> {
        let (done, answered) = oneshot::channel();
        self.orders.blocking_send(order(done)).map_err(|_| LogError::Closed)?;
        answered.blocking_recv().map_err(|_| LogError::Closed)
    }

    /// Tells the readers of topics what is ours, and where what came goes on: all that one may not
    /// have seen yet.
    fn part(&mut self, came: &BTreeMap<Text, Position>) {
        if self.topics.values().all(|topics| *topics.seen.borrow() >= self.number) {
            self.positions.clear();
        }
        let came = came.iter().map(|(key, position)| (Text::clone(key), position.clone()));
        self.positions.extend(came);
        self.number += 1;
        for (name, topics) in &self.topics {
            let (places, _) = positions_of(&self.positions, name);
            topics.owned.send_replace(Owned {
                number: self.number,
                shares: self.owned.clone(),
                positions: by_partition(&places),
            });
        }
    }

    /// Waits until no reader of topics tells anything any more of what went.
    fn wait_until_seen(&mut self, runtime: &Handle) -> Result<(), LogError> {
        let number = self.number;
        for (name, topics) in &mut self.topics {
            let seen = topics.seen.wait_for(|seen| *seen >= number);
            match runtime.block_on(async { tokio::time::timeout(SEEN, seen).await }) {
                // One that has ended tells nothing either.
                Ok(Ok(_) | Err(_)) => {}
                Err(_) => {
                    tracing::error!(source = name, "source does not give up its partitions");
                    return Err(LogError::Closed);
                }
            }
        }
        Ok(())
    }
}

impl Holder for Giver {
    fn given(&mut self, partitions: &BTreeSet<u32>) -> Result<(), LogError> {
        let Some((sources, _)) = self.at_work.clone() else { return Err(LogError::Closed) };
        let shares: Vec<u32> = partitions.iter().copied().collect();
        let mut positions = read_shares(&self.kafka, &shares)?;
        positions.retain(|key, _| !is_of_process(key));
        let names = self.whole_in(partitions);
        let inputs = names.iter().map(|name| name.as_str().into()).collect();
        let known = positions.clone();
        self.order(|done| Order::Given { inputs, positions: known, done })?;
        self.owned.extend(partitions);
        self.part(&positions);
        for name in names {
            if let Err(error) = locked(&sources).start(&name, &positions, None) {
                // What the configuration has wrong was told when it was read: this may pass.
                tracing::error!(source = name, %error, "source not started");
                return Err(LogError::Closed);
            }
        }
        Ok(())
    }

    fn taken(&mut self, partitions: &BTreeSet<u32>) -> Result<(), LogError> {
        let Some((sources, runtime)) = self.at_work.clone() else { return Err(LogError::Closed) };
        self.owned.retain(|share| !partitions.contains(share));
        self.positions.retain(|key, _| !partitions.contains(&self.shares.of_key(key)));
        self.part(&BTreeMap::new());
        let names = self.whole_in(partitions);
        let ending = locked(&sources).stop(&names);
        self.wait_until_seen(&runtime)?;
        for ended in ending {
            let _ = ended.blocking_recv();
        }
        let inputs = names.iter().map(|name| name.as_str().into()).collect();
        let (shares, gone) = (self.shares.clone(), partitions.clone());
        let keys = move |key: &str| !is_of_process(key) && gone.contains(&shares.of_key(key));
        self.order(|done| Order::Taken { inputs, keys: Box::new(keys), done })
    }
}
