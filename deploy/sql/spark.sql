-- The tables and views of a peerscope lake for the stock Spark 4. In the lake's folder:
--   spark-sql --conf spark.sql.catalogImplementation=in-memory -i PATH/spark.sql
-- Generated from the declarations of the tables; do not edit.

SET spark.sql.session.timeZone = UTC;

-- one prefix announced or withdrawn by one BGP peer
CREATE OR REPLACE TEMPORARY VIEW route_updates (
  `event_time` TIMESTAMP,
  `received_time` TIMESTAMP,
  `router_time` TIMESTAMP,
  `source` STRING,
  `source_offset` DECIMAL(20, 0),
  `collector` STRING,
  `router` STRING,
  `peer_asn` BIGINT,
  `peer_ip` STRING,
  `session_role` STRING,
  `rib_view` STRING,
  `is_snapshot` BOOLEAN,
  `action` STRING,
  `prefix` STRING,
  `prefix_first` BINARY,
  `prefix_last` BINARY,
  `path_id` BIGINT,
  `origin_asn` BIGINT,
  `as_path` ARRAY<BIGINT>,
  `as_path_text` STRING,
  `next_hop` STRING,
  `med` BIGINT,
  `local_pref` BIGINT,
  `communities` ARRAY<STRING>,
  `otc` BIGINT,
  `rpki_state` STRING,
  `aspa_state` STRING,
  `disposition` STRING,
  `registered_prefix` STRING,
  `relation` STRING,
  `connection` STRING,
  `tenant` STRING,
  `date` STRING
)
USING parquet OPTIONS (path 'route_updates');

-- one prefix of one connection and source in one closed window
CREATE OR REPLACE TEMPORARY VIEW latency (
  `window_start` TIMESTAMP,
  `window_secs` BIGINT,
  `tenant` STRING,
  `connection` STRING,
  `partner_asn` BIGINT,
  `country` STRING,
  `region` STRING,
  `site` STRING,
  `prefix` STRING,
  `prefix_first` BINARY,
  `prefix_last` BINARY,
  `source` STRING,
  `statistic` STRING,
  `samples` BIGINT,
  `lost` BIGINT,
  `rtt_min_us` BIGINT,
  `rtt_p50_us` BIGINT,
  `rtt_p90_us` BIGINT,
  `rtt_p95_us` BIGINT,
  `rtt_p99_us` BIGINT,
  `rtt_max_us` BIGINT,
  `rtt_mean_us` BIGINT,
  `jitter_us` BIGINT,
  `p50_low_us` BIGINT,
  `p50_high_us` BIGINT,
  `p95_low_us` BIGINT,
  `p95_high_us` BIGINT,
  `exact` BOOLEAN,
  `quality` STRING,
  `baseline_p50_us` BIGINT,
  `baseline_p95_us` BIGINT,
  `route_epoch` DECIMAL(20, 0),
  `route_role` STRING,
  `as_hops` INT,
  `ingress_edge` STRING,
  `geo_country` STRING,
  `geo_subdivision` STRING,
  `geo_asn` BIGINT,
  `edge_nearest` STRING,
  `edge_distance_km` BIGINT,
  `geo_mismatch` BOOLEAN,
  `hist_bucket` ARRAY<BIGINT>,
  `hist_count` ARRAY<BIGINT>,
  `revision` BIGINT,
  `date` STRING
)
USING parquet OPTIONS (path 'latency');

-- a late correction of a window that `latency` holds
CREATE OR REPLACE TEMPORARY VIEW latency_revisions (
  `window_start` TIMESTAMP,
  `window_secs` BIGINT,
  `tenant` STRING,
  `connection` STRING,
  `partner_asn` BIGINT,
  `country` STRING,
  `region` STRING,
  `site` STRING,
  `prefix` STRING,
  `prefix_first` BINARY,
  `prefix_last` BINARY,
  `source` STRING,
  `statistic` STRING,
  `samples` BIGINT,
  `lost` BIGINT,
  `rtt_min_us` BIGINT,
  `rtt_p50_us` BIGINT,
  `rtt_p90_us` BIGINT,
  `rtt_p95_us` BIGINT,
  `rtt_p99_us` BIGINT,
  `rtt_max_us` BIGINT,
  `rtt_mean_us` BIGINT,
  `jitter_us` BIGINT,
  `p50_low_us` BIGINT,
  `p50_high_us` BIGINT,
  `p95_low_us` BIGINT,
  `p95_high_us` BIGINT,
  `exact` BOOLEAN,
  `quality` STRING,
  `baseline_p50_us` BIGINT,
  `baseline_p95_us` BIGINT,
  `route_epoch` DECIMAL(20, 0),
  `route_role` STRING,
  `as_hops` INT,
  `ingress_edge` STRING,
  `geo_country` STRING,
  `geo_subdivision` STRING,
  `geo_asn` BIGINT,
  `edge_nearest` STRING,
  `edge_distance_km` BIGINT,
  `geo_mismatch` BOOLEAN,
  `hist_bucket` ARRAY<BIGINT>,
  `hist_count` ARRAY<BIGINT>,
  `revision` BIGINT,
  `date` STRING
)
USING parquet OPTIONS (path 'latency_revisions');

