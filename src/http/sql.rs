//! `POST /v1/sql`: one query in, its rows out as they come, over the lake.
//!
//! Queries only, for the operator too: nothing that a statement may do beside giving rows is done here. A
//! tenant's token sees the tenant's rows. So many queries at once, each with so much memory, so many
//! rows and so much time: whatever is more is told, before the first row with a status, after it by an
//! answer that breaks off.

use std::collections::HashMap;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use analytics::lake::LakeRoot;
use analytics::sql::{Lake, Options, is_overtaken};
use anyhow::{anyhow, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::{Stream, StreamExt as _};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Shared;
use super::answer::Problem;
use super::config::{HttpConfig, Scope};
use crate::print::{Format, Output, Printer, Rows};

/// The path, as metrics name it.
pub(super) const PATH: &str = "/v1/sql";
/// Longest statement.
const STATEMENT_BYTES_MAX: usize = 64 * 1024;
/// Lakes held open at once, one for each tenant that asks.
const LAKES_MAX: usize = 64;
/// Times that a query is asked whose files a compaction takes away.
const ASKED_MAX: u32 = 5;
/// Pieces of an answer that wait for the client.
const PIECES_WAITING: usize = 4;

/// The form of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    JsonLines,
    Csv,
    ArrowStream,
}

impl Form {
    const ALL: [(Self, &'static str); 3] = [
        (Self::JsonLines, "application/x-ndjson"),
        (Self::Csv, "text/csv"),
        (Self::ArrowStream, "application/vnd.apache.arrow.stream"),
    ];

    /// The first one that the client names; JSON lines if anything will do.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
        for wanted in accepted.split(',') {
            let wanted = wanted.split(';').next().unwrap_or_default().trim();
            if ["*/*", "application/*", "application/json"].contains(&wanted) {
                return Ok(Self::JsonLines);
            }
            if let Some((form, _)) = Self::ALL.iter().find(|(_, name)| *name == wanted) {
                return Ok(*form);
            }
        }
        let names: Vec<&str> = Self::ALL.iter().map(|(_, name)| *name).collect();
        Err(Problem::new(StatusCode::NOT_ACCEPTABLE, format!("rows come as {}", names.join(", "))))
    }

    fn media_type(self) -> &'static str {
        Self::ALL.iter().find(|(form, _)| *form == self).map_or("", |(_, name)| *name)
    }
}

/// The lakes that are asked.
pub(super) struct Queries {
    root: LakeRoot,
    lakes: Mutex<HashMap<Option<String>, Lake>>,
    running: Arc<Semaphore>,
}

impl Queries {
    pub(super) fn new(root: LakeRoot, config: &HttpConfig) -> Self {
        let running = Arc::new(Semaphore::new(config.queries_max.into()));
        Self { root, lakes: Mutex::default(), running }
    }

    /// The lake as a tenant sees it, opened once.
    async fn lake(&self, tenant: Option<&str>, config: &HttpConfig) -> Result<Lake, Problem> {
        let mut lakes = self.lakes.lock().await;
        let tenant = tenant.map(str::to_owned);
        if let Some(lake) = lakes.get(&tenant) {
            return Ok(lake.clone());
        }
        let options = Options {
            tenant: tenant.clone(),
            queries_only: true,
            memory_bytes_max: usize::try_from(config.query_memory_bytes_max).unwrap_or(usize::MAX),
            spill_bytes_max: config.query_spill_bytes_max,
        };
        let lake = Lake::open(&self.root, options).await.map_err(|error| {
            tracing::error!(%error, "the lake cannot be asked");
            Problem::busy("the lake cannot be opened, the log of the service says why")
        })?;
        if lakes.len() >= LAKES_MAX {
            lakes.clear();
        }
        lakes.insert(tenant, lake.clone());
        Ok(lake)
    }
}

/// Answers a query.
pub(super) async fn post(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let response = ask(&shared, request).await.unwrap_or_else(|problem| problem.into_response());
    shared.counts.request(PATH, response.status());
    response
}

