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
FROM (FROM read_parquet('route_updates/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "event_time", NULL::TIMESTAMPTZ AS "received_time",
  NULL::TIMESTAMPTZ AS "router_time", NULL::VARCHAR AS "source",
  NULL::UBIGINT AS "source_offset", NULL::VARCHAR AS "collector", NULL::VARCHAR AS "router",
  NULL::UINTEGER AS "peer_asn", NULL::VARCHAR AS "peer_ip", NULL::VARCHAR AS "session_role",
  NULL::VARCHAR AS "rib_view", NULL::BOOLEAN AS "is_snapshot", NULL::VARCHAR AS "action",
  NULL::VARCHAR AS "prefix", NULL::BLOB AS "prefix_first", NULL::BLOB AS "prefix_last",
  NULL::UINTEGER AS "path_id", NULL::UINTEGER AS "origin_asn", NULL::UINTEGER[] AS "as_path",
  NULL::VARCHAR AS "as_path_text", NULL::VARCHAR AS "next_hop", NULL::UINTEGER AS "med",
  NULL::UINTEGER AS "local_pref", NULL::VARCHAR[] AS "communities", NULL::UINTEGER AS "otc",
  NULL::VARCHAR AS "rpki_state", NULL::VARCHAR AS "aspa_state",
  NULL::VARCHAR AS "disposition", NULL::VARCHAR AS "registered_prefix",
  NULL::VARCHAR AS "relation", NULL::VARCHAR AS "connection", NULL::VARCHAR AS "tenant"
WHERE false);

-- one prefix of one connection and source in one closed window
CREATE OR REPLACE VIEW latency AS
SELECT "window_start", "window_secs", "tenant", "connection", "partner_asn", "country", "region",
  "site", "prefix", "prefix_first", "prefix_last", "source", "statistic", "samples", "lost",
  "rtt_min_us", "rtt_p50_us", "rtt_p90_us", "rtt_p95_us", "rtt_p99_us", "rtt_max_us",
  "rtt_mean_us", "jitter_us", "p50_low_us", "p50_high_us", "p95_low_us", "p95_high_us",
  "exact", "quality", "baseline_p50_us", "baseline_p95_us", "route_epoch", "route_role",
  "as_hops", "ingress_edge", "geo_country", "geo_subdivision", "geo_asn", "edge_nearest",
  "edge_distance_km", "geo_mismatch", "hist_bucket", "hist_count", "revision", date
FROM (FROM read_parquet('latency/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "window_start", NULL::UINTEGER AS "window_secs",
  NULL::VARCHAR AS "tenant", NULL::VARCHAR AS "connection", NULL::UINTEGER AS "partner_asn",
  NULL::VARCHAR AS "country", NULL::VARCHAR AS "region", NULL::VARCHAR AS "site",
  NULL::VARCHAR AS "prefix", NULL::BLOB AS "prefix_first", NULL::BLOB AS "prefix_last",
  NULL::VARCHAR AS "source", NULL::VARCHAR AS "statistic", NULL::UINTEGER AS "samples",
  NULL::UINTEGER AS "lost", NULL::UINTEGER AS "rtt_min_us", NULL::UINTEGER AS "rtt_p50_us",
  NULL::UINTEGER AS "rtt_p90_us", NULL::UINTEGER AS "rtt_p95_us",
  NULL::UINTEGER AS "rtt_p99_us", NULL::UINTEGER AS "rtt_max_us",
  NULL::UINTEGER AS "rtt_mean_us", NULL::UINTEGER AS "jitter_us",
  NULL::UINTEGER AS "p50_low_us", NULL::UINTEGER AS "p50_high_us",
  NULL::UINTEGER AS "p95_low_us", NULL::UINTEGER AS "p95_high_us", NULL::BOOLEAN AS "exact",
  NULL::VARCHAR AS "quality", NULL::UINTEGER AS "baseline_p50_us",
  NULL::UINTEGER AS "baseline_p95_us", NULL::UBIGINT AS "route_epoch",
  NULL::VARCHAR AS "route_role", NULL::USMALLINT AS "as_hops",
  NULL::VARCHAR AS "ingress_edge", NULL::VARCHAR AS "geo_country",
  NULL::VARCHAR AS "geo_subdivision", NULL::UINTEGER AS "geo_asn",
  NULL::VARCHAR AS "edge_nearest", NULL::UINTEGER AS "edge_distance_km",
  NULL::BOOLEAN AS "geo_mismatch", NULL::UINTEGER[] AS "hist_bucket",
  NULL::UINTEGER[] AS "hist_count", NULL::UINTEGER AS "revision"
WHERE false);

-- a late correction of a window that `latency` holds
CREATE OR REPLACE VIEW latency_revisions AS
SELECT "window_start", "window_secs", "tenant", "connection", "partner_asn", "country", "region",
  "site", "prefix", "prefix_first", "prefix_last", "source", "statistic", "samples", "lost",
  "rtt_min_us", "rtt_p50_us", "rtt_p90_us", "rtt_p95_us", "rtt_p99_us", "rtt_max_us",
  "rtt_mean_us", "jitter_us", "p50_low_us", "p50_high_us", "p95_low_us", "p95_high_us",
  "exact", "quality", "baseline_p50_us", "baseline_p95_us", "route_epoch", "route_role",
  "as_hops", "ingress_edge", "geo_country", "geo_subdivision", "geo_asn", "edge_nearest",
  "edge_distance_km", "geo_mismatch", "hist_bucket", "hist_count", "revision", date
FROM (FROM read_parquet('latency_revisions/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "window_start", NULL::UINTEGER AS "window_secs",
  NULL::VARCHAR AS "tenant", NULL::VARCHAR AS "connection", NULL::UINTEGER AS "partner_asn",
  NULL::VARCHAR AS "country", NULL::VARCHAR AS "region", NULL::VARCHAR AS "site",
  NULL::VARCHAR AS "prefix", NULL::BLOB AS "prefix_first", NULL::BLOB AS "prefix_last",
  NULL::VARCHAR AS "source", NULL::VARCHAR AS "statistic", NULL::UINTEGER AS "samples",
  NULL::UINTEGER AS "lost", NULL::UINTEGER AS "rtt_min_us", NULL::UINTEGER AS "rtt_p50_us",
  NULL::UINTEGER AS "rtt_p90_us", NULL::UINTEGER AS "rtt_p95_us",
  NULL::UINTEGER AS "rtt_p99_us", NULL::UINTEGER AS "rtt_max_us",
  NULL::UINTEGER AS "rtt_mean_us", NULL::UINTEGER AS "jitter_us",
  NULL::UINTEGER AS "p50_low_us", NULL::UINTEGER AS "p50_high_us",
  NULL::UINTEGER AS "p95_low_us", NULL::UINTEGER AS "p95_high_us", NULL::BOOLEAN AS "exact",
  NULL::VARCHAR AS "quality", NULL::UINTEGER AS "baseline_p50_us",
  NULL::UINTEGER AS "baseline_p95_us", NULL::UBIGINT AS "route_epoch",
  NULL::VARCHAR AS "route_role", NULL::USMALLINT AS "as_hops",
  NULL::VARCHAR AS "ingress_edge", NULL::VARCHAR AS "geo_country",
  NULL::VARCHAR AS "geo_subdivision", NULL::UINTEGER AS "geo_asn",
  NULL::VARCHAR AS "edge_nearest", NULL::UINTEGER AS "edge_distance_km",
  NULL::BOOLEAN AS "geo_mismatch", NULL::UINTEGER[] AS "hist_bucket",
  NULL::UINTEGER[] AS "hist_count", NULL::UINTEGER AS "revision"
WHERE false);

-- `latency` merged to five minutes
CREATE OR REPLACE VIEW latency_5m AS
SELECT "window_start", "window_secs", "tenant", "connection", "partner_asn", "country", "region",
  "site", "prefix", "prefix_first", "prefix_last", "source", "statistic", "samples", "lost",
  "rtt_min_us", "rtt_p50_us", "rtt_p90_us", "rtt_p95_us", "rtt_p99_us", "rtt_max_us",
  "rtt_mean_us", "jitter_us", "p50_low_us", "p50_high_us", "p95_low_us", "p95_high_us",
  "exact", "quality", "baseline_p50_us", "baseline_p95_us", "route_epoch", "route_role",
  "as_hops", "ingress_edge", "geo_country", "geo_subdivision", "geo_asn", "edge_nearest",
  "edge_distance_km", "geo_mismatch", "hist_bucket", "hist_count", "revision", date
FROM (FROM read_parquet('latency_5m/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "window_start", NULL::UINTEGER AS "window_secs",
  NULL::VARCHAR AS "tenant", NULL::VARCHAR AS "connection", NULL::UINTEGER AS "partner_asn",
  NULL::VARCHAR AS "country", NULL::VARCHAR AS "region", NULL::VARCHAR AS "site",
  NULL::VARCHAR AS "prefix", NULL::BLOB AS "prefix_first", NULL::BLOB AS "prefix_last",
  NULL::VARCHAR AS "source", NULL::VARCHAR AS "statistic", NULL::UINTEGER AS "samples",
  NULL::UINTEGER AS "lost", NULL::UINTEGER AS "rtt_min_us", NULL::UINTEGER AS "rtt_p50_us",
  NULL::UINTEGER AS "rtt_p90_us", NULL::UINTEGER AS "rtt_p95_us",
  NULL::UINTEGER AS "rtt_p99_us", NULL::UINTEGER AS "rtt_max_us",
  NULL::UINTEGER AS "rtt_mean_us", NULL::UINTEGER AS "jitter_us",
  NULL::UINTEGER AS "p50_low_us", NULL::UINTEGER AS "p50_high_us",
  NULL::UINTEGER AS "p95_low_us", NULL::UINTEGER AS "p95_high_us", NULL::BOOLEAN AS "exact",
  NULL::VARCHAR AS "quality", NULL::UINTEGER AS "baseline_p50_us",
  NULL::UINTEGER AS "baseline_p95_us", NULL::UBIGINT AS "route_epoch",
  NULL::VARCHAR AS "route_role", NULL::USMALLINT AS "as_hops",
  NULL::VARCHAR AS "ingress_edge", NULL::VARCHAR AS "geo_country",
  NULL::VARCHAR AS "geo_subdivision", NULL::UINTEGER AS "geo_asn",
  NULL::VARCHAR AS "edge_nearest", NULL::UINTEGER AS "edge_distance_km",
  NULL::BOOLEAN AS "geo_mismatch", NULL::UINTEGER[] AS "hist_bucket",
  NULL::UINTEGER[] AS "hist_count", NULL::UINTEGER AS "revision"
WHERE false);

-- `latency` merged to an hour
CREATE OR REPLACE VIEW latency_1h AS
SELECT "window_start", "window_secs", "tenant", "connection", "partner_asn", "country", "region",
  "site", "prefix", "prefix_first", "prefix_last", "source", "statistic", "samples", "lost",
  "rtt_min_us", "rtt_p50_us", "rtt_p90_us", "rtt_p95_us", "rtt_p99_us", "rtt_max_us",
  "rtt_mean_us", "jitter_us", "p50_low_us", "p50_high_us", "p95_low_us", "p95_high_us",
  "exact", "quality", "baseline_p50_us", "baseline_p95_us", "route_epoch", "route_role",
  "as_hops", "ingress_edge", "geo_country", "geo_subdivision", "geo_asn", "edge_nearest",
  "edge_distance_km", "geo_mismatch", "hist_bucket", "hist_count", "revision", date
FROM (FROM read_parquet('latency_1h/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "window_start", NULL::UINTEGER AS "window_secs",
  NULL::VARCHAR AS "tenant", NULL::VARCHAR AS "connection", NULL::UINTEGER AS "partner_asn",
  NULL::VARCHAR AS "country", NULL::VARCHAR AS "region", NULL::VARCHAR AS "site",
  NULL::VARCHAR AS "prefix", NULL::BLOB AS "prefix_first", NULL::BLOB AS "prefix_last",
  NULL::VARCHAR AS "source", NULL::VARCHAR AS "statistic", NULL::UINTEGER AS "samples",
  NULL::UINTEGER AS "lost", NULL::UINTEGER AS "rtt_min_us", NULL::UINTEGER AS "rtt_p50_us",
  NULL::UINTEGER AS "rtt_p90_us", NULL::UINTEGER AS "rtt_p95_us",
  NULL::UINTEGER AS "rtt_p99_us", NULL::UINTEGER AS "rtt_max_us",
  NULL::UINTEGER AS "rtt_mean_us", NULL::UINTEGER AS "jitter_us",
  NULL::UINTEGER AS "p50_low_us", NULL::UINTEGER AS "p50_high_us",
  NULL::UINTEGER AS "p95_low_us", NULL::UINTEGER AS "p95_high_us", NULL::BOOLEAN AS "exact",
  NULL::VARCHAR AS "quality", NULL::UINTEGER AS "baseline_p50_us",
  NULL::UINTEGER AS "baseline_p95_us", NULL::UBIGINT AS "route_epoch",
  NULL::VARCHAR AS "route_role", NULL::USMALLINT AS "as_hops",
  NULL::VARCHAR AS "ingress_edge", NULL::VARCHAR AS "geo_country",
  NULL::VARCHAR AS "geo_subdivision", NULL::UINTEGER AS "geo_asn",
  NULL::VARCHAR AS "edge_nearest", NULL::UINTEGER AS "edge_distance_km",
  NULL::BOOLEAN AS "geo_mismatch", NULL::UINTEGER[] AS "hist_bucket",
  NULL::UINTEGER[] AS "hist_count", NULL::UINTEGER AS "revision"
WHERE false);

-- `latency` merged to a day
CREATE OR REPLACE VIEW latency_1d AS
SELECT "window_start", "window_secs", "tenant", "connection", "partner_asn", "country", "region",
  "site", "prefix", "prefix_first", "prefix_last", "source", "statistic", "samples", "lost",
  "rtt_min_us", "rtt_p50_us", "rtt_p90_us", "rtt_p95_us", "rtt_p99_us", "rtt_max_us",
  "rtt_mean_us", "jitter_us", "p50_low_us", "p50_high_us", "p95_low_us", "p95_high_us",
  "exact", "quality", "baseline_p50_us", "baseline_p95_us", "route_epoch", "route_role",
  "as_hops", "ingress_edge", "geo_country", "geo_subdivision", "geo_asn", "edge_nearest",
  "edge_distance_km", "geo_mismatch", "hist_bucket", "hist_count", "revision", date
FROM (FROM read_parquet('latency_1d/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "window_start", NULL::UINTEGER AS "window_secs",
  NULL::VARCHAR AS "tenant", NULL::VARCHAR AS "connection", NULL::UINTEGER AS "partner_asn",
  NULL::VARCHAR AS "country", NULL::VARCHAR AS "region", NULL::VARCHAR AS "site",
  NULL::VARCHAR AS "prefix", NULL::BLOB AS "prefix_first", NULL::BLOB AS "prefix_last",
  NULL::VARCHAR AS "source", NULL::VARCHAR AS "statistic", NULL::UINTEGER AS "samples",
  NULL::UINTEGER AS "lost", NULL::UINTEGER AS "rtt_min_us", NULL::UINTEGER AS "rtt_p50_us",
  NULL::UINTEGER AS "rtt_p90_us", NULL::UINTEGER AS "rtt_p95_us",
  NULL::UINTEGER AS "rtt_p99_us", NULL::UINTEGER AS "rtt_max_us",
  NULL::UINTEGER AS "rtt_mean_us", NULL::UINTEGER AS "jitter_us",
  NULL::UINTEGER AS "p50_low_us", NULL::UINTEGER AS "p50_high_us",
  NULL::UINTEGER AS "p95_low_us", NULL::UINTEGER AS "p95_high_us", NULL::BOOLEAN AS "exact",
  NULL::VARCHAR AS "quality", NULL::UINTEGER AS "baseline_p50_us",
  NULL::UINTEGER AS "baseline_p95_us", NULL::UBIGINT AS "route_epoch",
  NULL::VARCHAR AS "route_role", NULL::USMALLINT AS "as_hops",
  NULL::VARCHAR AS "ingress_edge", NULL::VARCHAR AS "geo_country",
  NULL::VARCHAR AS "geo_subdivision", NULL::UINTEGER AS "geo_asn",
  NULL::VARCHAR AS "edge_nearest", NULL::UINTEGER AS "edge_distance_km",
  NULL::BOOLEAN AS "geo_mismatch", NULL::UINTEGER[] AS "hist_bucket",
  NULL::UINTEGER[] AS "hist_count", NULL::UINTEGER AS "revision"
WHERE false);

-- one transition of one finding
CREATE OR REPLACE VIEW findings AS
SELECT "finding_id", "sequence", "time", "phase", "kind", "rule", "severity", "score",
  "confidence", "prefix", "prefix_first", "prefix_last", "registered_prefix", "connection",
  "tenant", "culprit_asn", "victim_asn", "leak_type", "witnesses", "opened_at", "closed_at",
  "group_id", "group_size", "path_before", "path_after", "rpki_state", "blame",
  "rtt_before_p50_us", "rtt_after_p50_us", "rtt_before_p95_us", "rtt_after_p95_us",
  "rtt_shift_low_us", "rtt_shift_high_us", "samples_affected", "azure_event", "muted_by",
  "config_hash", "verdict", "explanation", date
FROM (FROM read_parquet('findings/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::VARCHAR AS "finding_id", NULL::UINTEGER AS "sequence", NULL::TIMESTAMPTZ AS "time",
  NULL::VARCHAR AS "phase", NULL::VARCHAR AS "kind", NULL::VARCHAR AS "rule",
  NULL::VARCHAR AS "severity", NULL::DOUBLE AS "score", NULL::VARCHAR AS "confidence",
  NULL::VARCHAR AS "prefix", NULL::BLOB AS "prefix_first", NULL::BLOB AS "prefix_last",
  NULL::VARCHAR AS "registered_prefix", NULL::VARCHAR AS "connection",
  NULL::VARCHAR AS "tenant", NULL::UINTEGER AS "culprit_asn", NULL::UINTEGER AS "victim_asn",
  NULL::UTINYINT AS "leak_type", NULL::UINTEGER AS "witnesses",
  NULL::TIMESTAMPTZ AS "opened_at", NULL::TIMESTAMPTZ AS "closed_at",
  NULL::VARCHAR AS "group_id", NULL::UINTEGER AS "group_size",
  NULL::VARCHAR AS "path_before", NULL::VARCHAR AS "path_after",
  NULL::VARCHAR AS "rpki_state", NULL::VARCHAR AS "blame",
  NULL::UINTEGER AS "rtt_before_p50_us", NULL::UINTEGER AS "rtt_after_p50_us",
  NULL::UINTEGER AS "rtt_before_p95_us", NULL::UINTEGER AS "rtt_after_p95_us",
  NULL::INTEGER AS "rtt_shift_low_us", NULL::INTEGER AS "rtt_shift_high_us",
  NULL::UBIGINT AS "samples_affected", NULL::VARCHAR AS "azure_event",
  NULL::VARCHAR AS "muted_by", NULL::VARCHAR AS "config_hash", NULL::VARCHAR AS "verdict",
  NULL::VARCHAR AS "explanation"
WHERE false);

-- one term or witness behind a finding
CREATE OR REPLACE VIEW evidence AS
SELECT "finding_id", "sequence", "tenant", "connection", "term", "weight", "detail", "collector",
  "peer_asn", "peer_ip", "first_seen", "last_seen", "path_before", "path_after", "source",
  "source_offset", date
FROM (FROM read_parquet('evidence/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::VARCHAR AS "finding_id", NULL::UINTEGER AS "sequence", NULL::VARCHAR AS "tenant",
  NULL::VARCHAR AS "connection", NULL::VARCHAR AS "term", NULL::DOUBLE AS "weight",
  NULL::VARCHAR AS "detail", NULL::VARCHAR AS "collector", NULL::UINTEGER AS "peer_asn",
  NULL::VARCHAR AS "peer_ip", NULL::TIMESTAMPTZ AS "first_seen",
  NULL::TIMESTAMPTZ AS "last_seen", NULL::VARCHAR AS "path_before",
  NULL::VARCHAR AS "path_after", NULL::VARCHAR AS "source", NULL::UBIGINT AS "source_offset"
WHERE false);

-- one change of a BGP or BMP session
CREATE OR REPLACE VIEW sessions AS
SELECT "time", "source", "source_offset", "collector", "router", "rib_view", "local_ip",
  "peer_ip", "peer_asn", "tenant", "connection", "role", "state", "reason",
  "prefixes_accepted", "prefixes_max", "up_since", date
FROM (FROM read_parquet('sessions/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "time", NULL::VARCHAR AS "source", NULL::UBIGINT AS "source_offset",
  NULL::VARCHAR AS "collector", NULL::VARCHAR AS "router", NULL::VARCHAR AS "rib_view",
  NULL::VARCHAR AS "local_ip", NULL::VARCHAR AS "peer_ip", NULL::UINTEGER AS "peer_asn",
  NULL::VARCHAR AS "tenant", NULL::VARCHAR AS "connection", NULL::VARCHAR AS "role",
  NULL::VARCHAR AS "state", NULL::VARCHAR AS "reason", NULL::UBIGINT AS "prefixes_accepted",
  NULL::UBIGINT AS "prefixes_max", NULL::TIMESTAMPTZ AS "up_since"
WHERE false);

-- one registered prefix (and upstream) in one window
CREATE OR REPLACE VIEW visibility AS
SELECT "window_start", "tenant", "connection", "registered_prefix", "via_asn", "peers_seen",
  "peers_full", date
FROM (FROM read_parquet('visibility/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "window_start", NULL::VARCHAR AS "tenant",
  NULL::VARCHAR AS "connection", NULL::VARCHAR AS "registered_prefix",
  NULL::UINTEGER AS "via_asn", NULL::UINTEGER AS "peers_seen",
  NULL::UINTEGER AS "peers_full"
WHERE false);

-- one route held at a snapshot
CREATE OR REPLACE VIEW rib AS
SELECT "snapshot_time", "collector", "router", "peer_asn", "peer_ip", "session_role", "rib_view",
  "routing_domain", "prefix", "prefix_first", "prefix_last", "path_id", "as_path",
  "origin_asn", "next_hop", "communities", "otc", "stale", "tenant", "connection", date
FROM (FROM read_parquet('rib/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "snapshot_time", NULL::VARCHAR AS "collector",
  NULL::VARCHAR AS "router", NULL::UINTEGER AS "peer_asn", NULL::VARCHAR AS "peer_ip",
  NULL::VARCHAR AS "session_role", NULL::VARCHAR AS "rib_view",
  NULL::VARCHAR AS "routing_domain", NULL::VARCHAR AS "prefix", NULL::BLOB AS "prefix_first",
  NULL::BLOB AS "prefix_last", NULL::UINTEGER AS "path_id", NULL::UINTEGER[] AS "as_path",
  NULL::UINTEGER AS "origin_asn", NULL::VARCHAR AS "next_hop",
  NULL::VARCHAR[] AS "communities", NULL::UINTEGER AS "otc", NULL::BOOLEAN AS "stale",
  NULL::VARCHAR AS "tenant", NULL::VARCHAR AS "connection"
WHERE false);

-- what became of one range of the input
CREATE OR REPLACE VIEW ledger AS
SELECT "time", "source", "partition", "first_offset", "last_offset", "read", "accepted",
  "unmatched", "late", "quarantined", "refused", "reasons", date
FROM (FROM read_parquet('ledger/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "time", NULL::VARCHAR AS "source", NULL::UINTEGER AS "partition",
  NULL::UBIGINT AS "first_offset", NULL::UBIGINT AS "last_offset", NULL::UBIGINT AS "read",
  NULL::UBIGINT AS "accepted", NULL::UBIGINT AS "unmatched", NULL::UBIGINT AS "late",
  NULL::UBIGINT AS "quarantined", NULL::UBIGINT AS "refused", NULL::VARCHAR[] AS "reasons"
WHERE false);

-- one registered prefix of one connection in one version of the registry
CREATE OR REPLACE VIEW connections AS
SELECT "time", "version", "tenant", "connection", "kind", "state", "partner", "partner_asn",
  "country", "region", "latitude", "longitude", "site", "redundancy_group", "routing_domain",
  "primary_edge", "backup_edge", "bandwidth_mbps", "prefix", "prefix_validation_state",
  "max_length", "owner", "origin_asns", "upstream_asns", date
FROM (FROM read_parquet('connections/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "time", NULL::UINTEGER AS "version", NULL::VARCHAR AS "tenant",
  NULL::VARCHAR AS "connection", NULL::VARCHAR AS "kind", NULL::VARCHAR AS "state",
  NULL::VARCHAR AS "partner", NULL::UINTEGER AS "partner_asn", NULL::VARCHAR AS "country",
  NULL::VARCHAR AS "region", NULL::DOUBLE AS "latitude", NULL::DOUBLE AS "longitude",
  NULL::VARCHAR AS "site", NULL::VARCHAR AS "redundancy_group",
  NULL::VARCHAR AS "routing_domain", NULL::VARCHAR AS "primary_edge",
  NULL::VARCHAR AS "backup_edge", NULL::UINTEGER AS "bandwidth_mbps",
  NULL::VARCHAR AS "prefix", NULL::VARCHAR AS "prefix_validation_state",
  NULL::UTINYINT AS "max_length", NULL::VARCHAR AS "owner",
  NULL::UINTEGER[] AS "origin_asns", NULL::UINTEGER[] AS "upstream_asns"
WHERE false);

-- one change of a connection's state
CREATE OR REPLACE VIEW connection_states AS
SELECT "time", "tenant", "connection", "state_before", "state_after", "legal", date
FROM (FROM read_parquet('connection_states/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "time", NULL::VARCHAR AS "tenant", NULL::VARCHAR AS "connection",
  NULL::VARCHAR AS "state_before", NULL::VARCHAR AS "state_after", NULL::BOOLEAN AS "legal"
WHERE false);

-- one of Azure's eight prefix events
CREATE OR REPLACE VIEW prefix_events AS
SELECT "time", "tenant", "connection", "prefix", "event_type", "event_level", "event_summary",
  "event_description", "finding_id", date
FROM (FROM read_parquet('prefix_events/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "time", NULL::VARCHAR AS "tenant", NULL::VARCHAR AS "connection",
  NULL::VARCHAR AS "prefix", NULL::VARCHAR AS "event_type", NULL::VARCHAR AS "event_level",
  NULL::VARCHAR AS "event_summary", NULL::VARCHAR AS "event_description",
  NULL::VARCHAR AS "finding_id"
WHERE false);

-- a span in which a feed or an input was silent
CREATE OR REPLACE VIEW feed_gaps AS
SELECT "started_at", "ended_at", "source", "collector", "reason", "lost", date
FROM (FROM read_parquet('feed_gaps/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "started_at", NULL::TIMESTAMPTZ AS "ended_at",
  NULL::VARCHAR AS "source", NULL::VARCHAR AS "collector", NULL::VARCHAR AS "reason",
  NULL::UBIGINT AS "lost"
WHERE false);

-- one attempt to deliver an alert
CREATE OR REPLACE VIEW alert_deliveries AS
SELECT "time", "finding_id", "sequence", "tenant", "connection", "target", "attempt", "outcome",
  "status", "error", date
FROM (FROM read_parquet('alert_deliveries/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS "time", NULL::VARCHAR AS "finding_id", NULL::UINTEGER AS "sequence",
  NULL::VARCHAR AS "tenant", NULL::VARCHAR AS "connection", NULL::VARCHAR AS "target",
  NULL::UINTEGER AS "attempt", NULL::VARCHAR AS "outcome", NULL::USMALLINT AS "status",
  NULL::VARCHAR AS "error"
WHERE false);

-- a span in which alerts are muted
CREATE OR REPLACE VIEW silences AS
SELECT "silence_id", "starts_at", "ends_at", "tenant", "connection", "prefix", "author", "reason", date
FROM (FROM read_parquet('silences/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::VARCHAR AS "silence_id", NULL::TIMESTAMPTZ AS "starts_at",
  NULL::TIMESTAMPTZ AS "ends_at", NULL::VARCHAR AS "tenant", NULL::VARCHAR AS "connection",
  NULL::VARCHAR AS "prefix", NULL::VARCHAR AS "author", NULL::VARCHAR AS "reason"
WHERE false);

-- one word of an operator on one finding; the last one counts
CREATE OR REPLACE VIEW marks AS
SELECT "finding_id", "mark", "time", "tenant", "connection", "verdict", "learned", "note", date
FROM (FROM read_parquet('marks/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {'date': VARCHAR})
UNION ALL BY NAME SELECT NULL::VARCHAR AS "finding_id", NULL::UINTEGER AS "mark", NULL::TIMESTAMPTZ AS "time",
  NULL::VARCHAR AS "tenant", NULL::VARCHAR AS "connection", NULL::VARCHAR AS "verdict",
  NULL::BOOLEAN AS "learned", NULL::VARCHAR AS "note"
WHERE false);

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
SELECT * FROM incidents WHERE phase IN ('opened', 'updated', 'reopened') AND closed_at IS NULL;