-- `latency` merged to five minutes
CREATE OR REPLACE TEMPORARY VIEW latency_5m (
  `window_start` TIMESTAMP,
  `window_secs` BIGINT,
  `tenant` STRING,
  `connection` STRING,
  `partner_asn` BIGINT,
  `country` STRING,
  `region` STRING,
  `site` STRING,
  `prefix` STRING,
  `prefix_first` BINARY,
  `prefix_last` BINARY,
  `source` STRING,
  `statistic` STRING,
  `samples` BIGINT,
  `lost` BIGINT,
  `rtt_min_us` BIGINT,
  `rtt_p50_us` BIGINT,
  `rtt_p90_us` BIGINT,
  `rtt_p95_us` BIGINT,
  `rtt_p99_us` BIGINT,
  `rtt_max_us` BIGINT,
  `rtt_mean_us` BIGINT,
  `jitter_us` BIGINT,
  `p50_low_us` BIGINT,
  `p50_high_us` BIGINT,
  `p95_low_us` BIGINT,
  `p95_high_us` BIGINT,
  `exact` BOOLEAN,
  `quality` STRING,
  `baseline_p50_us` BIGINT,
  `baseline_p95_us` BIGINT,
  `route_epoch` DECIMAL(20, 0),
  `route_role` STRING,
  `as_hops` INT,
  `ingress_edge` STRING,
  `geo_country` STRING,
  `geo_subdivision` STRING,
  `geo_asn` BIGINT,
  `edge_nearest` STRING,
  `edge_distance_km` BIGINT,
  `geo_mismatch` BOOLEAN,
  `hist_bucket` ARRAY<BIGINT>,
  `hist_count` ARRAY<BIGINT>,
  `revision` BIGINT,
  `date` STRING
)
USING parquet OPTIONS (path 'latency_5m');

-- `latency` merged to an hour
CREATE OR REPLACE TEMPORARY VIEW latency_1h (
  `window_start` TIMESTAMP,
  `window_secs` BIGINT,
  `tenant` STRING,
  `connection` STRING,
  `partner_asn` BIGINT,
  `country` STRING,
  `region` STRING,
  `site` STRING,
  `prefix` STRING,
  `prefix_first` BINARY,
  `prefix_last` BINARY,
  `source` STRING,
  `statistic` STRING,
  `samples` BIGINT,
  `lost` BIGINT,
  `rtt_min_us` BIGINT,
  `rtt_p50_us` BIGINT,
  `rtt_p90_us` BIGINT,
  `rtt_p95_us` BIGINT,
  `rtt_p99_us` BIGINT,
  `rtt_max_us` BIGINT,
  `rtt_mean_us` BIGINT,
  `jitter_us` BIGINT,
  `p50_low_us` BIGINT,
  `p50_high_us` BIGINT,
  `p95_low_us` BIGINT,
  `p95_high_us` BIGINT,
  `exact` BOOLEAN,
  `quality` STRING,
  `baseline_p50_us` BIGINT,
  `baseline_p95_us` BIGINT,
  `route_epoch` DECIMAL(20, 0),
  `route_role` STRING,
  `as_hops` INT,
  `ingress_edge` STRING,
  `geo_country` STRING,
  `geo_subdivision` STRING,
  `geo_asn` BIGINT,
  `edge_nearest` STRING,
  `edge_distance_km` BIGINT,
  `geo_mismatch` BOOLEAN,
  `hist_bucket` ARRAY<BIGINT>,
  `hist_count` ARRAY<BIGINT>,
  `revision` BIGINT,
  `date` STRING
)
USING parquet OPTIONS (path 'latency_1h');

