//! One tenant's part of a table: the raw table in, only rows of that tenant out.
//!
//! [`TenantTable`] stands under the table's own name; the raw one is not reachable. Its plan is
//! scan, filter, [`Barrier`]. What the reader wrote is computed above the barrier, on his own rows:
//! otherwise the optimizer might run his predicate before ours, and an error like "cannot cast
//! 'contoso-seattle'" would tell him of other tenants. Only comparisons of a column with a constant
//! go below, where they cannot fail; they skip files and row groups.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue, internal_err, plan_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    BinaryExpr, Expr, LogicalPlan, Operator, TableProviderFilterPushDown, TableType, ident, lit,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use datafusion::prelude::SQLOptions;

/// The column that says whose a row is.
pub(super) const TENANT: &str = "tenant";

/// One tenant's rows of a table. Rows without a tenant are nobody's.
#[derive(Debug)]
pub(super) struct TenantTable {
    raw: Arc<dyn TableProvider>,
    tenant: ScalarValue,
}

impl TenantTable {
    /// The rows of `tenant`; an error if the table has no such column.
    pub(super) fn new(raw: Arc<dyn TableProvider>, tenant: &str) -> Result<Self> {
        let data_type = raw.schema().field_with_name(TENANT)?.data_type().clone();
        let tenant = ScalarValue::from(tenant).cast_to(&data_type)?;
        Ok(Self { raw, tenant })
    }
}

/// Whether it is a comparison that can be computed on anybody's rows: it cannot fail. (Casts are
/// gone by now: the planner folds those of constants, and what is left of others is no column.)
fn cannot_fail(filter: &Expr) -> bool {
    let plain = |expr: &Expr| matches!(expr, Expr::Column(_) | Expr::Literal(..));
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            cannot_fail(left) && cannot_fail(right)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            is_comparison(*op) && plain(left) && plain(right)
        }
        Expr::InList(list) => plain(&list.expr) && list.list.iter().all(plain),
        Expr::IsNull(expr) | Expr::IsNotNull(expr) => plain(expr),
        _ => false,
    }
}

/// The same over the columns of this table alone, whatever the query calls it.
pub(super) fn unqualified(filter: Expr) -> Expr {
    let strip = |expr: Expr| {
        Ok(match expr {
            Expr::Column(column) => Transformed::yes(ident(column.name)),
            other => Transformed::no(other),
        })
    };
    filter.transform(strip).map_or(lit(true), |done| done.data)
}

const fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

#[async_trait]
impl TableProvider for TenantTable {
    fn schema(&self) -> SchemaRef {
        self.raw.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match cannot_fail(filter) {
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
        let schema = self.raw.schema();
        let wanted = projection.cloned().unwrap_or_else(|| (0..schema.fields().len()).collect());
        let below = filters.iter().filter(|filter| cannot_fail(filter));
        let below = below.fold(ident(TENANT).eq(lit(self.tenant.clone())), |all, filter| {
            all.and(unqualified(filter.clone()))
        });
        let mut read = wanted.clone();
        for column in below.column_refs() {
            read.push(schema.index_of(&column.name)?);
        }
        read.sort_unstable();
        read.dedup();
        let kept = wanted.iter().map(|column| read.binary_search(column));
        let kept = kept
            .collect::<std::result::Result<Vec<usize>, usize>>()
            .map_err(|column| DataFusionError::Internal(format!("column {column} is not read")))?;

        let conjuncts: Vec<Expr> = split_conjunction_owned(below.clone());
        let scan = self.raw.scan(state, Some(&read), &conjuncts, None).await?;
        let own = state.create_physical_expr(below, &DFSchema::try_from(scan.schema())?)?;
        let filter = FilterExecBuilder::new(own, scan).apply_projection(Some(kept))?.build()?;
        Ok(Arc::new(Barrier::new(Arc::new(filter))))
    }
}

/// Hands batches up and lets nothing down: an operator that takes part in no push-down.
#[derive(Debug)]
struct Barrier {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Barrier {
    fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = Arc::clone(input.properties());
        Self { input, properties }
    }
}

impl DisplayAs for Barrier {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("TenantBarrier")
    }
}

impl ExecutionPlan for Barrier {
    fn name(&self) -> &str {
        "TenantBarrier"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self::new(input))),
            Err(other) => internal_err!("TenantBarrier with {} inputs", other.len()),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(Recompute))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}

/// Lets queries pass, and what they need to find their way (`SHOW TABLES`, `DESCRIBE`).
///
/// A plan is refused because it names files and counts rows of others.
pub(super) fn verify(plan: &LogicalPlan) -> Result<()> {
    if let LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) = plan {
        return plan_err!("EXPLAIN is not taken here, only queries are");
    }
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(plan)
}
