//! `rib_at(T)`: the routes held at a moment, in the columns of `rib`.
//!
//! The newest snapshot at or before T, then `route_updates` and `sessions` folded on top
//! ([`crate::rib::past`]). What a query asks of the prefix alone goes down to the files; all else is
//! computed on what was held. Without T: what is held at the end of what the lake has.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringViewArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType, UInt32Type, UInt64Type};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, plan_datafusion_err, plan_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::provider_as_source;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::functions::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, TableType, ident, lit,
};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::TryStreamExt as _;
use schemas::bgp::Prefix;
use schemas::tables;
use schemas::time::Timestamp;

use super::session::read_schema;
use super::tenant::{TenantTable, unqualified};
use crate::rib::past::{Moment, OVERLAP_SECS, Past, PeerName, Said, Word};

/// What lags behind its arrival by more changed no route (`[run] backfill_after_secs`).
const BACKFILL_SECS: i64 = 86_400;
/// Columns that both `rib` and `route_updates` tell of a route.
const TOLD: [&str; 18] = [
    "collector",
    "router",
    "peer_asn",
    "peer_ip",
    "session_role",
    "rib_view",
    "routing_domain",
    "prefix",
    "prefix_first",
    "prefix_last",
    "path_id",
    "as_path",
    "origin_asn",
    "next_hop",
    "communities",
    "otc",
    "tenant",
    "connection",
];

/// The tables that the past is folded from, whole: a tenant's routes fall with sessions that are not
/// his.
#[derive(Clone, Debug)]
pub(super) struct RibAt {
    /// `rib`
    pub(super) rib: Arc<dyn TableProvider>,
    /// `route_updates`
    pub(super) route_updates: Arc<dyn TableProvider>,
    /// `sessions`
    pub(super) sessions: Arc<dyn TableProvider>,
    /// Whose rows are seen.
    pub(super) tenant: Option<String>,
}

impl TableFunctionImpl for RibAt {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let at = match args.exprs() {
            [] => None,
            [at] => Some(moment(at)?),
            _ => return plan_err!("rib_at takes one time, or none for the end of the lake"),
        };
        let schema = read_schema(&tables::RIB);
        let held: Arc<dyn TableProvider> = Arc::new(HeldAt { tables: self.clone(), at, schema });
        match &self.tenant {
            Some(tenant) => Ok(Arc::new(TenantTable::new(held, tenant)?)),
            None => Ok(held),
        }
    }
}

/// A time as text or as a timestamp.
fn moment(argument: &Expr) -> Result<Timestamp> {
    let inner = match argument {
        Expr::Cast(cast) => &cast.expr,
        other => other,
    };
    let told = match inner {
        Expr::Literal(value, _) => match value.try_as_str().flatten() {
            Some(text) => text.parse().ok(),
            None => match value.cast_to(&tables_time())? {
                ScalarValue::TimestampMicrosecond(Some(micros), _) => Some(Timestamp(micros)),
                _ => None,
            },
        },
        _ => None,
    };
    told.ok_or_else(|| {
        plan_datafusion_err!("rib_at takes a time such as '2026-03-04T10:00:00Z', not {argument}")
    })
}

fn tables_time() -> arrow::datatypes::DataType {
    <Timestamp as tables::Cell>::data_type()
}

