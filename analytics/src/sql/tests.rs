//! Tests of the session over small lakes: Parquet files in a temporary folder.

use std::fs::{File, create_dir_all};
use std::path::Path;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result;
use datafusion::physical_plan::displayable;
use parquet::arrow::ArrowWriter;
use schemas::tables::{
    self, EvidenceRow, FindingRow, LatencyRow, LatencySeries, LedgerRow, Row, Table,
};
use schemas::time::{TimeWindow, Timestamp};

use super::views::{self, Engine};
use super::{Lake, LakeRoot, Options};
use crate::latency::histogram::{Counts, target};

fn at(minute: i64) -> Timestamp {
    Timestamp::from_secs(1_767_225_600 + minute * 60)
}

/// A window of one prefix with these round trips.
fn window(tenant: &str, connection: &str, minute: i64, rtts: &[u32]) -> LatencyRow {
    let mut counts = Counts::default();
    rtts.iter().for_each(|rtt| counts.add(*rtt, 1));
    let (hist_bucket, hist_count): (Vec<u32>, Vec<u64>) = counts.iter().unzip();
    let series = LatencySeries {
        tenant: tenant.into(),
        connection: connection.into(),
        prefix: "192.0.2.0/24".parse().unwrap(),
        source: "probe".into(),
    };
    LatencyRow {
        samples: rtts.len() as u32,
        quality: "ok",
        hist_bucket,
        hist_count: hist_count.into_iter().map(|count| count as u32).collect(),
        ..LatencyRow::silent(TimeWindow::containing(at(minute), 60), series)
    }
}

fn finding(id: &str, sequence: u32, phase: &'static str, tenant: Option<&str>) -> FindingRow {
    FindingRow {
        finding_id: id.into(),
        sequence,
        time: at(i64::from(sequence)),
        phase,
        kind: "hijack",
        rule: "hijack_exact",
        severity: "critical",
        score: 8.0,
        confidence: "high",
        prefix: "192.0.2.0/24".parse().ok(),
        prefix_first: Some([0; 16]),
        prefix_last: Some([255; 16]),
        registered_prefix: None,
        connection: None,
        tenant: tenant.map(Into::into),
        culprit_asn: None,
        victim_asn: None,
        leak_type: None,
        witnesses: 1,
        opened_at: at(1),
        closed_at: (phase == "resolved").then(|| at(i64::from(sequence))),
        group_id: None,
        group_size: None,
        path_before: None,
        path_after: None,
        rpki_state: None,
        blame: None,
        rtt_before_p50_us: None,
        rtt_after_p50_us: None,
        rtt_before_p95_us: None,
        rtt_after_p95_us: None,
        rtt_shift_low_us: None,
        rtt_shift_high_us: None,
        samples_affected: None,
        azure_event: None,
        muted_by: None,
        config_hash: "0".into(),
        verdict: None,
        explanation: "a story".into(),
    }
}

/// Writes one file of a table.
fn write<R: Row>(lake: &Path, table: Table, file: &str, rows: &[R]) {
    let folder = lake.join(table.name).join("date=2026-01-01");
    create_dir_all(&folder).unwrap();
    let file = File::create(folder.join(file)).unwrap();
    let mut writer = ArrowWriter::try_new(file, table.schema(), None).unwrap();
    writer.write(&R::batch(&rows.iter().collect::<Vec<_>>(), table.schema()).unwrap()).unwrap();
    writer.close().unwrap();
}

async fn open(lake: &Path) -> Lake {
    let root = LakeRoot::parse(lake.to_str().unwrap()).unwrap();
    Lake::open(&root, Options::default()).await.unwrap()
}

async fn open_as(lake: &Path, tenant: &str) -> Lake {
    let root = LakeRoot::parse(&format!("file://{}", lake.display())).unwrap();
    let options = Options { tenant: Some(tenant.to_owned()), ..Options::default() };
    Lake::open(&root, options).await.unwrap()
}

/// The rows of a query, columns joined by `|`.
async fn rows(lake: &Lake, sql: &str) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for batch in lake.query(sql).await?.collect().await? {
        let options = FormatOptions::default().with_null("null");
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<_> =
                columns.iter().map(|column| column.value(row).to_string()).collect();
            lines.push(cells.join("|"));
        }
    }
    Ok(lines)
}