-- `latency` merged to a day
CREATE OR REPLACE TEMPORARY VIEW latency_1d (
  `window_start` TIMESTAMP,
  `window_secs` BIGINT,
  `tenant` STRING,
  `connection` STRING,
  `partner_asn` BIGINT,
  `country` STRING,
  `region` STRING,
  `site` STRING,
  `prefix` STRING,
  `prefix_first` BINARY,
  `prefix_last` BINARY,
  `source` STRING,
  `statistic` STRING,
  `samples` BIGINT,
  `lost` BIGINT,
  `rtt_min_us` BIGINT,
  `rtt_p50_us` BIGINT,
  `rtt_p90_us` BIGINT,
  `rtt_p95_us` BIGINT,
  `rtt_p99_us` BIGINT,
  `rtt_max_us` BIGINT,
  `rtt_mean_us` BIGINT,
  `jitter_us` BIGINT,
  `p50_low_us` BIGINT,
  `p50_high_us` BIGINT,
  `p95_low_us` BIGINT,
  `p95_high_us` BIGINT,
  `exact` BOOLEAN,
  `quality` STRING,
  `baseline_p50_us` BIGINT,
  `baseline_p95_us` BIGINT,
  `route_epoch` DECIMAL(20, 0),
  `route_role` STRING,
  `as_hops` INT,
  `ingress_edge` STRING,
  `geo_country` STRING,
  `geo_subdivision` STRING,
  `geo_asn` BIGINT,
  `edge_nearest` STRING,
  `edge_distance_km` BIGINT,
  `geo_mismatch` BOOLEAN,
  `hist_bucket` ARRAY<BIGINT>,
  `hist_count` ARRAY<BIGINT>,
  `revision` BIGINT,
  `date` STRING
)
USING parquet OPTIONS (path 'latency_1d');

-- one transition of one finding
CREATE OR REPLACE TEMPORARY VIEW findings (
  `finding_id` STRING,
  `sequence` BIGINT,
  `time` TIMESTAMP,
  `phase` STRING,
  `kind` STRING,
  `rule` STRING,
  `severity` STRING,
  `score` DOUBLE,
  `confidence` STRING,
  `prefix` STRING,
  `prefix_first` BINARY,
  `prefix_last` BINARY,
  `registered_prefix` STRING,
  `connection` STRING,
  `tenant` STRING,
  `culprit_asn` BIGINT,
  `victim_asn` BIGINT,
  `leak_type` SMALLINT,
  `witnesses` BIGINT,
  `opened_at` TIMESTAMP,
  `closed_at` TIMESTAMP,
  `group_id` STRING,
  `group_size` BIGINT,
  `path_before` STRING,
  `path_after` STRING,
  `rpki_state` STRING,
  `blame` STRING,
  `rtt_before_p50_us` BIGINT,
  `rtt_after_p50_us` BIGINT,
  `rtt_before_p95_us` BIGINT,
  `rtt_after_p95_us` BIGINT,
  `rtt_shift_low_us` INT,
  `rtt_shift_high_us` INT,
  `samples_affected` DECIMAL(20, 0),
  `azure_event` STRING,
  `muted_by` STRING,
  `config_hash` STRING,
  `verdict` STRING,
  `explanation` STRING,
  `date` STRING
)
USING parquet OPTIONS (path 'findings');

-- one term or witness behind a finding
CREATE OR REPLACE TEMPORARY VIEW evidence (
  `finding_id` STRING,
  `sequence` BIGINT,
  `tenant` STRING,
  `connection` STRING,
  `term` STRING,
  `weight` DOUBLE,
  `detail` STRING,
  `collector` STRING,
  `peer_asn` BIGINT,
  `peer_ip` STRING,
  `first_seen` TIMESTAMP,
  `last_seen` TIMESTAMP,
  `path_before` STRING,
  `path_after` STRING,
  `source` STRING,
  `source_offset` DECIMAL(20, 0),
  `date` STRING
)
USING parquet OPTIONS (path 'evidence');

-- one change of a BGP or BMP session
CREATE OR REPLACE TEMPORARY VIEW sessions (
  `time` TIMESTAMP,
  `source` STRING,
  `source_offset` DECIMAL(20, 0),
  `collector` STRING,
  `router` STRING,
  `rib_view` STRING,
  `local_ip` STRING,
  `peer_ip` STRING,
  `peer_asn` BIGINT,
  `tenant` STRING,
  `connection` STRING,
  `role` STRING,
  `state` STRING,
  `reason` STRING,
  `prefixes_accepted` DECIMAL(20, 0),
  `prefixes_max` DECIMAL(20, 0),
  `up_since` TIMESTAMP,
  `date` STRING
)
USING parquet OPTIONS (path 'sessions');