/// The routes held at one moment.
#[derive(Debug)]
struct HeldAt {
    tables: RibAt,
    at: Option<Timestamp>,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for HeldAt {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match is_of_prefix(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let of_prefix = filters.iter().filter(|filter| is_of_prefix(filter)).cloned();
        let wanted = of_prefix.map(unqualified).reduce(Expr::and).unwrap_or_else(|| lit(true));
        let held = self.held(state, wanted).await?;
        let schema = Arc::clone(&self.schema);
        Ok(MemorySourceConfig::try_new_exec(&[vec![held]], schema, projection.cloned())?)
    }
}

/// Whether a filter looks at the prefix and at nothing else.
fn is_of_prefix(filter: &Expr) -> bool {
    let columns = filter.column_refs();
    let of_prefix = ["prefix", "prefix_first", "prefix_last"];
    !columns.is_empty() && columns.iter().all(|column| of_prefix.contains(&column.name.as_str()))
}

impl HeldAt {
    /// Reads snapshot and changes of the prefixes that are wanted, and folds them.
    async fn held(&self, state: &dyn Session, wanted: Expr) -> Result<RecordBatch> {
        let memory = &state.runtime_env().memory_pool;
        let memory = MemoryConsumer::new("rib_at").register(memory);
        let until = |time: Expr| self.at.map_or(lit(true), |at| time.lt_eq(instant(at)));
        let RibAt { rib, route_updates, sessions, .. } = &self.tables;
        let snapshot_time =
            newest(state, rib, ident("snapshot_time"), until(ident("snapshot_time")), &memory)
                .await?;
        let from = snapshot_time.map(|time| time.plus_secs(-OVERLAP_SECS));
        let after = |time: Expr| from.map_or(lit(true), |from| time.gt_eq(instant(from)));
        let not_before = |secs: i64| from.map(|from| from.plus_secs(-secs));

        let is_newest =
            snapshot_time.map_or(lit(false), |time| ident("snapshot_time").eq(instant(time)));
        let snapshot =
            read(state, rib, is_newest.and(wanted.clone()), &with(&TOLD, &["stale"]), &memory)
                .await?;
        let heard = || coalesce(vec![ident("received_time"), ident("event_time")]);
        let recent = not_before(BACKFILL_SECS)
            .map_or(lit(true), |bound| ident("event_time").gt_eq(instant(bound)));
        let said = wanted.and(recent).and(after(heard())).and(until(heard()));
        let beside =
            ["received_time", "event_time", "is_snapshot", "source", "source_offset", "action"];
        let updates = read(state, route_updates, said, &with(&TOLD, &beside), &memory).await?;
        let of_change = [
            "time",
            "source",
            "source_offset",
            "collector",
            "router",
            "peer_asn",
            "peer_ip",
            "rib_view",
            "state",
            "reason",
        ];
        let within = after(ident("time")).and(until(ident("time")));
        let changes = read(state, sessions, within, &of_change, &memory).await?;
        let at = match self.at {
            Some(at) => at,
            None => {
                let all = || lit(true);
                let heard = newest(state, route_updates, heard(), all(), &memory).await?;
                let changed = newest(state, sessions, ident("time"), all(), &memory).await?;
                heard.max(changed).max(snapshot_time).unwrap_or_default()
            }
        };
        let folded = Folded { snapshot_time, snapshot, updates, sessions: changes };
        let schema = Arc::clone(&self.schema);
        // Beside the threads that serve others.
        let folding = tokio::task::spawn_blocking(move || folded.held(at, &schema));
        folding.await.map_err(|error| exec_datafusion_err!("{error}"))?
    }
}

fn with<'a>(some: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    some.iter().chain(more).copied().collect()
}

fn instant(time: Timestamp) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(time.micros()), Some("UTC".into())))
}

/// The rows of a table that a filter lets pass, as one batch. A column that the table has not got is
/// left out.
async fn read(
    state: &dyn Session,
    table: &Arc<dyn TableProvider>,
    filter: Expr,
    columns: &[&str],
    held: &MemoryReservation,
) -> Result<RecordBatch> {
    let schema = table.schema();
    let present = columns.iter().filter(|name| schema.index_of(name).is_ok());
    let plan = LogicalPlanBuilder::scan("told", provider_as_source(Arc::clone(table)), None)?
        .filter(filter)?
        .project(present.map(|name| ident(*name)))?
        .build()?;
    run(state, &plan, held).await
}