/// The message of a query that must fail.
async fn refusal(lake: &Lake, sql: &str) -> String {
    match rows(lake, sql).await {
        Ok(rows) => panic!("{sql} was not refused: {rows:?}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_lake_without_any_file_has_every_table_and_view_with_zero_rows() {
    let folder = tempfile::Builder::new().prefix("a lake [*?] 100%25 #1 ").tempdir().unwrap();
    create_dir_all(folder.path().join("latency")).unwrap();
    create_dir_all(folder.path().join("findings/date=2026-01-01")).unwrap();
    let lake = open(folder.path()).await;
    for name in tables::ALL.iter().map(|table| table.name).chain(views::ALL.iter().map(|v| v.name))
    {
        assert_eq!(rows(&lake, &format!("SELECT count(*) FROM {name}")).await.unwrap(), ["0"]);
        let date = format!("SELECT * FROM {name} WHERE 1 = 1");
        assert!(rows(&lake, &date).await.unwrap().is_empty(), "{name}");
    }
    let shown = rows(&lake, "SHOW TABLES").await.unwrap();
    assert!(shown.iter().any(|row| row.contains("|latency_quantiles|VIEW")), "{shown:#?}");
    write(folder.path(), tables::FINDINGS, "a.parquet", &[finding("a", 1, "opened", None)]);
    assert_eq!(rows(&lake, "SELECT date FROM findings").await.unwrap(), ["2026-01-01"]);
}

#[tokio::test]
async fn a_session_sees_files_that_came_and_went_after_its_first_query() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), tables::LATENCY, "a.parquet", &[window("t", "c", 0, &[1])]);
    let lake = open(folder.path()).await;
    let count = "SELECT count(*), sum(samples) FROM latency WHERE date = '2026-01-01'";
    assert_eq!(rows(&lake, count).await.unwrap(), ["1|1"]);
    write(folder.path(), tables::LATENCY, "b.parquet", &[window("t", "c", 1, &[1, 2])]);
    assert_eq!(rows(&lake, count).await.unwrap(), ["2|3"]);
    std::fs::remove_file(folder.path().join("latency/date=2026-01-01/a.parquet")).unwrap();
    assert_eq!(rows(&lake, count).await.unwrap(), ["1|2"]);
}

#[tokio::test]
async fn a_place_that_is_no_lake_is_refused_with_a_remedy() {
    let nowhere = LakeRoot::parse("/nowhere/at/all").unwrap();
    let error = Lake::open(&nowhere, Options::default()).await.err().unwrap();
    assert!(error.to_string().contains("peerscope demo"), "{error}");
}

#[tokio::test]
async fn the_final_latency_of_a_window_is_its_newest_revision() {
    let folder = tempfile::tempdir().unwrap();
    let row = |minute, samples: &[u32], revision| LatencyRow {
        revision,
        ..window("t", "c", minute, samples)
    };
    // Minute 0: as it was. 1: revised twice. 2: its revision is folded in already. 3: only revised.
    let first = [row(0, &[9], 0), row(1, &[9], 0), row(2, &[9, 9], 1)];
    write(folder.path(), tables::LATENCY, "a.parquet", &first);
    let late = [row(1, &[9; 2], 1), row(1, &[9; 3], 2), row(2, &[9, 9], 1), row(3, &[9; 4], 1)];
    write(folder.path(), tables::LATENCY_REVISIONS, "a.parquet", &late);
    let lake = open(folder.path()).await;
    let found =
        rows(&lake, "SELECT samples, revision FROM latency_final ORDER BY window_start").await;
    assert_eq!(found.unwrap(), ["1|0", "3|2", "2|1", "4|1"]);
    let found = rows(&lake, "SELECT samples, rtt_p50_us FROM latency_quantiles").await;
    assert_eq!(found.unwrap(), ["10|9"]);
}

#[tokio::test]
async fn an_incident_is_the_last_state_of_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let findings = [
        finding("a", 1, "opened", None),
        finding("a", 2, "updated", None),
        finding("a", 4, "resolved", None),
        finding("b", 1, "opened", None),
        finding("b", 3, "reopened", None),
    ];
    write(folder.path(), tables::FINDINGS, "a.parquet", &findings);
    let lake = open(folder.path()).await;
    let sql = "SELECT finding_id, phase, duration_secs FROM incidents ORDER BY finding_id";
    assert_eq!(rows(&lake, sql).await.unwrap(), ["a|resolved|180", "b|reopened|null"]);
    let sql = "SELECT finding_id FROM open_findings";
    assert_eq!(rows(&lake, sql).await.unwrap(), ["b"]);
}

