//! The keys of live sources, by kind, for the reference page.

/// One row a key: key, type, default, meaning.
pub(super) const BMP_LISTENER: &str = r#"
listen | address | `127.0.0.1:11019` | where routers dial in; closed to other machines until this and `allow` are set
allow | list of networks | `["127.0.0.0/8", "::1/128"]` | whose routers are heard; others are refused and counted
sessions_max | number | 64 | routers served at once; one more is refused and counted
message_bytes_max | number | 1048576 | longest message, header included; a longer one ends its session
message_timeout_secs | number | 30 | a message that is not whole after this time of waiting ends its session
idle_timeout_secs | number | 3600 | a session silent for this long is closed
bytes_per_sec_max | number | none | bytes a second read of one session on average; above it the router is held back, nothing is lost
md5 | list of tables | none | `peer`, `password_file`: routers that must sign their segments (RFC 2385, Linux only)
tls | table | none | `certificate`, `key`, `client_ca` (PEM files): sessions are TLS then; with `client_ca` routers must show a certificate of it
collector | text | NAME | collector that rows name
vrfs | list of tables | none | `router` (sysName or address; absent: every one), `distinguisher` (`64500:1`, `192.0.2.1:1`), `routing_domain`: whose address space a VRF is
"#;

pub(super) const FOLDER: &str = r#"
folder | folder | none | followed: each file that appears in it is read once, when it has settled; not the folders in it
paths | list of files | none | read once, in this order, before the folder
files | text | `*` | which names in the folder count, `*` stands for any text; names that begin with a dot or end in `.tmp`, `.part`, `.inflight` never do
poll_secs | number | 5 | how often the folder is looked at
settle_secs | number | 10 | a file is whole when it did not change for this long
tail | true, false | false | files grow, and what is appended is read at once; compressed ones settle first
tail_idle_secs | number | 3600 | a growing file that did not grow for this long is closed, until it grows again
tails_max | number | 64 | growing files held open at once; others are read when they have settled
collector | text | NAME | collector that rows name
vrfs | list of tables | none | as for `bmp_listener`, for files of BMP
fields | table | none | where in their records samples of another form lie, see [RTT samples](../guide/rtt.md): `time`, `ip` or `prefix`, `rtt`, `unit` (`ns`, `us`, `ms`, `s`), `source` or `source_name`, `connection`, `statistic` (`sample`, `min`, `srtt`, `avg`), `records`
"#;

pub(super) const KAFKA: &str = r#"
brokers | list of text | required | brokers to ask first, `host:port`
topics | list of text | required | names, names with `*` for any text, or regular expressions that begin with `^`; new topics that fit are found while running
format | `openbmp`, `rtt` | `openbmp` | what the messages are
start | `latest`, `earliest` | `latest` | where a partition begins that was never read; one that appears while running is read from its beginning
discover_secs | number | 30 | how often new topics and partitions are looked for
partitions_max | number | 4096 | partitions read at most
queued_kbytes_max | number | 65536 | kilobytes that wait in the client at most
message_bytes_max | number | 1048576 | of a longer message only so much is handed on; it is refused and counted
security_protocol | `plaintext`, `ssl`, `sasl_plaintext`, `sasl_ssl` | `plaintext` | how the brokers are spoken to
sasl_mechanism | text | none | `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`
username | text | none | SASL user; `$ConnectionString` for Azure Event Hubs
password_file | file | none | SASL password; a line end at its end does not count
ssl_ca | file | the system's | roots of the brokers' certificates, PEM
ssl_certificate | file | none | our certificate, PEM, for brokers that ask for one
ssl_key | file | none | its key, PEM
settings | table of text | none | other settings of librdkafka by their names; those that would lose messages or hold a secret are refused
collector | text | by the topic | collector that rows name; absent: COLLECTOR of `routeviews.COLLECTOR.PEER_ASN.bmp_raw`, else NAME
collector_asn | number | none | the collector's own AS, removed where a path begins with it (RouteViews: 6447)
vrfs | list of tables | none | as for `bmp_listener`
"#;

pub(super) const RIS_LIVE: &str = r#"
url | text | `wss://ris-live.ripe.net/v1/ws/?client=peerscope` | where it is
subscribe | `registered`, `all` | `registered` | what is asked for: prefixes that touch registered ones and paths with a watched AS, or everything
host | text | all | one collector, such as `rrc21`
ca | file | the system's | roots of the server's certificate, PEM
subscriptions_max | number | 10000 | subscriptions at most; with more `subscribe = "all"` is the way
subscriptions_per_sec_max | number | 50 | subscriptions sent a second
message_bytes_max | number | 1048576 | a longer message ends the session
connect_timeout_secs | number | 20 | how long a connect may take, with TLS and handshake
ping_secs | number | 20 | a ping goes out when nothing came for this long
silence_timeout_secs | number | 60 | without any sign of life for this long the session is given up
quiet_after_secs | number | 900 | no message for this long, though pings are answered, is told; the session is kept
reconnect_secs_min | number | 1 | shortest wait before the next try; it doubles with each one
reconnect_secs_max | number | 60 | longest wait before the next try
collector | text | by the message | collector that rows name
"#;

