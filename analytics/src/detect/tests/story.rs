//! One shard that sees what peers say, and what it makes of it.

use std::net::Ipv4Addr;

use schemas::bgp::{AsPath, RibView};
use schemas::connection::{Connection, WatchedAs};
use schemas::finding::{FindingKind, Phase, Rule};

use super::*;
use crate::reference::AsRelationships;

/// One shard that sees what peers say of the prefixes of one connection.
pub(super) struct Story {
    pub(super) registry: Registry,
    pub(super) reference: Reference,
    pub(super) rib: Rib,
    pub(super) detector: Detector,
    pub(super) told: Vec<Transition>,
    pub(super) visibility: Vec<VisibilityRow>,
    /// Table that the peers' routes stand in.
    pub(super) view: RibView,
    /// Router that tells it, where it is none of a collector.
    pub(super) router: Option<String>,
    /// AS number of the peers, where it is not made of their numbers.
    pub(super) peer_asn: Option<Asn>,
    /// Address space of the prefixes.
    pub(super) domain: String,
}

impl Story {
    pub(super) fn registered(json: &str, watched: Vec<WatchedAs>) -> Self {
        let connection: Connection = serde_json::from_str(json).unwrap();
        Self {
            registry: Registry::new(1, vec![connection], watched).unwrap(),
            reference: Reference::default(),
            rib: Rib::default(),
            detector: Detector::new(DetectOptions::default(), true),
            told: Vec::new(),
            visibility: Vec::new(),
            view: RibView::AdjRibInPre,
            router: None,
            peer_asn: None,
            domain: "public".to_owned(),
        }
    }

    pub(super) fn knowing(mut self, relationships: &str) -> Self {
        self.reference.relationships =
            AsRelationships::read(relationships.as_bytes()).unwrap().into();
        self
    }

    pub(super) fn aspas(&mut self) -> &mut crate::reference::Aspas {
        Arc::get_mut(&mut self.reference.aspas).unwrap()
    }

    pub(super) fn simple() -> Self {
        let mut story = Self::registered(
            r#"{"name":"seattle","prefixes":["203.0.113.0/24","2001:db8:20::/44"],"origin_asns":[64510]}"#,
            Vec::new(),
        )
        .knowing("64500|64510|-1\n64500|64511|-1\n");
        for peer in 1..=20 {
            story.dumped(peer, "203.0.113.0/24", &[64_600 + u32::from(peer), UPSTREAM, OWNER]);
            story.dumped(peer, "2001:db8:20::/44", &[64_600 + u32::from(peer), UPSTREAM, OWNER]);
        }
        story.detector.end_of_rib();
        story
    }

    pub(super) fn say(
        &mut self,
        peer: u8,
        secs: i64,
        prefix: &str,
        path: Option<&[u32]>,
        is_snapshot: bool,
    ) {
        let route = path.map(|path| PathAttributes {
            as_path: AsPath::sequence(path.iter().copied()),
            ..PathAttributes::default()
        });
        self.tell(peer, secs, prefix, route, is_snapshot);
    }

    /// A route with attributes of its own.
    pub(super) fn tell(
        &mut self,
        peer: u8,
        secs: i64,
        prefix: &str,
        route: Option<PathAttributes>,
        is_snapshot: bool,
    ) -> &mut Self {
        self.pass(secs);
        let header = self.header(peer);
        let prefix: Prefix = prefix.parse().unwrap();
        let id = self.rib.peer_id(&header);
        let changed = self.rib.apply(id, prefix, None, route.map(Arc::new));
        let touches: Vec<Touch> = self.registry.touches(&self.domain, &prefix).collect();
        let source: Text = "story".into();
        let change = Change {
            log_time: Timestamp::from_secs(secs),
            time: Timestamp::from_secs(secs),
            peer: id,
            header: &header,
            prefix,
            path_id: None,
            route: &changed,
            touches: &touches,
            writes: true,
            is_snapshot,
            source: &source,
            source_offset: 0,
        };
        let Self { detector, registry, reference, rib, told, .. } = self;
        detector.on_change(&change, registry, reference, rib, told);
        self
    }

    /// Peers 1 to 99 are of one collector, the others of another.
    pub(super) fn header(&self, peer: u8) -> Arc<PeerHeader> {
        Arc::new(PeerHeader {
            collector: if peer < 100 { "archive".into() } else { "other".into() },
            router: self.router.as_deref().map(Into::into),
            address: Ipv4Addr::new(198, 51, 100, peer).into(),
            asn: self.peer_asn.unwrap_or(Asn(64_600 + u32::from(peer))),
            rib_view: self.view,
            distinguisher: 0,
            routing_domain: self.domain.as_str().into(),
        })
    }

    /// Time passes until then.
    pub(super) fn pass(&mut self, secs: i64) -> &mut Self {
        let Self { detector, registry, reference, rib, told, visibility, .. } = self;
        let log_time = Timestamp::from_secs(secs);
        detector.advance(log_time, registry, reference, rib, told, visibility);
        self
    }

    /// Another version of the registry begins.
    pub(super) fn reconfigured(&mut self, json: &str, secs: i64) -> BTreeMap<Prefix, bool> {
        self.pass(secs);
        let connection: Connection = serde_json::from_str(json).unwrap();
        let after = Registry::new(2, vec![connection], Vec::new()).unwrap();
        let Self { detector, registry, reference, rib, told, .. } = self;
        let at = Timestamp::from_secs(secs);
        let again = detector.enter(registry, &after, (reference, rib), at, told);
        self.registry = after;
        again
    }

    /// A session comes up or goes down; its routes go with it.
    pub(super) fn session(&mut self, peer: u8, secs: i64, is_up: bool) -> &mut Self {
        self.pass(secs);
        let header = self.header(peer);
        let id = self.rib.peer_id(&header);
        let time = Timestamp::from_secs(secs);
        self.detector.on_peer(id, &header, is_up, time, time);
        for (prefix, _) in if is_up { Vec::new() } else { self.rib.held_by(id) } {
            self.say(peer, secs, &prefix.to_string(), None, false);
        }
        self
    }

    pub(super) fn dumped(&mut self, peer: u8, prefix: &str, path: &[u32]) {
        self.say(peer, 0, prefix, Some(path), true);
    }

    pub(super) fn announced(
        &mut self,
        peer: u8,
        secs: i64,
        prefix: &str,
        path: &[u32],
    ) -> &mut Self {
        self.say(peer, secs, prefix, Some(path), false);
        self
    }

    pub(super) fn withdrawn(&mut self, peer: u8, secs: i64, prefix: &str) -> &mut Self {
        self.say(peer, secs, prefix, None, false);
        self
    }

    /// What was told of routes since the last question: phase, rule, culprit, confidence.
    pub(super) fn told(&mut self) -> Vec<(Phase, Rule, u32, &'static str)> {
        let confidence = |score| schemas::finding::Confidence::of(score).as_str();
        let told = self.routes().map(|t| {
            let culprit = t.finding.culprit.unwrap().0;
            (t.phase, t.finding.rule, culprit, confidence(t.finding.score))
        });
        let told = told.collect();
        self.told.clear();
        told
    }

    /// The transitions of routes among them, not of conditions.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Transition> {
        self.told.iter().filter(|told| is_of_routes(told))
    }
}

pub(super) fn is_of_routes(told: &Transition) -> bool {
    use FindingKind::{Hijack, Hygiene, Leak, Rpki};
    matches!(told.finding.rule.kind(), Hijack | Leak | Hygiene | Rpki)
}