/// The same question four ways: our functions in one group and in many, plain SQL over the lists,
/// and a count by hand.
#[tokio::test]
async fn our_quantiles_are_those_of_plain_sql_for_any_total() {
    let folder = tempfile::tempdir().unwrap();
    let mut seed = 7_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut windows = Vec::new();
    for connection in 0..150 {
        let name = format!("c{connection:03}");
        for minute in 0..4 {
            let len = random(70) * u64::from(connection != 7);
            let rtts: Vec<u32> = (0..len).map(|_| 20_000 + random(30_000) as u32).collect();
            windows.push(window("t", &name, minute, &rtts));
        }
    }
    for (part, rows) in windows.chunks(90).enumerate() {
        write(folder.path(), tables::LATENCY, &format!("{part}.parquet"), rows);
    }
    let lake = open(folder.path()).await;
    let quantiles = views::ALL.iter().find(|view| view.name == "latency_quantiles").unwrap();
    let plain = (quantiles.query)(Engine::DataFusion);
    let plain = rows(&lake, &format!("SELECT * FROM ({plain}) ORDER BY connection")).await.unwrap();
    let ours = rows(&lake, "SELECT * FROM latency_quantiles ORDER BY connection").await.unwrap();
    assert_eq!(ours.len(), 149, "a connection without a sample has no quantile");
    assert_eq!(ours, plain);

    let sql = "SELECT hdr_count(m), hdr_quantile(m, 0.95), hdr_quantile(m, 0), hdr_quantile(m, 1) \
               FROM (SELECT hdr_merge(hist_bucket, hist_count) AS m FROM latency)";
    let mut all = Counts::default();
    for row in &windows {
        let pairs = row.hist_bucket.iter().zip(&row.hist_count);
        pairs.for_each(|(bucket, count)| all.add(*bucket, u64::from(*count)));
    }
    let by_hand = [0.95, 0.0, 1.0].map(|q| all.quantile(q).unwrap().to_string());
    assert!(target(0.95, all.total()) > 1.0);
    let expected = format!("{}|{}", all.total(), by_hand.join("|"));
    assert_eq!(rows(&lake, sql).await.unwrap(), [expected.as_str()]);
    let twice = "SELECT hdr_count(m), hdr_quantile(m, 0.95), hdr_quantile(m, 0), hdr_quantile(m, 1) \
                 FROM (SELECT hdr_merge(p.bucket, p.count) AS m FROM (SELECT connection, \
                 hdr_merge(hist_bucket, hist_count) AS p FROM latency GROUP BY connection))";
    assert_eq!(rows(&lake, twice).await.unwrap(), [expected.as_str()]);
}

#[tokio::test]
async fn functions_give_null_for_null_and_say_what_they_take() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let merged = "(SELECT hdr_merge(b, n) FROM (VALUES ([10, 300], [1, 3])) AS v(b, n))";
    for (sql, expected) in [
        ("prefix_covers('192.0.2.0/24', '192.0.2.128/25')", "true"),
        ("prefix_covers('192.0.2.0/25', '192.0.2.0/24')", "false"),
        ("prefix_covers('192.0.2.0/24', '192.0.2.7')", "null"),
        ("prefix_covers(NULL, '192.0.2.0/24')", "null"),
        ("prefix_length('2001:db8::/32')", "32"),
        ("prefix_length('192.0.2.1/24')", "null"),
        ("as_path_length([64500, 64500, 64501, 64500])", "3"),
        ("as_path_length([])", "0"),
        ("as_path_length(NULL)", "null"),
        ("hdr_quantile(NULL, 0.5)", "null"),
        (&format!("hdr_quantile({merged}, 0.25)"), "10"),
        (&format!("hdr_quantile({merged}, 0.26)"), "301"),
        (&format!("hdr_quantile({merged}, NULL)"), "null"),
        (&format!("hdr_count({merged})"), "4"),
        ("hdr_quantile((SELECT hdr_merge(hist_bucket, hist_count) FROM latency), 0.5)", "null"),
        (
            "hdr_count((SELECT hdr_merge(b, n) FROM (VALUES ([1], [1])) AS v(b, n) WHERE b[1] = 2))",
            "null",
        ),
    ] {
        assert_eq!(rows(&lake, &format!("SELECT {sql}")).await.unwrap(), [expected], "{sql}");
    }
    for (sql, says) in [
        (format!("hdr_quantile({merged}, 1.5)"), "from 0 to 1, not 1.5"),
        (format!("hdr_quantile({merged}, 95)"), "from 0 to 1, not 95"),
        ("hdr_quantile('x', 0.5)".to_owned(), "takes hdr_quantile(hdr_merge("),
        ("as_path_length('64500')".to_owned(), "a list of AS numbers"),
        ("hdr_count(hdr_merge([1, 2], [1]))".to_owned(), "2 buckets and 1 counts"),
        ("hdr_count(hdr_merge([99000000], [1]))".to_owned(), "above the largest"),
        ("hdr_merge('x', 'y')".to_owned(), "two lists of whole numbers"),
    ] {
        let message = refusal(&lake, &format!("SELECT {sql}")).await;
        assert!(message.contains(says), "{sql}: {message}");
    }
}