-- one registered prefix (and upstream) in one window
CREATE OR REPLACE TEMPORARY VIEW visibility (
  `window_start` TIMESTAMP,
  `tenant` STRING,
  `connection` STRING,
  `registered_prefix` STRING,
  `via_asn` BIGINT,
  `peers_seen` BIGINT,
  `peers_full` BIGINT,
  `date` STRING
)
USING parquet OPTIONS (path 'visibility');

-- one route held at a snapshot
CREATE OR REPLACE TEMPORARY VIEW rib (
  `snapshot_time` TIMESTAMP,
  `collector` STRING,
  `router` STRING,
  `peer_asn` BIGINT,
  `peer_ip` STRING,
  `session_role` STRING,
  `rib_view` STRING,
  `routing_domain` STRING,
  `prefix` STRING,
  `prefix_first` BINARY,
  `prefix_last` BINARY,
  `path_id` BIGINT,
  `as_path` ARRAY<BIGINT>,
  `origin_asn` BIGINT,
  `next_hop` STRING,
  `communities` ARRAY<STRING>,
  `otc` BIGINT,
  `stale` BOOLEAN,
  `tenant` STRING,
  `connection` STRING,
  `date` STRING
)
USING parquet OPTIONS (path 'rib');

-- what became of one range of the input
CREATE OR REPLACE TEMPORARY VIEW ledger (
  `time` TIMESTAMP,
  `source` STRING,
  `partition` BIGINT,
  `first_offset` DECIMAL(20, 0),
  `last_offset` DECIMAL(20, 0),
  `read` DECIMAL(20, 0),
  `accepted` DECIMAL(20, 0),
  `unmatched` DECIMAL(20, 0),
  `late` DECIMAL(20, 0),
  `quarantined` DECIMAL(20, 0),
  `refused` DECIMAL(20, 0),
  `reasons` ARRAY<STRING>,
  `date` STRING
)
USING parquet OPTIONS (path 'ledger');

-- one registered prefix of one connection in one version of the registry
CREATE OR REPLACE TEMPORARY VIEW connections (
  `time` TIMESTAMP,
  `version` BIGINT,
  `tenant` STRING,
  `connection` STRING,
  `kind` STRING,
  `state` STRING,
  `partner` STRING,
  `partner_asn` BIGINT,
  `country` STRING,
  `region` STRING,
  `latitude` DOUBLE,
  `longitude` DOUBLE,
  `site` STRING,
  `redundancy_group` STRING,
  `routing_domain` STRING,
  `primary_edge` STRING,
  `backup_edge` STRING,
  `bandwidth_mbps` BIGINT,
  `prefix` STRING,
  `prefix_validation_state` STRING,
  `max_length` SMALLINT,
  `owner` STRING,
  `origin_asns` ARRAY<BIGINT>,
  `upstream_asns` ARRAY<BIGINT>,
  `date` STRING
)
USING parquet OPTIONS (path 'connections');

-- one change of a connection's state
CREATE OR REPLACE TEMPORARY VIEW connection_states (
  `time` TIMESTAMP,
  `tenant` STRING,
  `connection` STRING,
  `state_before` STRING,
  `state_after` STRING,
  `legal` BOOLEAN,
  `date` STRING
)
USING parquet OPTIONS (path 'connection_states');

-- one of Azure's eight prefix events
CREATE OR REPLACE TEMPORARY VIEW prefix_events (
  `time` TIMESTAMP,
  `tenant` STRING,
  `connection` STRING,
  `prefix` STRING,
  `event_type` STRING,
  `event_level` STRING,
  `event_summary` STRING,
  `event_description` STRING,
  `finding_id` STRING,
  `date` STRING
)
USING parquet OPTIONS (path 'prefix_events');

-- a span in which a feed or an input was silent
CREATE OR REPLACE TEMPORARY VIEW feed_gaps (
  `started_at` TIMESTAMP,
  `ended_at` TIMESTAMP,
  `source` STRING,
  `collector` STRING,
  `reason` STRING,
  `lost` DECIMAL(20, 0),
  `date` STRING
)
USING parquet OPTIONS (path 'feed_gaps');

