//! The chains of one partition: a table each.

use std::collections::BTreeMap;

use schemas::tables;

use super::{Committed, Folding};
use crate::lake::LakeError;
use crate::lake::chain::{Chain, ChainName, ChainState, Position};
use crate::lake::heads::head;
use crate::shard::Shard;

/// Opens the chain of a table where the lake's files of it end.
pub(super) fn open_chain<R: tables::Row>(
    table: tables::Table,
    folding: &Folding,
    name: ChainName,
) -> Result<Chain<R>, LakeError> {
    let head = head(&folding.store, table.name, &name.log, name.partition)?;
    Ok(Chain::new(table, &folding.store, name, head))
}

/// Declares the chains of one partition: a table each.
macro_rules! chains {
    ($( $field:ident: $table:ident, $row:ident; )+) => {
        /// The chains of one partition.
        pub(super) struct Chains { $( $field: Chain<tables::$row>, )+ }

        impl Chains {
            pub(super) fn open(folding: &Folding, partition: u32) -> Result<Self, LakeError> {
                let name = || ChainName { log: folding.log_name.clone(), partition };
                Ok(Self { $( $field: open_chain(tables::$table, folding, name())?, )+ })
            }

            /// Goes on behind a snapshot. A table that it does not know begins there.
            pub(super) fn resume(
                &mut self,
                states: &BTreeMap<String, ChainState>,
            ) -> Result<(), LakeError> {
                $( if let Some(state) = states.get(stringify!($field)) {
                    self.$field.resume(*state)?;
                } )+
                Ok(())
            }

            pub(super) fn states(&self) -> BTreeMap<String, ChainState> {
                BTreeMap::from([ $( (stringify!($field).to_owned(), self.$field.state()), )+ ])
            }

            pub(super) fn take(
                &mut self,
                shard: &mut Shard,
                position: Position,
            ) -> Result<(), LakeError> {
                $( self.$field.take(&mut shard.rows.$field, position)?; )+
                Ok(())
            }

            pub(super) fn roll(
                &mut self,
                position: Position,
                is_first: bool,
            ) -> Result<(), LakeError> {
                $( self.$field.roll(position, is_first)?; )+
                Ok(())
            }

            pub(super) fn committed(&self) -> Committed {
                Committed::from([
                    $( (stringify!($field).to_owned(), self.$field.committed), )+
                ])
            }

            pub(super) fn finish(
                self,
                position: Position,
                is_first: bool,
            ) -> Result<Committed, LakeError> {
                Ok(Committed::from([
                    $( (stringify!($field).to_owned(), self.$field.finish(position, is_first)?), )+
                ]))
            }
        }
    };
}

chains! {
    route_updates: ROUTE_UPDATES, RouteUpdateRow;
    latency: LATENCY, LatencyRow;
    latency_revisions: LATENCY_REVISIONS, LatencyRow;
    latency_5m: LATENCY_5M, LatencyRow;
    latency_1h: LATENCY_1H, LatencyRow;
    latency_1d: LATENCY_1D, LatencyRow;
    sessions: SESSIONS, SessionRow;
    visibility: VISIBILITY, VisibilityRow;
    rib: RIB, RibRow;
    ledger: LEDGER, LedgerRow;
    connections: CONNECTIONS, ConnectionRow;
    feed_gaps: FEED_GAPS, FeedGapRow;
}

macro_rules! empty {
    (($folding:expr, $name:expr), $position:expr; $($table:ident: $row:ident,)+) => {$(
        let chain = Chain::<tables::$row>::new(tables::$table, &$folding.store, $name, None);
        match chain.finish($position, true) {
            // An earlier version of the program put it, whose tables had fewer columns.
            Err(LakeError::Differs { .. }) => {}
            done => drop(done?),
        }
    )+};
}

/// Tables that no fold fills get their first file, without rows: every table has a file in a
/// finished lake, so that every engine can read every table.
pub(super) fn empty_tables(
    folding: &Folding,
    log: &str,
    position: Position,
) -> Result<(), LakeError> {
    let name = || ChainName { log: log.to_owned(), partition: 0 };
    empty! { (folding, name()), position;
        CONNECTION_STATES: ConnectionStateRow,
        PREFIX_EVENTS: PrefixEventRow,
        ALERT_DELIVERIES: AlertDeliveryRow,
        SILENCES: SilenceRow,
        MARKS: MarkRow,
    }
    Ok(())
}

/// As [`empty_tables`], for those whose chains begin when there is something to tell.
pub(super) fn empty_findings(
    folding: &Folding,
    log: &str,
    position: Position,
) -> Result<(), LakeError> {
    let name = || ChainName { log: log.to_owned(), partition: 0 };
    empty! { (folding, name()), position; FINDINGS: FindingRow, EVIDENCE: EvidenceRow, }
    Ok(())
}
