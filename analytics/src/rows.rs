//! Rows: what a fold has written and the lake has not yet taken.

use std::sync::Arc;

use schemas::batch::Account;
use schemas::bgp::PeerHeader;
use schemas::connection::{Connection, RegisteredPrefix};
use schemas::registry::Registry;
use schemas::tables::{
    ConnectionRow, FeedGapRow, LatencyRow, LatencySeries, LedgerRow, RibRow, RouteUpdateRow,
    SessionRow, Text, VisibilityRow,
};
use schemas::time::{TimeWindow, Timestamp};

use crate::join::epoch::Epoch;
use crate::latency::baseline::Expected;
use crate::latency::summary::Summary;
use crate::latency::window::LatencyWindow;
use crate::reference::GeoFacts;

/// Rows of one fold, by table.
#[derive(Debug, Default, PartialEq)]
pub struct Rows {
    /// `route_updates`
    pub route_updates: Vec<RouteUpdateRow>,
    /// `latency`
    pub latency: Vec<LatencyRow>,
    /// `latency_revisions`
    pub latency_revisions: Vec<LatencyRow>,
    /// `latency_5m`
    pub latency_5m: Vec<LatencyRow>,
    /// `latency_1h`
    pub latency_1h: Vec<LatencyRow>,
    /// `latency_1d`
    pub latency_1d: Vec<LatencyRow>,
    /// `sessions`
    pub sessions: Vec<SessionRow>,
    /// `rib`
    pub rib: Vec<RibRow>,
    /// `ledger`
    pub ledger: Vec<LedgerRow>,
    /// `connections`
    pub connections: Vec<ConnectionRow>,
    /// `feed_gaps`
    pub feed_gaps: Vec<FeedGapRow>,
    /// `visibility`
    pub visibility: Vec<VisibilityRow>,
}

impl Rows {
    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            route_updates,
            latency,
            latency_revisions,
            latency_5m,
            latency_1h,
            latency_1d,
            sessions,
            rib,
            ledger,
            connections,
            feed_gaps,
            visibility,
        } = self;
        let latencies = [latency, latency_revisions, latency_5m, latency_1h, latency_1d];
        latencies.into_iter().all(Vec::is_empty)
            && route_updates.is_empty()
            && sessions.is_empty()
            && rib.is_empty()
            && ledger.is_empty()
            && connections.is_empty()
            && feed_gaps.is_empty()
            && visibility.is_empty()
    }
}

/// The connection that names a session, with the session's role.
pub(crate) fn session_of<'r>(
    registry: &'r Registry,
    header: &PeerHeader,
) -> Option<(&'r Connection, Option<Text>)> {
    registry.connections().iter().find_map(|connection| {
        let session = connection.sessions.iter().find(|session| {
            session.peer_ip == header.address
                && match (&session.router, &header.router) {
                    (Some(wanted), Some(router)) => wanted.as_str() == router.as_ref(),
                    _ => true,
                }
        })?;
        Some((connection, session.role.as_ref().map(|role| role.as_str().into())))
    })
}

/// What `latency` rows say of a connection, shared by all of them.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionTexts {
    tenant: Text,
    /// Its name.
    pub(crate) name: Text,
    country: Option<Text>,
    region: Option<Text>,
    site: Option<Text>,
}

impl ConnectionTexts {
    pub(crate) fn of(connection: &Connection) -> Self {
        let text = |value: &Option<String>| value.as_deref().map(Text::from);
        Self {
            tenant: connection.tenant.as_str().into(),
            name: connection.name.as_str().into(),
            country: text(&connection.location.country),
            region: text(&connection.location.region),
            site: text(&connection.site),
        }
    }
}

/// What a `latency` row says beside the window itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Context<'a> {
    /// Where its prefix is.
    pub(crate) geo: Option<&'a GeoFacts>,
    /// What is usual at its hour of the week.
    pub(crate) expected: Option<Expected>,
    /// The epoch in force at its start.
    pub(crate) epoch: Option<&'a Epoch>,
}