pub(super) const PROMETHEUS: &str = r#"
urls | list of text | required | pages of blackbox_exporter (`http://127.0.0.1:9115/probe?module=icmp&target=192.0.2.7`), or pages with `instance` labels, such as `/federate?match[]={__name__=~"probe_.*"}` of a Prometheus
value | `icmp`, `duration` | `icmp` | what a round trip is: `probe_icmp_duration_seconds{phase="rtt"}`, or `probe_duration_seconds`, which is the whole probe
interval_secs | number | 15 | how often the pages are read
timeout_secs | number | 10 | how long one page may take
page_bytes_max | number | 4194304 | longest page
at_once_max | number | 16 | pages read at once
ca | file | the system's | roots of the servers' certificates, PEM
token_file | file | none | bearer token for the pages
"#;

/// Keys of `[kafka]`.
pub(super) const KAFKA_LOG: &str = r#"
brokers | list of text | none | brokers to ask first, `host:port`; without them the log is on local disk
security_protocol | `plaintext`, `ssl`, `sasl_plaintext`, `sasl_ssl` | `plaintext` | how the brokers are spoken to
sasl_mechanism | text | none | `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`
username | text | none | SASL user; `$ConnectionString` for Azure Event Hubs
password_file | file | none | SASL password; a line end at its end does not count
ssl_ca | file | the system's | roots of the brokers' certificates, PEM
ssl_certificate | file | none | our certificate, PEM, for brokers that ask for one
ssl_key | file | none | its key, PEM
settings | table of text | none | other settings of librdkafka by their names; those that would lose messages or hold a secret are refused
events_topic | text | `peerscope.events.v1` | what was ingested
summaries_topic | text | `peerscope.summaries.v1` | what the partitions tell `correlate`
sources_topic | text | `peerscope.sources.v1` | where each input is; compacted
control_topic | text | `peerscope.control.v1` | versions of the registry; compacted
prefix | text | `peerscope` | first word of consumer groups and transactional ids
instance | text | `HOSTNAME`, else the host's name | name of this process among those of its role, stable over restarts; `--instance` goes before it
partitions | number | 12 | partitions of the events topic where it is made; fixed from then on
source_partitions | number | 12 | partitions of the sources topic where it is made: so many processes ingest at most
replicas | number | as the brokers have it | replicas of topics that are made
retention_hours | number | 168 | how long the brokers keep events and summaries, in topics that are made
linger_ms | number | 50 | what comes within this time goes into one transaction
message_bytes_max | number | 1000000 | longest message; batches are cut below it
session_timeout_secs | number | 45 | without a sign of life for this long a process has lost its partitions
transaction_timeout_secs | number | 60 | a transaction that is open for this long is ended by the brokers
queued_kbytes_max | number | 65536 | kilobytes that wait in a client at most, over all partitions
waiting_bytes_max | number | 8388608 | bytes of a partition that wait for its fold at most
stall_secs | number | 60 | a partition of which nothing comes for this long, though there is something, is asked for anew
"#;

/// Keys of `[http]`, then of `[[http.token]]`.
pub(super) const HTTP: &str = r#"
listen | address | none | where clients dial in; absent: there is no listener. On loopback anybody may speak to it; open to other machines it needs tokens and TLS
tls | table | none | `certificate`, `key`, `client_ca` (PEM files): sessions are TLS then
allow_without_tokens | true, false | false | open to other machines without tokens
allow_without_tls | true, false | false | open to other machines without TLS, behind a proxy that has it
metrics_without_token | true, false | false | `/metrics` needs no token
body_bytes_max | number | 16777216 | longest body, unpacked
bodies_max | number | 16 | bodies in memory at once; one more is answered with 503
requests_per_sec_max | number | 100 | requests a second of one token on average; more are answered with 429
sessions_max | number | 256 | sessions served at once; one more is closed and counted
header_timeout_secs | number | 10 | a head that is not whole after this time ends its session, so does a body of which nothing comes for as long
request_timeout_secs | number | 20 | a request that is not answered after this time is given up with 503
session_secs_max | number | 3600 | how long one session may be used
metric_connections_max | number | 1000 | connections of which `/metrics` tells round trips
queries_max | number | 4 | queries of `/v1/sql` answered at once; one more is answered with 503
query_rows_max | number | 1000000 | rows of an answer; one with more breaks off
query_secs_max | number | 60 | how long a query may take, with its answer
query_memory_bytes_max | number | 536870912 | memory for the queries of one tenant, or of the operator; what needs more spills to the temporary folder
query_spill_bytes_max | number | 4294967296 | what they may spill there
token | list of tables | none | who may speak to it: `[[http.token]]`
"#;

pub(super) const HTTP_TOKEN: &str = r#"
name | text | required | what the log calls it
sha256 | text | required | SHA-256 of the token, hexadecimal; `peerscope http token` makes both
tenant | text | all | samples on connections of this tenant only, round trips of these in `/metrics`, rows of these in `/v1/sql`
scopes | list of `rtt`, `metrics`, `sql` | `["rtt"]` | what it may do: bring samples, read metrics, ask the lake
"#;
