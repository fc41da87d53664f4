//! The reference page of the configuration: `peerscope describe config`.

use super::lake;
use super::source_keys::{
    BMP_LISTENER, FOLDER, HTTP, HTTP_TOKEN, KAFKA, KAFKA_LOG, PROMETHEUS, RIS_LIVE,
};

/// One key: section, name, type, default, meaning.
type Key = (&'static str, &'static str, &'static str, &'static str, &'static str);

const KEYS: &[Key] = &[
    (
        "[log]",
        "path",
        "folder",
        "`./peerscope-log`",
        "the embedded log of a running service, on a local disk",
    ),
    ("[log]", "partitions", "number", "`1`", "partitions of the log; fixed when it is made"),
    ("[log]", "segment_bytes", "number", "`268435456`", "bytes at which a segment is closed"),
    (
        "[log]",
        "bytes_max",
        "number",
        "`68719476736`",
        "bytes of the whole log at most; at the bound the sources wait until segments are released behind snapshots",
    ),
    (
        "[log]",
        "backfill_after_secs",
        "number",
        "`86400`",
        "what a running service reads that is further behind gives rows only: no routing state, no finding",
    ),
    ("[log]", "shutdown_secs", "number", "`30`", "longest drain after SIGTERM"),
    (
        "[log]",
        "keep",
        "`ours`, `all`",
        "`ours`",
        "which routes are kept: those that touch a registered prefix or pass a watched AS, or every one",
    ),
    ("[[connection]]", "name", "text", "required", "logical name, unique"),
    ("[[connection]]", "tenant", "text", "`default`", "whose it is"),
    (
        "[[connection]]",
        "kind",
        "text",
        "`peering_service`",
        "`peering_service`, `direct_peering`, `exchange_peering`, `expressroute_circuit`, ...; other words are kept",
    ),
    ("[[connection]]", "partner", "table", "none", "connectivity partner: `name`, `asn`"),
    (
        "[[connection]]",
        "location",
        "table",
        "none",
        "`country` (ISO 3166-1), `region` (ISO 3166-2), `latitude`, `longitude`",
    ),
    ("[[connection]]", "site", "text", "none", "site within the company"),
    ("[[connection]]", "labels", "table of text", "none", "free labels"),
    (
        "[[connection]]",
        "prefixes",
        "list",
        "none",
        "registered prefixes: a text, or a table with `prefix`, `key`, `validation_state`, `max_length`, `owner` (`customer`, `provider`)",
    ),
    (
        "[[connection]]",
        "origin_asns",
        "list of numbers",
        "learned",
        "who may originate them; an empty list: nobody",
    ),
    (
        "[[connection]]",
        "upstream_asns",
        "list of numbers",
        "learned",
        "who may carry them next to the origin",
    ),
    (
        "[[connection]]",
        "expect_upstreams",
        "list of numbers",
        "none",
        "upstreams whose loss is a finding (a later version)",
    ),
    (
        "[[connection]]",
        "state",
        "text",
        "`Active`",
        "state in Azure's words; before service and in PendingRemove findings are muted",
    ),
    (
        "[[connection]]",
        "redundancy_group",
        "text",
        "none",
        "connections that stand in for each other and may share prefixes",
    ),
    (
        "[[connection]]",
        "sessions",
        "list of tables",
        "none",
        "its BGP sessions: `router`, `peer_ip`, `role` (`primary`, `backup`)",
    ),
    ("[[connection]]", "primary_edge", "text", "none", "edge of the catalogue (a later version)"),
    (
        "[[connection]]",
        "backup_edge",
        "text",
        "none",
        "edge of the catalogue; without one failover is the Internet (a later version)",
    ),
    ("[[connection]]", "routing_domain", "text", "`public`", "address space of its prefixes"),
    ("[[connection]]", "bandwidth_mbps", "number", "none", "bandwidth"),
    ("[[asn]]", "number", "number", "required", "a watched AS"),
    ("[[asn]]", "upstreams", "list of numbers", "none", "its providers"),
    ("[[asn]]", "peers", "list of numbers", "none", "its settlement-free peers"),
    ("[[asn]]", "downstreams", "list of numbers", "none", "its customers"),
    (
        "[[asn]]",
        "originates",
        "`any`, `registered`",
        "`any`",
        "what it may originate (judged by a later version)",
    ),
    (
        "[reference]",
        "as_relationships",
        "file or folder",
        "none",
        "CAIDA serial-1 or serial-2, compressed or not; paths are relative to the configuration. A folder: of the files with a date in their name the newest that is not later than the event time; so for all but `geoip`",
    ),
    (
        "[reference]",
        "organisations",
        "file or folder",
        "none",
        "CSV `asn,organisation`, or RIR rows `registry,organisation,asn`",
    ),
    (
        "[reference]",
        "vrps",
        "file or folder",
        "none",
        "VRPs: JSON of Routinator or rpki-client, or CSV (RFC 6811)",
    ),
    ("[reference]", "aspas", "file or folder", "none", "ASPAs: JSON of Routinator or rpki-client"),
    (
        "[reference]",
        "geoip",
        "file or folder",
        "none",
        "MMDB of type City, Country or ASN, or a folder of `.mmdb` files; of several of a type the newest by their own date",
    ),
    (
        "[reference]",
        "edges",
        "file or folder",
        "none",
        "edge catalogue: CSV `edge_id,metro,latitude,longitude,communities,next_hops`, lists parted by `;`",
    ),
    (
        "[reference]",
        "rtr",
        "host:port",
        "none",
        "a cache that tells VRPs to a running service (RTR, RFC 8210 and 6810), over plain TCP; instead of `vrps`",
    ),
    (
        "[reference]",
        "rtr_refresh_secs",
        "number",
        "as the cache says, else `3600`",
        "seconds between two questions to it; when it notifies us it is asked at once",
    ),
    (
        "[reference]",
        "rtr_retry_secs",
        "number",
        "as the cache says, else `600`",
        "seconds after which it is dialled again",
    ),
    (
        "[reference]",
        "rtr_expire_secs",
        "number",
        "as the cache says, else `7200`",
        "seconds without an answer after which its VRPs count no more",
    ),
    (
        "[source.NAME]",
        "files",
        "text",
        "required",
        "name of archive files, `*` stands for any text (a source without `kind`)",
    ),
    ("[source.NAME]", "collector", "text", "`archive`", "collector that wrote them"),
    (
        "[source.NAME]",
        "fields",
        "table",
        "none",
        "where in their records samples of another form lie, as for `kind = \"folder\"`",
    ),
    (
        "[latency]",
        "lateness_secs",
        "number",
        "30",
        "how long a window stays open for late samples after its end",
    ),
    (
        "[latency]",
        "revision_secs",
        "number",
        "300",
        "how long after its end a window of `run` takes still later samples, as exact revisions",
    ),
    (
        "[latency]",
        "progress_timeout_secs",
        "number",
        "300",
        "an input without progress for this long is passed over",
    ),
    (
        "[latency]",
        "late_bytes_max",
        "number",
        "268435456",
        "bytes of samples kept for revisions at most, in a shard; beyond it histograms are",
    ),
    (
        "[latency]",
        "series_max",
        "number",
        "2000000",
        "series at most, in a shard; samples of further ones are counted in `ledger`",
    ),
    (
        "[detect]",
        "preset",
        "text",
        "balanced",
        "cautious, balanced or eager: what must be scored and how long it must last to be told",
    ),
    ("[detect]", "score_min", "number", "by preset", "least score that opens a finding: 4, 1 or 0"),
    (
        "[detect]",
        "learning_secs",
        "number",
        "3600",
        "without a table dump, what is seen within this time counts as usual",
    ),
    (
        "[detect]",
        "scrubbers",
        "list of numbers",
        "[]",
        "ASes that scrub traffic for us: their routes are expected for a day (`muted_by = \"scrubber\"`)",
    ),
    (
        "[[detect.exception]]",
        "rule",
        "rule",
        "any",
        "rule of the finding; `findings mark --learn` writes all of this",
    ),
    (
        "[[detect.exception]]",
        "connection",
        "text",
        "any",
        "connection of the finding; one of connection, prefix and culprit_asn is named",
    ),
    ("[[detect.exception]]", "prefix", "prefix", "any", "the prefix that is seen lies in this one"),
    ("[[detect.exception]]", "culprit_asn", "number", "any", "who is accused"),
    (
        "[[detect.exception]]",
        "until",
        "day or time",
        "for ever",
        "the exception counts through this day, or before this time",
    ),
    ("[[detect.exception]]", "reason", "text", "none", "why"),
];

/// All keys as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\nOne TOML file: `--config FILE`, else `$PEERSCOPE_CONFIG`, else \
         `./peerscope.toml`. Unknown keys are refused with the nearest known one.\n\n\
         | section | key | type | default | meaning |\n|---|---|---|---|---|\n",
    );
    for (section, key, kind, default, meaning) in KEYS {
        page.push_str(&format!("| `{section}` | `{key}` | {kind} | {default} | {meaning} |\n"));
    }
    page.push_str("\n## The lake\n\nHow to run one: [the guide](../guide/lake.md).\n");
    section(&mut page, "### `[lake]`", lake::KEYS);
    section(&mut page, "### `[lake.retention]`", lake::RETENTION_KEYS);
    page.push_str(
        "\n## Live sources\n\nA `[source.NAME]` with `kind` is read by `peerscope run` \
         ([guide](../guide/live.md)); paths are relative to the configuration.\n",
    );
    let kinds = [
        ("bmp_listener", BMP_LISTENER),
        ("ris_live", RIS_LIVE),
        ("kafka", KAFKA),
        ("folder", FOLDER),
        ("prometheus", PROMETHEUS),
    ];
    for (kind, rows) in kinds {
        section(&mut page, &format!("### `kind = \"{kind}\"`"), rows);
    }
    page.push_str(
        "\n## The log over Kafka\n\nWith `brokers`, the log is in Kafka instead of on local disk, and the \
         roles of `run` are processes of their own ([guide](../guide/kafka.md)); `path`, `partitions`, \
         `segment_bytes` and `bytes_max` of `[log]` are of the log on local disk only.\n",
    );
    section(&mut page, "### `[kafka]`", KAFKA_LOG);
    page.push_str(
        "\n## The HTTP listener\n\nSamples in, metrics out ([guide](../guide/rtt.md)); off unless \
         `listen` is set.\n",
    );
    section(&mut page, "### `[http]`", HTTP);
    section(&mut page, "### `[[http.token]]`", HTTP_TOKEN);
    page
}

fn section(page: &mut String, title: &str, rows: &str) {
    page.push_str(&format!("\n{title}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"));
    for row in rows.lines().filter(|row| !row.is_empty()) {
        let (key, rest) = row.split_once(" | ").unwrap_or((row, ""));
        page.push_str(&format!("| `{key}` | {rest} |\n"));
    }
}