/// The `latency` row of a closed window; none for a connection that left the registry.
pub(crate) fn latency(
    closed: LatencyWindow,
    texts: &[ConnectionTexts],
    registry: &Registry,
    context: Context<'_>,
) -> Option<LatencyRow> {
    let Context { geo, expected, epoch } = context;
    let route = epoch.and_then(|epoch| Some((epoch, epoch.route.as_ref()?)));
    let connection = registry.connection(closed.series.connection)?;
    let texts = texts.get(closed.series.connection as usize)?;
    let rtt_min_us = closed.summary.percentiles.map(|figures| figures.min);
    let series = LatencySeries {
        tenant: texts.tenant.clone(),
        connection: texts.name.clone(),
        prefix: closed.series.prefix,
        source: closed.source,
    };
    let mut row = LatencyRow {
        partner_asn: connection.partner.as_ref().and_then(|partner| partner.asn),
        country: texts.country.clone(),
        region: texts.region.clone(),
        site: texts.site.clone(),
        statistic: closed.series.statistic.as_str(),
        baseline_p50_us: expected.map(|expected| expected.p50_us),
        baseline_p95_us: expected.and_then(|expected| expected.p95_us),
        route_epoch: route.map(|(epoch, _)| epoch.id),
        route_role: route.and_then(|(_, route)| route.role.clone()),
        as_hops: route.map(|(epoch, _)| epoch.as_hops),
        ingress_edge: route.and_then(|(_, route)| route.edge.clone()),
        geo_country: geo.and_then(|geo| geo.country.clone()),
        geo_subdivision: geo.and_then(|geo| geo.subdivision.clone()),
        geo_asn: geo.and_then(|geo| geo.asn),
        edge_nearest: geo.and_then(|geo| geo.edge_nearest.clone()),
        edge_distance_km: geo.and_then(|geo| geo.edge_distance_km),
        geo_mismatch: geo.and_then(|geo| geo.mismatch(rtt_min_us)),
        revision: closed.revision,
        ..LatencyRow::silent(closed.window, series)
    };
    put_summary(&mut row, closed.summary);
    Some(row)
}

/// The row of a window of which nothing is known but its figures: what is known is put over it.
#[must_use]
pub fn of_summary(window: TimeWindow, series: LatencySeries, summary: Summary) -> LatencyRow {
    let mut row = LatencyRow::silent(window, series);
    put_summary(&mut row, summary);
    row
}

/// Puts the figures of a window into its row.
pub(crate) fn put_summary(row: &mut LatencyRow, summary: Summary) {
    row.quality = summary.quality();
    let Summary { figures: sums, percentiles: figures, hist_bucket, hist_count, exact } = summary;
    let interval = |interval: Option<(u32, u32)>| (interval.map(|i| i.0), interval.map(|i| i.1));
    (row.p50_low_us, row.p50_high_us) = interval(figures.and_then(|f| f.p50_interval));
    (row.p95_low_us, row.p95_high_us) = interval(figures.and_then(|f| f.p95_interval));
    (row.samples, row.lost) = (sums.samples, sums.lost);
    row.rtt_min_us = figures.map(|f| f.min);
    row.rtt_p50_us = figures.map(|f| f.p50);
    row.rtt_p90_us = figures.map(|f| f.p90);
    row.rtt_p95_us = figures.map(|f| f.p95);
    row.rtt_p99_us = figures.map(|f| f.p99);
    row.rtt_max_us = figures.map(|f| f.max);
    row.rtt_mean_us = figures.map(|f| f.mean);
    row.jitter_us = figures.and_then(|f| f.jitter);
    (row.hist_bucket, row.hist_count) = (hist_bucket, hist_count);
    row.exact = exact;
}

/// The `connections` rows of one version of the registry.
pub(crate) fn connections(registry: &Registry, time: Timestamp) -> Vec<ConnectionRow> {
    let mut rows = Vec::new();
    for connection in registry.connections() {
        for registered in &connection.prefixes {
            rows.push(connection_row(registry.version, connection, Some(registered), time));
        }
        if connection.prefixes.is_empty() {
            rows.push(connection_row(registry.version, connection, None, time));
        }
    }
    rows
}