/// contoso and fabrikam share a lake; one finding is nobody's.
fn two_tenants(lake: &Path) {
    let windows = [window("contoso", "seattle", 0, &[9]), window("fabrikam", "4711", 0, &[9; 5])];
    write(lake, tables::LATENCY, "a.parquet", &windows);
    let findings = [
        finding("a", 1, "opened", Some("contoso")),
        finding("b", 1, "opened", Some("fabrikam")),
        finding("c", 1, "opened", None),
    ];
    write(lake, tables::FINDINGS, "a.parquet", &findings);
    let ledger: [LedgerRow; 0] = [];
    write(lake, tables::LEDGER, "a.parquet", &ledger);
    let evidence: [EvidenceRow; 0] = [];
    write(lake, tables::EVIDENCE, "a.parquet", &evidence);
}

#[tokio::test]
async fn a_tenant_sees_his_rows_and_no_others_in_tables_views_and_functions() {
    let folder = tempfile::tempdir().unwrap();
    two_tenants(folder.path());
    let lake = open_as(folder.path(), "fabrikam").await;
    for (sql, expected) in [
        ("SELECT tenant, count(*) FROM latency GROUP BY tenant", vec!["fabrikam|1"]),
        ("SELECT samples FROM latency WHERE window_start >= '2026-01-01'", vec!["5"]),
        ("SELECT count(*) FROM latency WHERE tenant = 'contoso' OR 1 = 1", vec!["1"]),
        ("SELECT count(*) FROM latency", vec!["1"]),
        (
            "SELECT finding_id FROM findings UNION ALL SELECT finding_id FROM incidents",
            vec!["b", "b"],
        ),
        ("SELECT connection, samples FROM latency_quantiles", vec!["4711|5"]),
        ("SELECT count(*) FROM findings WHERE tenant IS NULL", vec!["0"]),
        ("SELECT (SELECT max(connection) FROM latency)", vec!["4711"]),
        ("SELECT connection FROM latency ORDER BY samples LIMIT 1", vec!["4711"]),
    ] {
        assert_eq!(rows(&lake, sql).await.unwrap(), expected, "{sql}");
    }
    let operator = open(folder.path()).await;
    assert_eq!(rows(&operator, "SELECT count(*) FROM findings").await.unwrap(), ["3"]);
    let quoted = open_as(folder.path(), "x' OR '1' = '1").await;
    assert_eq!(rows(&quoted, "SELECT count(*) FROM latency").await.unwrap(), ["0"]);
}

/// A predicate of the reader that fails on the rows of others would tell him what is in them.
#[tokio::test]
async fn what_a_tenant_computes_is_computed_on_his_rows_only() {
    let folder = tempfile::tempdir().unwrap();
    two_tenants(folder.path());
    let lake = open_as(folder.path(), "fabrikam").await;
    for sql in [
        "SELECT samples FROM latency WHERE CAST(connection AS INT) = 4711",
        "SELECT samples FROM latency WHERE CAST(connection AS INT) = 4711 AND samples > 0",
        "SELECT samples FROM latency WHERE CASE WHEN samples = 1 THEN 1 / 0 = 1 ELSE true END",
        "SELECT l.samples FROM latency l JOIN (VALUES (4711)) AS v(n) ON CAST(l.connection AS INT) = v.n",
        "SELECT max(samples) FROM latency HAVING max(CAST(connection AS INT)) > 1",
    ] {
        assert_eq!(rows(&lake, sql).await.unwrap(), ["5"], "{sql}");
    }
}

