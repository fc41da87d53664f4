//! The session: a lake's folder in, tables, views and functions under their names out.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, Result, plan_datafusion_err, plan_err};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use schemas::tables::{self, Table};

use super::live::Live;
use super::rib_at::RibAt;
use super::tenant::{TENANT, TenantTable};
use super::views::{self, Engine};
use super::{functions, tenant};
use crate::lake::store::objects;
use crate::lake::{LakeError, LakeRoot};

/// Where the files of a lake stand in a session: no path of the machine shows in a plan, and any
/// character may stand in the folder's name.
const STORE: &str = "lake://local";

/// Why a lake cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no lake, or its store says no.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// DataFusion refused.
    #[error("lake cannot be opened: {0}")]
    Engine(#[from] DataFusionError),
}

/// Words and signs of the longest statement of others: whatever looks at an expression calls itself for each
/// level of it, and a chain of sums has as many levels as it has terms.
const TOKENS_MAX: usize = 8_000;

/// Functions that make much of little at one stroke, past every bound of memory and of time. Others
/// who may only query have none of them.
const SWELLING: [&str; 7] =
    ["array_repeat", "array_resize", "generate_series", "lpad", "range", "repeat", "rpad"];

/// How a lake is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whose rows are seen; none: all, by the operator.
    pub tenant: Option<String>,
    /// Only queries are taken, from the operator too.
    pub queries_only: bool,
    /// Memory for queries; what needs more spills to the temporary folder.
    pub memory_bytes_max: usize,
    /// What all of them may spill there.
    pub spill_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tenant: None,
            queries_only: false,
            memory_bytes_max: 2 << 30,
            spill_bytes_max: 100 << 30,
        }
    }
}

impl Options {
    const fn queries_only(&self) -> bool {
        self.queries_only || self.tenant.is_some()
    }
}

/// A lake, open for queries.
#[derive(Clone)]
pub struct Lake {
    context: SessionContext,
    tenant: Option<String>,
    queries_only: bool,
}

impl Lake {
    /// Opens a lake: registers every table, the views and our functions. Files are listed anew by
    /// each query, so that a session sees what is committed after it was opened.
    ///
    /// # Errors
    /// [`OpenError::Lake`] if there is no such place; else what DataFusion says.
    pub async fn open(root: &LakeRoot, options: Options) -> std::result::Result<Self, OpenError> {
        let files = objects(root)?;
        let context = context(&options)?;
        let store = ObjectStoreUrl::parse(STORE)?;
        context.register_object_store(store.as_ref(), Arc::new(Live(files)));
        functions::register(&context);
        let queries_only = options.queries_only();
        let lake = Self { context, tenant: options.tenant, queries_only };
        for table in tables::ALL {
            lake.register(table)?;
        }
        lake.register_rib_at()?;
        for view in views::ALL {
            let query = (view.query)(Engine::Ours);
            lake.context.sql(&format!("CREATE VIEW {} AS {query}", view.name)).await?;
        }
        if queries_only {
            let swelling = SWELLING.iter();
            swelling.for_each(|name| lake.context.deregister_udf(name));
        }
        Ok(lake)
    }

    fn register(&self, table: &Table) -> Result<()> {
        let files: Arc<dyn TableProvider> = Arc::new(self.listing(table)?);
        let provider = match &self.tenant {
            None => files,
            Some(tenant) if table.schema().index_of(TENANT).is_ok() => {
                Arc::new(TenantTable::new(files, tenant)?)
            }
            Some(_) => return Ok(()),
        };
        self.context.register_table(table.name, provider)?;
        Ok(())
    }

    fn register_rib_at(&self) -> Result<()> {
        let function = RibAt {
            rib: Arc::new(self.listing(&tables::RIB)?),
            route_updates: Arc::new(self.listing(&tables::ROUTE_UPDATES)?),
            sessions: Arc::new(self.listing(&tables::SESSIONS)?),
            tenant: self.tenant.clone(),
        };
        self.context.register_udtf("rib_at", Arc::new(function));
        Ok(())
    }