fn connection_row(
    version: u32,
    connection: &Connection,
    registered: Option<&RegisteredPrefix>,
    time: Timestamp,
) -> ConnectionRow {
    let text = |value: &Option<String>| value.as_deref().map(Text::from);
    let location = &connection.location;
    ConnectionRow {
        time,
        version,
        tenant: connection.tenant.as_str().into(),
        connection: connection.name.as_str().into(),
        kind: connection.kind.as_str().into(),
        state: connection.state.as_str().into(),
        partner: connection.partner.as_ref().map(|partner| partner.name.as_str().into()),
        partner_asn: connection.partner.as_ref().and_then(|partner| partner.asn),
        country: text(&location.country),
        region: text(&location.region),
        latitude: location.latitude,
        longitude: location.longitude,
        site: text(&connection.site),
        redundancy_group: text(&connection.redundancy_group),
        routing_domain: connection.routing_domain.as_str().into(),
        primary_edge: text(&connection.primary_edge),
        backup_edge: text(&connection.backup_edge),
        bandwidth_mbps: connection.bandwidth_mbps,
        prefix: registered.map(|registered| registered.prefix),
        prefix_validation_state: registered
            .and_then(|registered| registered.validation_state.as_ref())
            .map(|state| state.as_str().into()),
        max_length: registered.and_then(|registered| registered.max_length),
        owner: registered.map_or("customer", |registered| registered.owner.as_str()).into(),
        origin_asns: connection.origin_asns.clone(),
        upstream_asns: connection.upstream_asns.clone(),
    }
}

/// The `ledger` row of one account.
pub(crate) fn ledger(source: &Text, account: &Account, time: Timestamp) -> LedgerRow {
    LedgerRow {
        time,
        source: Arc::clone(source),
        partition: account.partition,
        first_offset: account.first_offset,
        last_offset: account.last_offset,
        read: account.read,
        accepted: account.accepted,
        unmatched: account.unmatched,
        late: 0,
        quarantined: account.quarantined,
        refused: account.refused,
        reasons: account
            .reasons
            .iter()
            .map(|(reason, count)| format!("{reason}={count}").into())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use schemas::bgp::Asn;
    use schemas::sample::Statistic;
    use schemas::time::TimeWindow;

    use crate::latency::summary::Summariser;
    use crate::latency::window::SeriesKey;

    #[test]
    fn a_row_has_its_place_and_its_past_where_they_are_known() {
        let connections = r#"[{"name": "a", "prefixes": ["192.0.2.0/24"]}]"#;
        let registry =
            Registry::new(1, serde_json::from_str(connections).unwrap(), Vec::new()).unwrap();
        let series = SeriesKey {
            connection: 0,
            prefix: "192.0.2.0/24".parse().unwrap(),
            statistic: Statistic::Sample,
        };
        let closed = LatencyWindow {
            window: TimeWindow::containing(Timestamp::from_secs(0), 60),
            source: "probe".into(),
            series,
            summary: Summariser::default().summarise([900, 2_000].into_iter(), 2),
            revision: 0,
        };
        let texts: Vec<_> = registry.connections().iter().map(ConnectionTexts::of).collect();
        let bare = latency(closed.clone(), &texts, &registry, Context::default()).unwrap();
        assert_eq!((bare.geo_country, bare.geo_mismatch, bare.baseline_p50_us), (None, None, None));

        let geo = GeoFacts {
            country: Some("SE".into()),
            subdivision: Some("SE-E".into()),
            asn: Some(Asn(64_500)),
            edge_nearest: Some("sto01".into()),
            edge_distance_km: Some(100),
            rtt_floor_us: Some(1_000),
        };
        let expected =
            Expected { p50_us: 800, p50_mad_us: 10, p95_us: None, p95_mad_us: None, hours: 1 };
        let context = Context { geo: Some(&geo), expected: Some(expected), epoch: None };
        let row = latency(closed, &texts, &registry, context).unwrap();
        assert_eq!((row.geo_country.as_deref(), row.geo_asn), (Some("SE"), Some(Asn(64_500))));
        assert_eq!((row.edge_nearest.as_deref(), row.edge_distance_km), (Some("sto01"), Some(100)));
        assert_eq!(row.geo_mismatch, Some(true), "0.9 ms for 100 km");
        assert_eq!((row.baseline_p50_us, row.baseline_p95_us), (Some(800), None));
    }
}