async fn ask(shared: &Arc<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let grant = super::rtt::admit(shared, &parts.headers, Scope::Sql)?;
    let Some(queries) = &shared.queries else {
        let detail = "this process answers no queries; ask one with --role all or serve";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let form = Form::of(&parts.headers)?;
    let config = &shared.config;
    let statement = super::rtt::whole(body, STATEMENT_BYTES_MAX, shared).await?;
    let statement = String::from_utf8(statement)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "a statement is text in UTF-8"))?;
    let running = Arc::clone(&queries.running).try_acquire_owned();
    let running =
        running.map_err(|_| Problem::busy("queries_max are being answered, come again"))?;
    let deadline = Instant::now() + Duration::from_secs(config.query_secs_max.into());
    let asking = async {
        let lake = queries.lake(grant.tenant.as_deref(), config).await?;
        first_rows(&lake, &statement).await
    };
    let late = |_| Problem::new(StatusCode::GATEWAY_TIMEOUT, "no rows within query_secs_max");
    let answered = tokio::time::timeout_at(deadline, asking).await.map_err(late)??;
    let Answered { schema, first, rest } = answered;
    let unwritable =
        |error: anyhow::Error| Problem::new(StatusCode::BAD_REQUEST, error.to_string());
    let telling = Telling {
        batches: Box::pin(futures::stream::iter(first.map(Ok)).chain(rest)),
        writer: Writer::new(form, &schema).map_err(unwritable)?,
        rows: 0,
        rows_max: config.query_rows_max,
    };
    let mut response = Response::new(Body::from_stream(told(telling, deadline, running)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    Ok(response)
}

/// Rows that come, the first ones at hand.
struct Answered {
    schema: SchemaRef,
    first: Option<RecordBatch>,
    rest: SendableRecordBatchStream,
}

/// Plans a query and waits for its first rows: what is wrong with it shows by then. It is asked again if
/// a compaction took its files away.
async fn first_rows(lake: &Lake, statement: &str) -> Result<Answered, Problem> {
    let wrong =
        |error: DataFusionError| Problem::new(StatusCode::BAD_REQUEST, error.strip_backtrace());
    let mut asked = 1;
    loop {
        let found = async {
            let mut rest = lake.query(statement).await?.execute_stream().await?;
            let first = rest.next().await.transpose()?;
            Ok::<_, DataFusionError>(Answered { schema: rest.schema(), first, rest })
        };
        match found.await {
            Err(error) if is_overtaken(&error) && asked < ASKED_MAX => asked += 1,
            found => return found.map_err(wrong),
        }
    }
}

/// An answer on its way out.
struct Telling {
    batches: Pin<Box<dyn Stream<Item = Result<RecordBatch, DataFusionError>> + Send>>,
    writer: Writer,
    rows: u64,
    rows_max: u64,
}

impl Telling {
    /// Tells all of it, piece by piece.
    async fn tell(mut self, pieces: &mpsc::Sender<Bytes>) -> anyhow::Result<()> {
        while let Some(batch) = self.batches.next().await {
            let batch = batch.map_err(|error| anyhow!(error.strip_backtrace()))?;
            self.rows += batch.num_rows() as u64;
            if self.rows > self.rows_max {
                bail!("more than query_rows_max, {}; ask for less", self.rows_max);
            }
            pieces.send(self.writer.write(&batch)?).await?;
        }
        pieces.send(self.writer.finish()?).await?;
        Ok(())
    }
}

/// The rows in a form, piece by piece. What goes wrong breaks the answer off. A task of its own drives the
/// query, so that it ends in time whether its pieces are taken or not, and whoever waits
/// comes next; it ends at once where the client goes away.
fn told(
    telling: Telling,
    deadline: Instant,
    running: OwnedSemaphorePermit,
) -> impl Stream<Item = anyhow::Result<Bytes>> {
    let (sender, pieces) = mpsc::channel(PIECES_WAITING);
    let (ended, end) = oneshot::channel();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let told = tokio::time::timeout_at(deadline, telling.tell(&sender)).await;
        drop(running);
        let told = told.unwrap_or_else(|_| Err(anyhow!("query_secs_max are over")));
        if let Err(error) = &told {
            tracing::warn!(%error, "an answer to a query breaks off");
        }
        // Nobody listens where the client has just gone away.
        let _ = ended.send(told);
    });
    futures::stream::unfold(Some((pieces, end, task)), async |waiting| {
        let (mut pieces, end, task) = waiting?;
        if let Some(piece) = pieces.recv().await {
            return Some((Ok(piece), Some((pieces, end, task))));
        }
        let told = end.await.unwrap_or_else(|_| Err(anyhow!("the query is gone")));
        told.err().map(|error| (Err(error), None))
    })
}

/// Bytes on their way out.
#[derive(Clone, Default)]
struct Pieces(Arc<StdMutex<Vec<u8>>>);

impl Pieces {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes batches in a form.
struct Writer {
    rows: Written,
    pieces: Pieces,
}

enum Written {
    Text(Rows, Output),
    ArrowStream(StreamWriter<Pieces>),
}

impl Writer {
    fn new(form: Form, schema: &SchemaRef) -> anyhow::Result<Self> {
        let pieces = Pieces::default();
        let text = |format| {
            let output = Output::to(pieces.clone());
            let printer = Printer { format, rows_max: None, expanded: false };
            anyhow::Ok(Written::Text(printer.start(Arc::clone(schema), output.clone())?, output))
        };
        let rows = match form {
            Form::JsonLines => text(Format::NdJson)?,
            Form::Csv => text(Format::Csv)?,
            Form::ArrowStream => {
                Written::ArrowStream(StreamWriter::try_new(pieces.clone(), schema)?)
            }
        };
        Ok(Self { rows, pieces })
    }

    fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<Bytes> {
        match &mut self.rows {
            Written::Text(rows, output) => {
                rows.write(batch)?;
                output.flush()?;
            }
            Written::ArrowStream(writer) => writer.write(batch)?,
        }
        Ok(self.pieces.take())
    }

    fn finish(&mut self) -> anyhow::Result<Bytes> {
        match &mut self.rows {
            Written::Text(rows, output) => {
                rows.finish()?;
                output.flush()?;
            }
            Written::ArrowStream(writer) => writer.finish()?,
        }
        Ok(self.pieces.take())
    }
}
