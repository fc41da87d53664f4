//! Samples: matched ones in, records of the log out, each in the shard of the connection that counts it.
//!
//! A sample that is further ahead of log time than a clock may be is quarantined here, because log
//! time is known here: one bad clock opens no window in the future.

use std::sync::Arc;

use schemas::batch::{Account, SampleEvent};
use schemas::log::LogError;
use schemas::registry::Registry;
use schemas::time::Timestamp;

use crate::batcher::Outlet;
use crate::intake::Intake;
use crate::source::rtt_body::Samples;

/// How far ahead of log time a sample may be.
const AHEAD_SECS_MAX: i64 = 60;
/// Reason of samples that are further ahead.
const CLOCK_AHEAD: &str = "clock_ahead";

/// Whether a sample's time is one that a clock can tell now.
pub(super) const fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.micros() > now.plus_secs(AHEAD_SECS_MAX).micros()
}

/// Places samples; what became of them.
pub(super) fn place<O: Outlet>(
    samples: &Samples,
    input: u32,
    now: Timestamp,
    intake: &mut Intake<O>,
) -> Result<Account, LogError> {
    let registry = Arc::clone(intake.registry());
    let partitions = intake.batcher.partitions();
    let owners: Vec<_> =
        samples.owners.iter().map(|(_, ids)| known(ids, samples, &registry)).collect();
    let mut account = samples.account.clone();
    let (mut ahead, mut gone) = (0, 0);
    for row in &samples.rows {
        let Some(ids) = owners.get(row.owners as usize).filter(|ids| !ids.is_empty()) else {
            gone += 1;
            continue;
        };
        let Some((prefix, _)) = samples.owners.get(row.owners as usize) else { continue };
        let Some(source) = samples.sources.get(row.source as usize) else { continue };
        if is_ahead(row.time, now) {
            ahead += 1;
            continue;
        }
        for connection in ids {
            let partition = registry.shard(*connection, partitions);
            intake.batcher.append(partition, now, |place| {
                let sample = SampleEvent {
                    event_time: row.time,
                    connection: *connection,
                    prefix: *prefix,
                    source: place.source(source),
                    input,
                    rtt_us: row.rtt_us,
                    statistic: row.statistic,
                };
                place.sample(sample)
            })?;
        }
    }
    account.accepted = account.accepted.saturating_sub(ahead + gone);
    account.unmatched += gone;
    quarantine(&mut account, ahead);
    Ok(account)
}

/// Counts samples that are too far ahead.
pub(super) fn quarantine(account: &mut Account, ahead: u64) {
    account.quarantined += ahead;
    count(account, CLOCK_AHEAD, ahead);
}

/// The connections by the numbers of the registry in force: samples may have been matched by another
/// version of it.
fn known(ids: &[u32], samples: &Samples, registry: &Arc<Registry>) -> Vec<u32> {
    if Arc::ptr_eq(&samples.registry, registry) {
        return ids.to_vec();
    }
    let matched = ids.iter().filter_map(|id| samples.registry.connection(*id));
    matched.filter_map(|connection| registry.id_of(&connection.name)).collect()
}

/// Counts a reason.
pub(super) fn count(account: &mut Account, reason: &str, more: u64) {
    if more == 0 {
        return;
    }
    match account.reasons.iter_mut().find(|(known, _)| known == reason) {
        Some((_, count)) => *count += more,
        None => account.reasons.push((reason.to_owned(), more)),
    }
}

/// Adds the counts of one account to another.
pub(super) fn add(account: &mut Account, more: &Account) {
    account.read += more.read;
    account.accepted += more.accepted;
    account.unmatched += more.unmatched;
    account.quarantined += more.quarantined;
    account.refused += more.refused;
    more.reasons.iter().for_each(|(reason, more)| count(account, reason, *more));
}
