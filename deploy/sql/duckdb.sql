-- The tables and views of a peerscope lake for the stock DuckDB. In the lake's folder:
--   duckdb -init PATH/duckdb.sql
-- Generated from the declarations of the tables; do not edit.

-- one prefix announced or withdrawn by one BGP peer
CREATE OR REPLACE VIEW route_updates AS
SELECT "event_time", "received_time", "router_time", "source", "source_offset", "collector",
  "router", "peer_asn", "peer_ip", "session_role", "rib_view", "is_snapshot", "action",
  "prefix", "prefix_first", "prefix_last", "path_id", "origin_asn", "as_path",
  "as_path_text", "next_hop", "med", "local_pref", "communities", "otc", "rpki_state",
  "aspa_state", "disposition", "registered_prefix", "relation", "connection", "tenant", date
FROM read_parquet('route_updates/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- one prefix of one connection and source in one closed window
CREATE OR REPLACE VIEW latency AS
SELECT "window_start", "window_secs", "tenant", "connection", "partner_asn", "country", "region",
  "site", "prefix", "prefix_first", "prefix_last", "source", "statistic", "samples", "lost",
  "rtt_min_us", "rtt_p50_us", "rtt_p90_us", "rtt_p95_us", "rtt_p99_us", "rtt_max_us",
  "rtt_mean_us", "jitter_us", "p50_low_us", "p50_high_us", "p95_low_us", "p95_high_us",
  "exact", "quality", "baseline_p50_us", "baseline_p95_us", "route_epoch", "route_role",
  "as_hops", "ingress_edge", "geo_country", "geo_subdivision", "geo_asn", "edge_nearest",
  "edge_distance_km", "geo_mismatch", "hist_bucket", "hist_count", "revision", date
FROM read_parquet('latency/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- a late correction of a window that `latency` holds
CREATE OR REPLACE VIEW latency_revisions AS
SELECT "window_start", "window_secs", "tenant", "connection", "partner_asn", "country", "region",
  "site", "prefix", "prefix_first", "prefix_last", "source", "statistic", "samples", "lost",
  "rtt_min_us", "rtt_p50_us", "rtt_p90_us", "rtt_p95_us", "rtt_p99_us", "rtt_max_us",
  "rtt_mean_us", "jitter_us", "p50_low_us", "p50_high_us", "p95_low_us", "p95_high_us",
  "exact", "quality", "baseline_p50_us", "baseline_p95_us", "route_epoch", "route_role",
  "as_hops", "ingress_edge", "geo_country", "geo_subdivision", "geo_asn", "edge_nearest",
  "edge_distance_km", "geo_mismatch", "hist_bucket", "hist_count", "revision", date
FROM read_parquet('latency_revisions/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- `latency` merged to five minutes
CREATE OR REPLACE VIEW latency_5m AS
SELECT "window_start", "window_secs", "tenant", "connection", "partner_asn", "country", "region",
  "site", "prefix", "prefix_first", "prefix_last", "source", "statistic", "samples", "lost",
  "rtt_min_us", "rtt_p50_us", "rtt_p90_us", "rtt_p95_us", "rtt_p99_us", "rtt_max_us",
  "rtt_mean_us", "jitter_us", "p50_low_us", "p50_high_us", "p95_low_us", "p95_high_us",
  "exact", "quality", "baseline_p50_us", "baseline_p95_us", "route_epoch", "route_role",
  "as_hops", "ingress_edge", "geo_country", "geo_subdivision", "geo_asn", "edge_nearest",
  "edge_distance_km", "geo_mismatch", "hist_bucket", "hist_count", "revision", date
FROM read_parquet('latency_5m/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- `latency` merged to an hour
CREATE OR REPLACE VIEW latency_1h AS
SELECT "window_start", "window_secs", "tenant", "connection", "partner_asn", "country", "region",
  "site", "prefix", "prefix_first", "prefix_last", "source", "statistic", "samples", "lost",
  "rtt_min_us", "rtt_p50_us", "rtt_p90_us", "rtt_p95_us", "rtt_p99_us", "rtt_max_us",
  "rtt_mean_us", "jitter_us", "p50_low_us", "p50_high_us", "p95_low_us", "p95_high_us",
  "exact", "quality", "baseline_p50_us", "baseline_p95_us", "route_epoch", "route_role",
  "as_hops", "ingress_edge", "geo_country", "geo_subdivision", "geo_asn", "edge_nearest",
  "edge_distance_km", "geo_mismatch", "hist_bucket", "hist_count", "revision", date
FROM read_parquet('latency_1h/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- `latency` merged to a day
CREATE OR REPLACE VIEW latency_1d AS
SELECT "window_start", "window_secs", "tenant", "connection", "partner_asn", "country", "region",
  "site", "prefix", "prefix_first", "prefix_last", "source", "statistic", "samples", "lost",
  "rtt_min_us", "rtt_p50_us", "rtt_p90_us", "rtt_p95_us", "rtt_p99_us", "rtt_max_us",
  "rtt_mean_us", "jitter_us", "p50_low_us", "p50_high_us", "p95_low_us", "p95_high_us",
  "exact", "quality", "baseline_p50_us", "baseline_p95_us", "route_epoch", "route_role",
  "as_hops", "ingress_edge", "geo_country", "geo_subdivision", "geo_asn", "edge_nearest",
  "edge_distance_km", "geo_mismatch", "hist_bucket", "hist_count", "revision", date
FROM read_parquet('latency_1d/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- one transition of one finding
CREATE OR REPLACE VIEW findings AS
SELECT "finding_id", "sequence", "time", "phase", "kind", "rule", "severity", "score",
  "confidence", "prefix", "prefix_first", "prefix_last", "registered_prefix", "connection",
  "tenant", "culprit_asn", "victim_asn", "leak_type", "witnesses", "opened_at", "closed_at",
  "group_id", "group_size", "path_before", "path_after", "rpki_state", "blame",
  "rtt_before_p50_us", "rtt_after_p50_us", "rtt_before_p95_us", "rtt_after_p95_us",
  "rtt_shift_low_us", "rtt_shift_high_us", "samples_affected", "azure_event", "muted_by",
  "config_hash", "verdict", "explanation", date
FROM read_parquet('findings/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- one term or witness behind a finding
CREATE OR REPLACE VIEW evidence AS
SELECT "finding_id", "sequence", "tenant", "connection", "term", "weight", "detail", "collector",
  "peer_asn", "peer_ip", "first_seen", "last_seen", "path_before", "path_after", "source",
  "source_offset", date
FROM read_parquet('evidence/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- one change of a BGP or BMP session
CREATE OR REPLACE VIEW sessions AS
SELECT "time", "source", "source_offset", "collector", "router", "rib_view", "local_ip",
  "peer_ip", "peer_asn", "tenant", "connection", "role", "state", "reason",
  "prefixes_accepted", "prefixes_max", "up_since", date
FROM read_parquet('sessions/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- one registered prefix (and upstream) in one window
CREATE OR REPLACE VIEW visibility AS
SELECT "window_start", "tenant", "connection", "registered_prefix", "via_asn", "peers_seen",
  "peers_full", date
FROM read_parquet('visibility/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- one route held at a snapshot
CREATE OR REPLACE VIEW rib AS
SELECT "snapshot_time", "collector", "router", "peer_asn", "peer_ip", "session_role", "rib_view",
  "routing_domain", "prefix", "prefix_first", "prefix_last", "path_id", "as_path",
  "origin_asn", "next_hop", "communities", "otc", "stale", "tenant", "connection", date
FROM read_parquet('rib/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- what became of one range of the input
CREATE OR REPLACE VIEW ledger AS
SELECT "time", "source", "partition", "first_offset", "last_offset", "read", "accepted",
  "unmatched", "late", "quarantined", "refused", "reasons", date
FROM read_parquet('ledger/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- one registered prefix of one connection in one version of the registry
CREATE OR REPLACE VIEW connections AS
SELECT "time", "version", "tenant", "connection", "kind", "state", "partner", "partner_asn",
  "country", "region", "latitude", "longitude", "site", "redundancy_group", "routing_domain",
  "primary_edge", "backup_edge", "bandwidth_mbps", "prefix", "prefix_validation_state",
  "max_length", "owner", "origin_asns", "upstream_asns", date
FROM read_parquet('connections/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- one change of a connection's state
CREATE OR REPLACE VIEW connection_states AS
SELECT "time", "tenant", "connection", "state_before", "state_after", "legal", date
FROM read_parquet('connection_states/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- one of Azure's eight prefix events
CREATE OR REPLACE VIEW prefix_events AS
SELECT "time", "tenant", "connection", "prefix", "event_type", "event_level", "event_summary",
  "event_description", "finding_id", date
FROM read_parquet('prefix_events/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- a span in which a feed or an input was silent
CREATE OR REPLACE VIEW feed_gaps AS
SELECT "started_at", "ended_at", "source", "collector", "reason", "lost", date
FROM read_parquet('feed_gaps/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- one attempt to deliver an alert
CREATE OR REPLACE VIEW alert_deliveries AS
SELECT "time", "finding_id", "sequence", "tenant", "connection", "target", "attempt", "outcome",
  "status", "error", date
FROM read_parquet('alert_deliveries/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- a span in which alerts are muted
CREATE OR REPLACE VIEW silences AS
SELECT "silence_id", "starts_at", "ends_at", "tenant", "connection", "prefix", "author", "reason", date
FROM read_parquet('silences/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- one word of an operator on one finding; the last one counts
CREATE OR REPLACE VIEW marks AS
SELECT "finding_id", "mark", "time", "tenant", "connection", "verdict", "learned", "note", date
FROM read_parquet('marks/**/*.parquet', hive_partitioning = true, hive_types = {'date': VARCHAR});

-- One row a window: `latency`, overlaid with the newest row of `latency_revisions`.
CREATE OR REPLACE VIEW latency_final AS
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
CREATE OR REPLACE VIEW latency_quantiles AS
SELECT tenant, connection, prefix, source, statistic, CAST(max(total) AS BIGINT) AS samples,
  min(CASE WHEN up_to >= ceil(CAST(0.5 AS DOUBLE) * total) THEN bucket END) AS rtt_p50_us,
  min(CASE WHEN up_to >= ceil(CAST(0.9 AS DOUBLE) * total) THEN bucket END) AS rtt_p90_us,
  min(CASE WHEN up_to >= ceil(CAST(0.95 AS DOUBLE) * total) THEN bucket END) AS rtt_p95_us,
  min(CASE WHEN up_to >= ceil(CAST(0.99 AS DOUBLE) * total) THEN bucket END) AS rtt_p99_us
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
CREATE OR REPLACE VIEW incidents AS
SELECT f.* REPLACE (coalesce(m.verdict, f.verdict) AS verdict),
  (epoch_us(f.closed_at) - epoch_us(f.opened_at)) // 1000000 AS duration_secs
FROM findings f
JOIN (SELECT finding_id, max(sequence) AS sequence FROM findings GROUP BY finding_id) last
  ON f.finding_id = last.finding_id AND f.sequence = last.sequence
LEFT JOIN (SELECT w.finding_id, w.verdict FROM marks w
  JOIN (SELECT finding_id, max(mark) AS mark FROM marks GROUP BY finding_id) said
  ON w.finding_id = said.finding_id AND w.mark = said.mark) m
  ON f.finding_id = m.finding_id;

-- One row for each finding that is not over.
CREATE OR REPLACE VIEW open_findings AS
SELECT * FROM incidents WHERE phase IN ('opened', 'updated', 'reopened');