    fn listing(&self, table: &Table) -> Result<ListingTable> {
        let options = ListingOptions::new(Arc::new(ParquetFormat::default()))
            .with_file_extension(".parquet")
            .with_table_partition_cols(vec![("date".to_owned(), DataType::Utf8)]);
        let config =
            ListingTableConfig::new(ListingTableUrl::parse(format!("{STORE}/{}/", table.name))?)
                .with_listing_options(options)
                .with_schema(read_schema(table));
        let cache = self.context.runtime_env().cache_manager.get_file_statistic_cache();
        Ok(ListingTable::try_new(config)?.with_cache(cache))
    }

    /// The session; a tenant's holds his rows only, but takes any statement: see [`Self::plan`].
    #[must_use]
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Splits a text into statements.
    ///
    /// # Errors
    /// What does not parse; what is too long, from others who may only query.
    pub fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        if self.queries_only {
            verify_length(sql)?;
        }
        Ok(DFParserBuilder::new(sql).build()?.parse_statements()?.into())
    }

    /// Plans one statement, and does it at once if it gives no rows. The operator may do all that
    /// DataFusion does, except write to the lake; a tenant may only query, and so may whoever asks a lake that
    /// takes queries only.
    ///
    /// # Errors
    /// A statement that is refused or cannot be planned.
    pub async fn plan(&self, statement: Statement) -> Result<DataFrame> {
        let plan = self.context.state().statement_to_plan(statement).await?;
        match self.queries_only {
            true => tenant::verify(&plan)?,
            false => verify_no_write(&plan)?,
        }
        self.context.execute_logical_plan(plan).await
    }

    /// Plans a text that is one statement.
    ///
    /// # Errors
    /// As [`Self::plan`]; also a text of none or several.
    pub async fn query(&self, sql: &str) -> Result<DataFrame> {
        let statements = self.parse(sql)?;
        match <[Statement; 1]>::try_from(statements) {
            Ok([statement]) => self.plan(statement).await,
            Err(other) => plan_err!("{} statements where one is taken", other.len()),
        }
    }
}

fn context(options: &Options) -> Result<SessionContext> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_bytes_max)))
        .with_max_temp_directory_size(options.spill_bytes_max)
        .with_object_list_cache_limit(0)
        .build_arc()?;
    let config = SessionConfig::new()
        .with_information_schema(true)
        .set_bool("datafusion.execution.parquet.pushdown_filters", true)
        .set_str("datafusion.execution.time_zone", "UTC");
    let context = SessionContext::new_with_config_rt(config, runtime);
    Ok(if options.queries_only() { context } else { context.enable_url_table() })
}

/// Refuses what would be too deep a tree.
fn verify_length(sql: &str) -> Result<()> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize();
    let tokens = tokens.map_err(|error| plan_datafusion_err!("{error}"))?;
    let words = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).count();
    match words > TOKENS_MAX {
        true => plan_err!("a statement of {words} words and signs, where {TOKENS_MAX} are taken"),
        false => Ok(()),
    }
}

/// The schema as it is read: text as views, which are compared and grouped without a copy.
pub(super) fn read_schema(table: &Table) -> SchemaRef {
    let schema = table.schema();
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Field::new(field.name(), DataType::Utf8View, field.is_nullable()),
        _ => field.as_ref().clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Refuses to write into a table of the lake.
fn verify_no_write(plan: &LogicalPlan) -> Result<()> {
    match plan {
        LogicalPlan::Dml(dml) if tables::by_name(dml.table_name.table()).is_some() => plan_err!(
            "{} is written by peerscope alone; CREATE TABLE ... AS SELECT, or COPY to a file",
            dml.table_name
        ),
        LogicalPlan::Copy(copy) if copy.output_url.starts_with("lake:") => {
            plan_err!("the lake is written by peerscope alone; COPY to a file elsewhere")
        }
        LogicalPlan::Explain(explain) => verify_no_write(&explain.plan),
        LogicalPlan::Analyze(analyze) => verify_no_write(&analyze.input),
        _ => Ok(()),
    }
}