/// The largest value of a time, among the rows that a filter lets pass.
async fn newest(
    state: &dyn Session,
    table: &Arc<dyn TableProvider>,
    time: Expr,
    filter: Expr,
    held: &MemoryReservation,
) -> Result<Option<Timestamp>> {
    let plan = LogicalPlanBuilder::scan("told", provider_as_source(Arc::clone(table)), None)?
        .filter(filter)?
        .aggregate(Vec::<Expr>::new(), vec![max(time)])?
        .build()?;
    let told = run(state, &plan, held).await?;
    let column =
        told.columns().first().and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    Ok(column.and_then(|column| column.iter().next().flatten()).map(Timestamp))
}

/// The rows of a plan as one batch, which `held` answers for.
async fn run(
    state: &dyn Session,
    plan: &LogicalPlan,
    held: &MemoryReservation,
) -> Result<RecordBatch> {
    let plan = state.create_physical_plan(plan).await?;
    let schema = plan.schema();
    let mut rows = execute_stream(plan, state.task_ctx())?;
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = rows.try_next().await? {
        // Once as it comes, and once in the batch of all.
        held.try_grow(2 * batch.get_array_memory_size())?;
        bytes += batch.get_array_memory_size();
        batches.push(batch);
    }
    let all = concat_batches(&schema, &batches)?;
    drop(batches);
    held.shrink(bytes);
    Ok(all)
}

/// What was read: a snapshot and what was said since.
struct Folded {
    snapshot_time: Option<Timestamp>,
    snapshot: RecordBatch,
    updates: RecordBatch,
    sessions: RecordBatch,
}

/// Of which batch, which row.
type Place = (usize, usize);

impl Folded {
    /// The routes held, in the columns of `rib`.
    fn held(&self, at: Timestamp, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut past: Past<'_, Place> = Past::new(self.snapshot_time);
        let snapshot = Routes::of(&self.snapshot)?;
        let stale = boolean(&self.snapshot, "stale")?;
        for row in 0..self.snapshot.num_rows() {
            let (prefix, path_id) = snapshot.route(row)?;
            past.hold(snapshot.peers.name(row), prefix, path_id, (0, row), stale.value(row));
        }
        let mut said = self.said_of_routes()?;
        said.extend(self.said_of_sessions()?);
        past.fold(said);
        let routes: Vec<(Place, bool)> =
            past.routes().map(|(_, _, place, is_stale)| (place, is_stale)).collect();
        let places: Vec<Place> = routes.iter().map(|(place, _)| *place).collect();
        let columns = schema.fields().iter().map(|field| -> Result<ArrayRef> {
            match field.name().as_str() {
                "snapshot_time" => {
                    let times = TimestampMicrosecondArray::from(vec![at.micros(); places.len()]);
                    Ok(Arc::new(times.with_data_type(tables_time())))
                }
                "stale" => {
                    Ok(Arc::new(routes.iter().map(|route| Some(route.1)).collect::<BooleanArray>()))
                }
                name => self.told(name, &places),
            }
        });
        Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_>>()?)?)
    }

    /// A column of the rows that told the routes.
    fn told(&self, name: &str, places: &[Place]) -> Result<ArrayRef> {
        let of_snapshot = column(&self.snapshot, name)?;
        let of_updates = match column(&self.updates, name) {
            Ok(column) => Arc::clone(column),
            // Only the routing domain is told by no update: they are of the public one.
            Err(_) => {
                let rows = self.updates.num_rows();
                ScalarValue::Utf8View(Some("public".to_owned())).to_array_of_size(rows)?
            }
        };
        Ok(interleave(&[of_snapshot.as_ref(), of_updates.as_ref()], places)?)
    }

    fn said_of_routes(&self) -> Result<Vec<Said<'_, Place>>> {
        let updates = &self.updates;
        let routes = Routes::of(updates)?;
        let (event, received) = (times(updates, "event_time")?, times(updates, "received_time")?);
        let is_snapshot = boolean(updates, "is_snapshot")?;
        let (source, action) = (text(updates, "source")?, text(updates, "action")?);
        let offset = column(updates, "source_offset")?.as_primitive::<UInt64Type>();
        let said = |row| -> Result<Said<'_, Place>> {
            let time = if received.is_valid(row) { received.value(row) } else { event.value(row) };
            let (prefix, path_id) = routes.route(row)?;
            Ok(Said {
                at: Moment {
                    time: Timestamp(time),
                    is_change: !is_snapshot.value(row),
                    source: source.value(row),
                    source_offset: offset.value(row),
                },
                peer: routes.peers.name(row),
                word: match action.value(row) {
                    "announce" => Word::Announce(prefix, path_id, (1, row)),
                    _ => Word::Withdraw(prefix, path_id),
                },
            })
        };
        (0..updates.num_rows()).map(said).collect()
    }

    fn said_of_sessions(&self) -> Result<Vec<Said<'_, Place>>> {
        let sessions = &self.sessions;
        let peers = Peers::of(sessions)?;
        let (source, state) = (text(sessions, "source")?, text(sessions, "state")?);
        let (time, reason) = (times(sessions, "time")?, text(sessions, "reason")?);
        let offset = column(sessions, "source_offset")?.as_primitive::<UInt64Type>();
        let said = |row| {
            let reason = reason.is_valid(row).then(|| reason.value(row));
            let word = Word::of_session(state.value(row), reason)?;
            let at = Moment {
                time: Timestamp(time.value(row)),
                is_change: true,
                source: source.value(row),
                source_offset: offset.value(row),
            };
            Some(Said { at, peer: peers.name(row), word })
        };
        Ok((0..sessions.num_rows()).filter_map(said).collect())
    }
}