/// The same as a property of the plan: below the barrier, where all rows are, stand the tenant and
/// comparisons with constants, in the file scan too; what may fail stands above.
#[tokio::test]
async fn only_comparisons_that_cannot_fail_reach_the_rows_of_others() {
    let folder = tempfile::tempdir().unwrap();
    two_tenants(folder.path());
    let lake = open_as(folder.path(), "fabrikam").await;
    let sql = "SELECT l.samples FROM latency l WHERE CAST(l.connection AS INT) = 4711 \
               AND l.window_start >= '2026-01-01' AND 1 / l.samples < 2 AND l.prefix ~ 'x|0'";
    let plan = lake.query(sql).await.unwrap().create_physical_plan().await.unwrap();
    let text = displayable(plan.as_ref()).indent(true).to_string();
    let (above, below) = text.split_once("TenantBarrier").expect(&text);
    let (_, scan) = below.split_once("DataSourceExec").expect(&text);
    for may_fail in ["CAST(connection", "1 / ", " ~ "] {
        assert!(above.contains(may_fail) && !below.contains(may_fail), "{may_fail}: {text}");
    }
    for cannot_fail in ["tenant@", "window_start@"] {
        assert!(scan.contains(cannot_fail), "{cannot_fail}: {text}");
    }
    assert_eq!(rows(&lake, sql).await.unwrap(), ["5"]);
}

#[tokio::test]
async fn a_tenant_may_only_query() {
    let folder = tempfile::tempdir().unwrap();
    two_tenants(folder.path());
    let lake = open_as(folder.path(), "fabrikam").await;
    let file = folder.path().join("latency/date=2026-01-01/a.parquet").display().to_string();
    for sql in [
        "SELECT * FROM ledger".to_owned(),
        format!("SELECT * FROM '{file}'"),
        format!("CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '{file}'"),
        "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION 'lake://local/latency/'".to_owned(),
        "CREATE TABLE x AS SELECT 1".to_owned(),
        "CREATE VIEW x AS SELECT 1".to_owned(),
        "DROP TABLE latency".to_owned(),
        "COPY latency TO '/tmp/x.parquet'".to_owned(),
        "INSERT INTO latency SELECT * FROM latency".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        "EXPLAIN SELECT * FROM latency".to_owned(),
        "EXPLAIN ANALYZE SELECT * FROM latency".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
    ] {
        refusal(&lake, &sql).await;
    }
    let shown = rows(&lake, "SHOW TABLES").await.unwrap().join("\n");
    assert!(shown.contains("|latency|") && !shown.contains("ledger"), "{shown}");
    assert!(rows(&lake, "DESCRIBE latency").await.unwrap().len() > 30);
}

#[tokio::test]
async fn the_operator_may_do_all_but_write_to_the_lake() {
    let folder = tempfile::tempdir().unwrap();
    two_tenants(folder.path());
    let lake = open(folder.path()).await;
    for sql in [
        "INSERT INTO latency SELECT * FROM latency",
        "EXPLAIN ANALYZE INSERT INTO latency SELECT * FROM latency",
        "COPY latency TO 'lake://local/latency/x.parquet'",
    ] {
        let message = refusal(&lake, sql).await;
        assert!(message.contains("written by peerscope alone"), "{sql}: {message}");
    }
    let copy = folder.path().join("_copy.parquet").display().to_string();
    rows(&lake, &format!("COPY (SELECT * FROM latency) TO '{copy}'")).await.unwrap();
    let sql = format!("SELECT count(*) FROM '{copy}'");
    assert_eq!(rows(&lake, &sql).await.unwrap(), ["2"]);
    rows(&lake, "CREATE TABLE mine AS SELECT 1 AS one").await.unwrap();
    assert_eq!(rows(&lake, "SELECT one, round(ceil(0.5)) FROM mine").await.unwrap(), ["1|1.0"]);
}
