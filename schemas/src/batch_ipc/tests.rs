//! There and back.

use super::*;
use crate::batch::{Account, PeerState, SampleEvent};
use crate::bgp::{AsPath, Asn, Community, RibView};
use crate::registry::Registry;
use crate::registry::tests::connection;

fn full() -> EventBatch {
    let mut batch = EventBatch::starting(3, 40, true);
    let peer = PeerHeader {
        router: Some("edge1".into()),
        rib_view: RibView::AdjRibInPost,
        ..PeerHeader::public("rrc00".into(), "192.0.2.1".parse().unwrap(), Asn(64_500))
    };
    batch.peers.push(Arc::new(peer));
    batch.sources.push("updates.mrt".into());
    batch.attributes.push(Arc::new(PathAttributes {
        as_path: AsPath::sequence([64_500, 64_510]),
        next_hop: Some("2001:db8::1".parse().unwrap()),
        communities: vec![Community::Standard(1), Community::Large(1, 2, 3)],
        unknown: vec![(0xc0, 99, vec![1, 2])],
        ..PathAttributes::default()
    }));
    let now = Timestamp(1_000_000);
    let message = batch.messages.push(MessageEvent {
        event_time: Timestamp(5),
        router_time: Some(Timestamp(4)),
        peer: 0,
        source: 0,
        source_offset: 77,
        attributes: Some(0),
        disposition: Disposition::AttributeDiscard,
        is_snapshot: true,
    });
    for (prefix, path_id) in [("192.0.2.0/24", None), ("2001:db8::/32", Some(9))] {
        let row = batch.routes.push(RouteEvent {
            message,
            action: if path_id.is_some() { Action::Announce } else { Action::Withdraw },
            prefix: prefix.parse().unwrap(),
            path_id,
            writes: path_id.is_none(),
        });
        batch.append(now, Content::Route(row));
    }
    let series = batch.series.push(SeriesEvent {
        connection: 2,
        prefix: "192.0.2.0/24".parse().unwrap(),
        source: 0,
        input: 1,
        statistic: Statistic::Srtt,
    });
    batch.append_samples(now, |samples| {
        for rtt_us in [None, NonZeroU32::new(21_500)] {
            samples.push(SampleEvent { event_time: Timestamp(6), series, rtt_us });
        }
    });
    let registry = Registry::new(4, vec![connection("a", None, &["192.0.2.0/24"])], vec![]);
    batch.controls = vec![
        Control::Registry { registry: Arc::new(registry.unwrap()), settings: Some("{}".into()) },
        Control::Tick { inputs: vec![1, 2], until: now },
        Control::Peer {
            peer: 0,
            state: PeerState::EndOfRib(Family::Ipv6),
            event_time: now,
            source: 0,
            source_offset: 1,
            local_ip: Some("192.0.2.9".parse().unwrap()),
            reason: Some("why".into()),
            prefixes_accepted: Some(7),
        },
        Control::Ledger { source: 0, account: Account::default(), event_time: now },
        Control::Commit,
    ];
    batch.append_run(Run { log_time: Timestamp(2_000_000), first: Content::Control(0), count: 5 });
    batch
}

#[test]
fn a_batch_comes_back_as_it_went() {
    let batch = full();
    let mut bytes = Vec::new();
    encode(&batch, &mut bytes).unwrap();
    let back = decode(&bytes).unwrap();
    assert_eq!((back.partition, back.first_offset, back.is_live), (3, 40, true));
    assert_eq!(back.runs(), batch.runs());
    assert_eq!((back.len(), back.end_offset()), (batch.len(), batch.end_offset()));
    assert_eq!(back.messages, batch.messages);
    assert_eq!(back.routes, batch.routes);
    assert_eq!((&back.series, &back.samples), (&batch.series, &batch.samples));
    assert_eq!((&back.peers, &back.attributes), (&batch.peers, &batch.attributes));
    assert_eq!(back.sources, batch.sources);
    let text = |batch: &EventBatch| format!("{:?}", batch.controls);
    assert_eq!(text(&back), text(&batch), "the registry is rebuilt with its maps");
}

#[test]
fn an_empty_batch_is_small_and_damage_is_an_error() {
    let mut bytes = Vec::new();
    encode(&EventBatch::starting(0, 0, false), &mut bytes).unwrap();
    assert!(bytes.len() < 40 && decode(&bytes).unwrap().is_empty());
    bytes.clear();
    encode(&full(), &mut bytes).unwrap();
    for end in 0..bytes.len() {
        // Cut between two parts it is a batch with less in it: the frame's checksum tells.
        let _ = decode(bytes.get(..end).unwrap());
    }
    *bytes.first_mut().unwrap() = 9;
    assert!(matches!(decode(&bytes), Err(BatchError::Version { found: 9 })));
}