-- one attempt to deliver an alert
CREATE OR REPLACE TEMPORARY VIEW alert_deliveries (
  `time` TIMESTAMP,
  `finding_id` STRING,
  `sequence` BIGINT,
  `tenant` STRING,
  `connection` STRING,
  `target` STRING,
  `attempt` BIGINT,
  `outcome` STRING,
  `status` INT,
  `error` STRING,
  `date` STRING
)
USING parquet OPTIONS (path 'alert_deliveries');

-- a span in which alerts are muted
CREATE OR REPLACE TEMPORARY VIEW silences (
  `silence_id` STRING,
  `starts_at` TIMESTAMP,
  `ends_at` TIMESTAMP,
  `tenant` STRING,
  `connection` STRING,
  `prefix` STRING,
  `author` STRING,
  `reason` STRING,
  `date` STRING
)
USING parquet OPTIONS (path 'silences');

-- one word of an operator on one finding; the last one counts
CREATE OR REPLACE TEMPORARY VIEW marks (
  `finding_id` STRING,
  `mark` BIGINT,
  `time` TIMESTAMP,
  `tenant` STRING,
  `connection` STRING,
  `verdict` STRING,
  `learned` BOOLEAN,
  `note` STRING,
  `date` STRING
)
USING parquet OPTIONS (path 'marks');

-- One row a window: `latency`, overlaid with the newest row of `latency_revisions`.
CREATE OR REPLACE TEMPORARY VIEW latency_final AS
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
  SELECT 1 FROM (
    SELECT o.* FROM latency o LEFT SEMI JOIN latency_revisions s
    ON s.tenant = o.tenant AND s.connection = o.connection AND s.prefix = o.prefix
      AND s.source = o.source AND s.statistic = o.statistic AND s.window_start = o.window_start
      AND s.window_secs = o.window_secs) l
  WHERE l.tenant = r.tenant AND l.connection = r.connection AND l.prefix = r.prefix
    AND l.source = r.source AND l.statistic = r.statistic AND l.window_start = r.window_start
    AND l.window_secs = r.window_secs AND l.revision >= r.revision);

-- One row for each tenant, connection, prefix, source and statistic, over all windows of
-- `latency_final` that hold a sample: the windows merged by their histograms, percentiles by
-- nearest rank as the highest value of the bucket (within 0.8 % of the exact). For a span of time
-- take its query and filter by window_start.
CREATE OR REPLACE TEMPORARY VIEW latency_quantiles AS
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
      SELECT tenant, connection, prefix, source, statistic, inline(arrays_zip(hist_bucket, hist_count)) AS (bucket, n)
      FROM latency_final)
    GROUP BY tenant, connection, prefix, source, statistic, bucket))
GROUP BY tenant, connection, prefix, source, statistic;

-- One row a finding: its last state with the operator's last word on it (`marks`) as verdict, and
-- duration_secs, which is null while it is open.
CREATE OR REPLACE TEMPORARY VIEW incidents AS
SELECT f.finding_id, f.sequence, f.time, f.phase, f.kind, f.rule, f.severity, f.score,
  f.confidence, f.prefix, f.prefix_first, f.prefix_last, f.registered_prefix, f.connection,
  f.tenant, f.culprit_asn, f.victim_asn, f.leak_type, f.witnesses, f.opened_at, f.closed_at,
  f.group_id, f.group_size, f.path_before, f.path_after, f.rpki_state, f.blame,
  f.rtt_before_p50_us, f.rtt_after_p50_us, f.rtt_before_p95_us, f.rtt_after_p95_us,
  f.rtt_shift_low_us, f.rtt_shift_high_us, f.samples_affected, f.azure_event, f.muted_by,
  f.config_hash, coalesce(m.verdict, f.verdict) AS verdict, f.explanation, f.date,
  (unix_micros(f.closed_at) - unix_micros(f.opened_at)) div 1000000 AS duration_secs
FROM findings f
JOIN (SELECT finding_id, max(sequence) AS sequence FROM findings GROUP BY finding_id) last
  ON f.finding_id = last.finding_id AND f.sequence = last.sequence
LEFT JOIN (SELECT w.finding_id, w.verdict FROM marks w
  JOIN (SELECT finding_id, max(mark) AS mark FROM marks GROUP BY finding_id) said
  ON w.finding_id = said.finding_id AND w.mark = said.mark) m
  ON f.finding_id = m.finding_id;

-- One row for each finding that is not over.
CREATE OR REPLACE TEMPORARY VIEW open_findings AS
SELECT * FROM incidents WHERE phase IN ('opened', 'updated', 'reopened') AND closed_at IS NULL;