/// The columns that name a peer.
struct Peers<'a> {
    collector: &'a StringViewArray,
    router: &'a StringViewArray,
    peer_ip: &'a StringViewArray,
    peer_asn: &'a UInt32Array,
    rib_view: &'a StringViewArray,
}

impl<'a> Peers<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            collector: text(batch, "collector")?,
            router: text(batch, "router")?,
            peer_ip: text(batch, "peer_ip")?,
            peer_asn: column(batch, "peer_asn")?.as_primitive::<UInt32Type>(),
            rib_view: text(batch, "rib_view")?,
        })
    }

    fn name(&self, row: usize) -> PeerName<'a> {
        let router = self.router.is_valid(row).then(|| self.router.value(row));
        (
            self.collector.value(row),
            router,
            self.peer_ip.value(row),
            self.peer_asn.value(row),
            self.rib_view.value(row),
        )
    }
}

/// The columns that name a route.
struct Routes<'a> {
    peers: Peers<'a>,
    prefix: &'a StringViewArray,
    path_id: &'a UInt32Array,
}

impl<'a> Routes<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            peers: Peers::of(batch)?,
            prefix: text(batch, "prefix")?,
            path_id: column(batch, "path_id")?.as_primitive::<UInt32Type>(),
        })
    }

    fn route(&self, row: usize) -> Result<(Prefix, Option<u32>)> {
        let told = self.prefix.value(row);
        let prefix = told.parse().map_err(|error| exec_datafusion_err!("{error}"))?;
        Ok((prefix, self.path_id.is_valid(row).then(|| self.path_id.value(row))))
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| exec_datafusion_err!("no column {name}"))
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringViewArray> {
    let view = column(batch, name)?.as_string_view_opt();
    view.ok_or_else(|| exec_datafusion_err!("{name} is no text"))
}

fn times<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a TimestampMicrosecondArray> {
    let times = column(batch, name)?.as_primitive_opt();
    times.ok_or_else(|| exec_datafusion_err!("{name} is no time"))
}

fn boolean<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a BooleanArray> {
    let flags = column(batch, name)?.as_boolean_opt();
    flags.ok_or_else(|| exec_datafusion_err!("{name} is no boolean"))
}
