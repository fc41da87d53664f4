-- The tables and views of a peerscope lake for the stock datafusion-cli. In the lake's folder:
--   datafusion-cli -r PATH/datafusion.sql
-- Generated from the declarations of the tables; do not edit.

-- Its cache of file listings never expires: without this a session would not see new files.
SET datafusion.runtime.list_files_cache_limit = '0K';
SET datafusion.execution.time_zone = 'UTC';
SET datafusion.execution.parquet.pushdown_filters = true;

-- one prefix announced or withdrawn by one BGP peer
CREATE EXTERNAL TABLE route_updates (
  "event_time" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "received_time" TIMESTAMP(6) WITH TIME ZONE,
  "router_time" TIMESTAMP(6) WITH TIME ZONE,
  "source" VARCHAR NOT NULL,
  "source_offset" BIGINT UNSIGNED NOT NULL,
  "collector" VARCHAR NOT NULL,
  "router" VARCHAR,
  "peer_asn" INT UNSIGNED NOT NULL,
  "peer_ip" VARCHAR NOT NULL,
  "session_role" VARCHAR,
  "rib_view" VARCHAR NOT NULL,
  "is_snapshot" BOOLEAN NOT NULL,
  "action" VARCHAR NOT NULL,
  "prefix" VARCHAR NOT NULL,
  "prefix_first" BYTEA NOT NULL,
  "prefix_last" BYTEA NOT NULL,
  "path_id" INT UNSIGNED,
  "origin_asn" INT UNSIGNED,
  "as_path" INT UNSIGNED[],
  "as_path_text" VARCHAR,
  "next_hop" VARCHAR,
  "med" INT UNSIGNED,
  "local_pref" INT UNSIGNED,
  "communities" VARCHAR[],
  "otc" INT UNSIGNED,
  "rpki_state" VARCHAR,
  "aspa_state" VARCHAR,
  "disposition" VARCHAR NOT NULL,
  "registered_prefix" VARCHAR,
  "relation" VARCHAR,
  "connection" VARCHAR,
  "tenant" VARCHAR,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'route_updates/';

-- one prefix of one connection and source in one closed window
CREATE EXTERNAL TABLE latency (
  "window_start" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "window_secs" INT UNSIGNED NOT NULL,
  "tenant" VARCHAR NOT NULL,
  "connection" VARCHAR NOT NULL,
  "partner_asn" INT UNSIGNED,
  "country" VARCHAR,
  "region" VARCHAR,
  "site" VARCHAR,
  "prefix" VARCHAR NOT NULL,
  "prefix_first" BYTEA NOT NULL,
  "prefix_last" BYTEA NOT NULL,
  "source" VARCHAR NOT NULL,
  "statistic" VARCHAR NOT NULL,
  "samples" INT UNSIGNED NOT NULL,
  "lost" INT UNSIGNED NOT NULL,
  "rtt_min_us" INT UNSIGNED,
  "rtt_p50_us" INT UNSIGNED,
  "rtt_p90_us" INT UNSIGNED,
  "rtt_p95_us" INT UNSIGNED,
  "rtt_p99_us" INT UNSIGNED,
  "rtt_max_us" INT UNSIGNED,
  "rtt_mean_us" INT UNSIGNED,
  "jitter_us" INT UNSIGNED,
  "p50_low_us" INT UNSIGNED,
  "p50_high_us" INT UNSIGNED,
  "p95_low_us" INT UNSIGNED,
  "p95_high_us" INT UNSIGNED,
  "exact" BOOLEAN NOT NULL,
  "quality" VARCHAR NOT NULL,
  "baseline_p50_us" INT UNSIGNED,
  "baseline_p95_us" INT UNSIGNED,
  "route_epoch" BIGINT UNSIGNED,
  "route_role" VARCHAR,
  "as_hops" SMALLINT UNSIGNED,
  "ingress_edge" VARCHAR,
  "geo_country" VARCHAR,
  "geo_subdivision" VARCHAR,
  "geo_asn" INT UNSIGNED,
  "edge_nearest" VARCHAR,
  "edge_distance_km" INT UNSIGNED,
  "geo_mismatch" BOOLEAN,
  "hist_bucket" INT UNSIGNED[] NOT NULL,
  "hist_count" INT UNSIGNED[] NOT NULL,
  "revision" INT UNSIGNED NOT NULL,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'latency/';

-- a late correction of a window that `latency` holds
CREATE EXTERNAL TABLE latency_revisions (
  "window_start" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "window_secs" INT UNSIGNED NOT NULL,
  "tenant" VARCHAR NOT NULL,
  "connection" VARCHAR NOT NULL,
  "partner_asn" INT UNSIGNED,
  "country" VARCHAR,
  "region" VARCHAR,
  "site" VARCHAR,
  "prefix" VARCHAR NOT NULL,
  "prefix_first" BYTEA NOT NULL,
  "prefix_last" BYTEA NOT NULL,
  "source" VARCHAR NOT NULL,
  "statistic" VARCHAR NOT NULL,
  "samples" INT UNSIGNED NOT NULL,
  "lost" INT UNSIGNED NOT NULL,
  "rtt_min_us" INT UNSIGNED,
  "rtt_p50_us" INT UNSIGNED,
  "rtt_p90_us" INT UNSIGNED,
  "rtt_p95_us" INT UNSIGNED,
  "rtt_p99_us" INT UNSIGNED,
  "rtt_max_us" INT UNSIGNED,
  "rtt_mean_us" INT UNSIGNED,
  "jitter_us" INT UNSIGNED,
  "p50_low_us" INT UNSIGNED,
  "p50_high_us" INT UNSIGNED,
  "p95_low_us" INT UNSIGNED,
  "p95_high_us" INT UNSIGNED,
  "exact" BOOLEAN NOT NULL,
  "quality" VARCHAR NOT NULL,
  "baseline_p50_us" INT UNSIGNED,
  "baseline_p95_us" INT UNSIGNED,
  "route_epoch" BIGINT UNSIGNED,
  "route_role" VARCHAR,
  "as_hops" SMALLINT UNSIGNED,
  "ingress_edge" VARCHAR,
  "geo_country" VARCHAR,
  "geo_subdivision" VARCHAR,
  "geo_asn" INT UNSIGNED,
  "edge_nearest" VARCHAR,
  "edge_distance_km" INT UNSIGNED,
  "geo_mismatch" BOOLEAN,
  "hist_bucket" INT UNSIGNED[] NOT NULL,
  "hist_count" INT UNSIGNED[] NOT NULL,
  "revision" INT UNSIGNED NOT NULL,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'latency_revisions/';

-- `latency` merged to five minutes
CREATE EXTERNAL TABLE latency_5m (
  "window_start" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "window_secs" INT UNSIGNED NOT NULL,
  "tenant" VARCHAR NOT NULL,
  "connection" VARCHAR NOT NULL,
  "partner_asn" INT UNSIGNED,
  "country" VARCHAR,
  "region" VARCHAR,
  "site" VARCHAR,
  "prefix" VARCHAR NOT NULL,
  "prefix_first" BYTEA NOT NULL,
  "prefix_last" BYTEA NOT NULL,
  "source" VARCHAR NOT NULL,
  "statistic" VARCHAR NOT NULL,
  "samples" INT UNSIGNED NOT NULL,
  "lost" INT UNSIGNED NOT NULL,
  "rtt_min_us" INT UNSIGNED,
  "rtt_p50_us" INT UNSIGNED,
  "rtt_p90_us" INT UNSIGNED,
  "rtt_p95_us" INT UNSIGNED,
  "rtt_p99_us" INT UNSIGNED,
  "rtt_max_us" INT UNSIGNED,
  "rtt_mean_us" INT UNSIGNED,
  "jitter_us" INT UNSIGNED,
  "p50_low_us" INT UNSIGNED,
  "p50_high_us" INT UNSIGNED,
  "p95_low_us" INT UNSIGNED,
  "p95_high_us" INT UNSIGNED,
  "exact" BOOLEAN NOT NULL,
  "quality" VARCHAR NOT NULL,
  "baseline_p50_us" INT UNSIGNED,
  "baseline_p95_us" INT UNSIGNED,
  "route_epoch" BIGINT UNSIGNED,
  "route_role" VARCHAR,
  "as_hops" SMALLINT UNSIGNED,
  "ingress_edge" VARCHAR,
  "geo_country" VARCHAR,
  "geo_subdivision" VARCHAR,
  "geo_asn" INT UNSIGNED,
  "edge_nearest" VARCHAR,
  "edge_distance_km" INT UNSIGNED,
  "geo_mismatch" BOOLEAN,
  "hist_bucket" INT UNSIGNED[] NOT NULL,
  "hist_count" INT UNSIGNED[] NOT NULL,
  "revision" INT UNSIGNED NOT NULL,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'latency_5m/';

-- `latency` merged to an hour
CREATE EXTERNAL TABLE latency_1h (
  "window_start" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "window_secs" INT UNSIGNED NOT NULL,
  "tenant" VARCHAR NOT NULL,
  "connection" VARCHAR NOT NULL,
  "partner_asn" INT UNSIGNED,
  "country" VARCHAR,
  "region" VARCHAR,
  "site" VARCHAR,
  "prefix" VARCHAR NOT NULL,
  "prefix_first" BYTEA NOT NULL,
  "prefix_last" BYTEA NOT NULL,
  "source" VARCHAR NOT NULL,
  "statistic" VARCHAR NOT NULL,
  "samples" INT UNSIGNED NOT NULL,
  "lost" INT UNSIGNED NOT NULL,
  "rtt_min_us" INT UNSIGNED,
  "rtt_p50_us" INT UNSIGNED,
  "rtt_p90_us" INT UNSIGNED,
  "rtt_p95_us" INT UNSIGNED,
  "rtt_p99_us" INT UNSIGNED,
  "rtt_max_us" INT UNSIGNED,
  "rtt_mean_us" INT UNSIGNED,
  "jitter_us" INT UNSIGNED,
  "p50_low_us" INT UNSIGNED,
  "p50_high_us" INT UNSIGNED,
  "p95_low_us" INT UNSIGNED,
  "p95_high_us" INT UNSIGNED,
  "exact" BOOLEAN NOT NULL,
  "quality" VARCHAR NOT NULL,
  "baseline_p50_us" INT UNSIGNED,
  "baseline_p95_us" INT UNSIGNED,
  "route_epoch" BIGINT UNSIGNED,
  "route_role" VARCHAR,
  "as_hops" SMALLINT UNSIGNED,
  "ingress_edge" VARCHAR,
  "geo_country" VARCHAR,
  "geo_subdivision" VARCHAR,
  "geo_asn" INT UNSIGNED,
  "edge_nearest" VARCHAR,
  "edge_distance_km" INT UNSIGNED,
  "geo_mismatch" BOOLEAN,
  "hist_bucket" INT UNSIGNED[] NOT NULL,
  "hist_count" INT UNSIGNED[] NOT NULL,
  "revision" INT UNSIGNED NOT NULL,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'latency_1h/';

-- `latency` merged to a day
CREATE EXTERNAL TABLE latency_1d (
  "window_start" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "window_secs" INT UNSIGNED NOT NULL,
  "tenant" VARCHAR NOT NULL,
  "connection" VARCHAR NOT NULL,
  "partner_asn" INT UNSIGNED,
  "country" VARCHAR,
  "region" VARCHAR,
  "site" VARCHAR,
  "prefix" VARCHAR NOT NULL,
  "prefix_first" BYTEA NOT NULL,
  "prefix_last" BYTEA NOT NULL,
  "source" VARCHAR NOT NULL,
  "statistic" VARCHAR NOT NULL,
  "samples" INT UNSIGNED NOT NULL,
  "lost" INT UNSIGNED NOT NULL,
  "rtt_min_us" INT UNSIGNED,
  "rtt_p50_us" INT UNSIGNED,
  "rtt_p90_us" INT UNSIGNED,
  "rtt_p95_us" INT UNSIGNED,
  "rtt_p99_us" INT UNSIGNED,
  "rtt_max_us" INT UNSIGNED,
  "rtt_mean_us" INT UNSIGNED,
  "jitter_us" INT UNSIGNED,
  "p50_low_us" INT UNSIGNED,
  "p50_high_us" INT UNSIGNED,
  "p95_low_us" INT UNSIGNED,
  "p95_high_us" INT UNSIGNED,
  "exact" BOOLEAN NOT NULL,
  "quality" VARCHAR NOT NULL,
  "baseline_p50_us" INT UNSIGNED,
  "baseline_p95_us" INT UNSIGNED,
  "route_epoch" BIGINT UNSIGNED,
  "route_role" VARCHAR,
  "as_hops" SMALLINT UNSIGNED,
  "ingress_edge" VARCHAR,
  "geo_country" VARCHAR,
  "geo_subdivision" VARCHAR,
  "geo_asn" INT UNSIGNED,
  "edge_nearest" VARCHAR,
  "edge_distance_km" INT UNSIGNED,
  "geo_mismatch" BOOLEAN,
  "hist_bucket" INT UNSIGNED[] NOT NULL,
  "hist_count" INT UNSIGNED[] NOT NULL,
  "revision" INT UNSIGNED NOT NULL,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'latency_1d/';

-- one transition of one finding
CREATE EXTERNAL TABLE findings (
  "finding_id" VARCHAR NOT NULL,
  "sequence" INT UNSIGNED NOT NULL,
  "time" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "phase" VARCHAR NOT NULL,
  "kind" VARCHAR NOT NULL,
  "rule" VARCHAR NOT NULL,
  "severity" VARCHAR NOT NULL,
  "score" DOUBLE NOT NULL,
  "confidence" VARCHAR NOT NULL,
  "prefix" VARCHAR,
  "prefix_first" BYTEA,
  "prefix_last" BYTEA,
  "registered_prefix" VARCHAR,
  "connection" VARCHAR,
  "tenant" VARCHAR,
  "culprit_asn" INT UNSIGNED,
  "victim_asn" INT UNSIGNED,
  "leak_type" TINYINT UNSIGNED,
  "witnesses" INT UNSIGNED NOT NULL,
  "opened_at" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "closed_at" TIMESTAMP(6) WITH TIME ZONE,
  "group_id" VARCHAR,
  "group_size" INT UNSIGNED,
  "path_before" VARCHAR,
  "path_after" VARCHAR,
  "rpki_state" VARCHAR,
  "blame" VARCHAR,
  "rtt_before_p50_us" INT UNSIGNED,
  "rtt_after_p50_us" INT UNSIGNED,
  "rtt_before_p95_us" INT UNSIGNED,
  "rtt_after_p95_us" INT UNSIGNED,
  "rtt_shift_low_us" INT,
  "rtt_shift_high_us" INT,
  "samples_affected" BIGINT UNSIGNED,
  "azure_event" VARCHAR,
  "muted_by" VARCHAR,
  "config_hash" VARCHAR NOT NULL,
  "verdict" VARCHAR,
  "explanation" VARCHAR NOT NULL,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'findings/';

-- one term or witness behind a finding
CREATE EXTERNAL TABLE evidence (
  "finding_id" VARCHAR NOT NULL,
  "sequence" INT UNSIGNED NOT NULL,
  "tenant" VARCHAR,
  "connection" VARCHAR,
  "term" VARCHAR NOT NULL,
  "weight" DOUBLE NOT NULL,
  "detail" VARCHAR NOT NULL,
  "collector" VARCHAR,
  "peer_asn" INT UNSIGNED,
  "peer_ip" VARCHAR,
  "first_seen" TIMESTAMP(6) WITH TIME ZONE,
  "last_seen" TIMESTAMP(6) WITH TIME ZONE,
  "path_before" VARCHAR,
  "path_after" VARCHAR,
  "source" VARCHAR,
  "source_offset" BIGINT UNSIGNED,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'evidence/';

-- one change of a BGP or BMP session
CREATE EXTERNAL TABLE sessions (
  "time" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "source" VARCHAR NOT NULL,
  "source_offset" BIGINT UNSIGNED NOT NULL,
  "collector" VARCHAR NOT NULL,
  "router" VARCHAR,
  "rib_view" VARCHAR NOT NULL,
  "local_ip" VARCHAR,
  "peer_ip" VARCHAR NOT NULL,
  "peer_asn" INT UNSIGNED NOT NULL,
  "tenant" VARCHAR,
  "connection" VARCHAR,
  "role" VARCHAR,
  "state" VARCHAR NOT NULL,
  "reason" VARCHAR,
  "prefixes_accepted" BIGINT UNSIGNED,
  "prefixes_max" BIGINT UNSIGNED,
  "up_since" TIMESTAMP(6) WITH TIME ZONE,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'sessions/';

-- one registered prefix (and upstream) in one window
CREATE EXTERNAL TABLE visibility (
  "window_start" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "tenant" VARCHAR NOT NULL,
  "connection" VARCHAR NOT NULL,
  "registered_prefix" VARCHAR NOT NULL,
  "via_asn" INT UNSIGNED,
  "peers_seen" INT UNSIGNED NOT NULL,
  "peers_full" INT UNSIGNED NOT NULL,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'visibility/';

-- one route held at a snapshot
CREATE EXTERNAL TABLE rib (
  "snapshot_time" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "collector" VARCHAR NOT NULL,
  "router" VARCHAR,
  "peer_asn" INT UNSIGNED NOT NULL,
  "peer_ip" VARCHAR NOT NULL,
  "session_role" VARCHAR,
  "rib_view" VARCHAR NOT NULL,
  "routing_domain" VARCHAR NOT NULL,
  "prefix" VARCHAR NOT NULL,
  "prefix_first" BYTEA NOT NULL,
  "prefix_last" BYTEA NOT NULL,
  "path_id" INT UNSIGNED,
  "as_path" INT UNSIGNED[] NOT NULL,
  "origin_asn" INT UNSIGNED,
  "next_hop" VARCHAR,
  "communities" VARCHAR[] NOT NULL,
  "otc" INT UNSIGNED,
  "stale" BOOLEAN NOT NULL,
  "tenant" VARCHAR,
  "connection" VARCHAR,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'rib/';

-- what became of one range of the input
CREATE EXTERNAL TABLE ledger (
  "time" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "source" VARCHAR NOT NULL,
  "partition" INT UNSIGNED NOT NULL,
  "first_offset" BIGINT UNSIGNED NOT NULL,
  "last_offset" BIGINT UNSIGNED NOT NULL,
  "read" BIGINT UNSIGNED NOT NULL,
  "accepted" BIGINT UNSIGNED NOT NULL,
  "unmatched" BIGINT UNSIGNED NOT NULL,
  "late" BIGINT UNSIGNED NOT NULL,
  "quarantined" BIGINT UNSIGNED NOT NULL,
  "refused" BIGINT UNSIGNED NOT NULL,
  "reasons" VARCHAR[] NOT NULL,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'ledger/';

-- one registered prefix of one connection in one version of the registry
CREATE EXTERNAL TABLE connections (
  "time" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "version" INT UNSIGNED NOT NULL,
  "tenant" VARCHAR NOT NULL,
  "connection" VARCHAR NOT NULL,
  "kind" VARCHAR NOT NULL,
  "state" VARCHAR NOT NULL,
  "partner" VARCHAR,
  "partner_asn" INT UNSIGNED,
  "country" VARCHAR,
  "region" VARCHAR,
  "latitude" DOUBLE,
  "longitude" DOUBLE,
  "site" VARCHAR,
  "redundancy_group" VARCHAR,
  "routing_domain" VARCHAR NOT NULL,
  "primary_edge" VARCHAR,
  "backup_edge" VARCHAR,
  "bandwidth_mbps" INT UNSIGNED,
  "prefix" VARCHAR,
  "prefix_validation_state" VARCHAR,
  "max_length" TINYINT UNSIGNED,
  "owner" VARCHAR NOT NULL,
  "origin_asns" INT UNSIGNED[],
  "upstream_asns" INT UNSIGNED[],
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'connections/';

-- one change of a connection's state
CREATE EXTERNAL TABLE connection_states (
  "time" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "tenant" VARCHAR NOT NULL,
  "connection" VARCHAR NOT NULL,
  "state_before" VARCHAR,
  "state_after" VARCHAR NOT NULL,
  "legal" BOOLEAN NOT NULL,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'connection_states/';

-- one of Azure's eight prefix events
CREATE EXTERNAL TABLE prefix_events (
  "time" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "tenant" VARCHAR NOT NULL,
  "connection" VARCHAR NOT NULL,
  "prefix" VARCHAR NOT NULL,
  "event_type" VARCHAR NOT NULL,
  "event_level" VARCHAR NOT NULL,
  "event_summary" VARCHAR NOT NULL,
  "event_description" VARCHAR NOT NULL,
  "finding_id" VARCHAR,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'prefix_events/';

-- a span in which a feed or an input was silent
CREATE EXTERNAL TABLE feed_gaps (
  "started_at" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "ended_at" TIMESTAMP(6) WITH TIME ZONE,
  "source" VARCHAR NOT NULL,
  "collector" VARCHAR,
  "reason" VARCHAR NOT NULL,
  "lost" BIGINT UNSIGNED,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'feed_gaps/';

-- one attempt to deliver an alert
CREATE EXTERNAL TABLE alert_deliveries (
  "time" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "finding_id" VARCHAR NOT NULL,
  "sequence" INT UNSIGNED NOT NULL,
  "tenant" VARCHAR,
  "connection" VARCHAR,
  "target" VARCHAR NOT NULL,
  "attempt" INT UNSIGNED NOT NULL,
  "outcome" VARCHAR NOT NULL,
  "status" SMALLINT UNSIGNED,
  "error" VARCHAR,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'alert_deliveries/';

-- a span in which alerts are muted
CREATE EXTERNAL TABLE silences (
  "silence_id" VARCHAR NOT NULL,
  "starts_at" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "ends_at" TIMESTAMP(6) WITH TIME ZONE,
  "tenant" VARCHAR,
  "connection" VARCHAR,
  "prefix" VARCHAR,
  "author" VARCHAR NOT NULL,
  "reason" VARCHAR NOT NULL,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'silences/';

-- one word of an operator on one finding; the last one counts
CREATE EXTERNAL TABLE marks (
  "finding_id" VARCHAR NOT NULL,
  "mark" INT UNSIGNED NOT NULL,
  "time" TIMESTAMP(6) WITH TIME ZONE NOT NULL,
  "tenant" VARCHAR,
  "connection" VARCHAR,
  "verdict" VARCHAR NOT NULL,
  "learned" BOOLEAN NOT NULL,
  "note" VARCHAR,
  "date" VARCHAR
)
STORED AS PARQUET PARTITIONED BY (date) LOCATION 'marks/';

-- One row a window: `latency`, overlaid with the newest row of `latency_revisions`.
CREATE VIEW latency_final AS
SELECT l.* FROM latency l
WHERE NOT EXISTS (
  SELECT 1 FROM latency_revisions r
  WHERE r.tenant = l.tenant AND r.connection = l.connection AND r.prefix = l.prefix
    AND r.source = l.source AND r.statistic = l.statistic AND r.window_start = l.window_start
    AND r.window_secs = l.window_secs AND r.revision > l.revision)
UNION ALL
SELECT r.* FROM latency_revisions r
WHERE NOT EXISTS (
  SELECT 1 FROM latency_revisions n
  WHERE n.tenant = r.tenant AND n.connection = r.connection AND n.prefix = r.prefix
    AND n.source = r.source AND n.statistic = r.statistic AND n.window_start = r.window_start
    AND n.window_secs = r.window_secs AND n.revision > r.revision)
AND NOT EXISTS (
  SELECT 1 FROM latency l
  WHERE l.tenant = r.tenant AND l.connection = r.connection AND l.prefix = r.prefix
    AND l.source = r.source AND l.statistic = r.statistic AND l.window_start = r.window_start
    AND l.window_secs = r.window_secs AND l.revision >= r.revision);

-- One row for each tenant, connection, prefix, source and statistic, over all windows of
-- `latency_final` that hold a sample: the windows merged by their histograms, percentiles by
-- nearest rank as the highest value of the bucket (within 0.8 % of the exact). For a span of time
-- take its query and filter by window_start.
CREATE VIEW latency_quantiles AS
SELECT tenant, connection, prefix, source, statistic, CAST(max(total) AS BIGINT) AS samples,
  min(CASE WHEN up_to >= ceil(0.5 * total) THEN bucket END) AS rtt_p50_us,
  min(CASE WHEN up_to >= ceil(0.9 * total) THEN bucket END) AS rtt_p90_us,
  min(CASE WHEN up_to >= ceil(0.95 * total) THEN bucket END) AS rtt_p95_us,
  min(CASE WHEN up_to >= ceil(0.99 * total) THEN bucket END) AS rtt_p99_us
FROM (
  SELECT tenant, connection, prefix, source, statistic, bucket,
    sum(n) OVER (PARTITION BY tenant, connection, prefix, source, statistic ORDER BY bucket) AS up_to,
    sum(n) OVER (PARTITION BY tenant, connection, prefix, source, statistic) AS total
  FROM (
    SELECT tenant, connection, prefix, source, statistic, bucket, sum(n) AS n
    FROM (
      SELECT tenant, connection, prefix, source, statistic, unnest(hist_bucket) AS bucket, unnest(hist_count) AS n
      FROM latency_final)
    GROUP BY tenant, connection, prefix, source, statistic, bucket))
GROUP BY tenant, connection, prefix, source, statistic;

-- One row a finding: its last state with the operator's last word on it (`marks`) as verdict, and
-- duration_secs, which is null while it is open.
CREATE VIEW incidents AS
SELECT f.* REPLACE (coalesce(m.verdict, f.verdict) AS verdict),
  (CAST(f.closed_at AS BIGINT) - CAST(f.opened_at AS BIGINT)) / 1000000 AS duration_secs
FROM findings f
JOIN (SELECT finding_id, max(sequence) AS sequence FROM findings GROUP BY finding_id) last
  ON f.finding_id = last.finding_id AND f.sequence = last.sequence
LEFT JOIN (SELECT w.finding_id, w.verdict FROM marks w
  JOIN (SELECT finding_id, max(mark) AS mark FROM marks GROUP BY finding_id) said
  ON w.finding_id = said.finding_id AND w.mark = said.mark) m
  ON f.finding_id = m.finding_id;

-- One row for each finding that is not over.
CREATE VIEW open_findings AS
SELECT * FROM incidents WHERE phase IN ('opened', 'updated', 'reopened') AND closed_at IS NULL;
