//! There and back.

use super::*;
use crate::batch::{Account, PeerState, SampleEvent};
use crate::bgp::{AsPath, Asn, Community, RibView};
use crate::registry::Registry;
use crate::registry::tests::connection;

fn full() -> EventBatch {
    let mut batch = EventBatch::starting(3, 40, true);
    batch.registry_version = 4;
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
        Control::Commit { snapshot: true },
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
    assert_eq!(back.registry_version, 4);
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

/// What each record of a batch says, with what it names.
fn said(batch: &EventBatch) -> Vec<String> {
    let mut said = Vec::new();
    let name = |index: u32| batch.sources.get(index as usize);
    for run in batch.runs() {
        for behind in 0..run.count {
            said.push(match run.first {
                Content::Route(row) => {
                    let route = batch.routes.get(row + behind).unwrap();
                    let message = batch.message_of(&route).unwrap();
                    let peer = batch.peers.get(message.peer as usize);
                    let set = batch.attributes_of(&message);
                    let (source, offset) = (name(message.source), message.source_offset);
                    let (prefix, id, writes) = (route.prefix, route.path_id, route.writes);
                    format!("{prefix} {id:?} {writes} {peer:?} {set:?} {source:?} {offset}")
                }
                Content::Sample(row) => {
                    let sample = batch.samples.get(row + behind).unwrap();
                    let series = batch.series.get(sample.series).unwrap();
                    let (rtt, source) = (sample.rtt_us, name(series.source));
                    format!("{rtt:?} {} {} {source:?}", series.connection, series.prefix)
                }
                Content::Control(index) => match &batch.controls[(index + behind) as usize] {
                    Control::Peer { peer, source, .. } => {
                        format!("{:?} {:?}", batch.peers[*peer as usize], name(*source))
                    }
                    Control::Ledger { source, .. } => format!("{:?}", name(*source)),
                    other => format!("{other:?}"),
                },
            });
        }
    }
    said
}

/// Cut in two again and again, down to single records.
fn pieces(batch: EventBatch) -> Vec<EventBatch> {
    match batch.halves() {
        Some((first, second)) => [pieces(first), pieces(second)].concat(),
        None => vec![batch],
    }
}

#[test]
fn halves_say_what_the_whole_says() {
    let mut batch = full();
    batch.append(Timestamp(2_000_000), Content::Route(1));
    batch.append(Timestamp(2_000_000), Content::Sample(0));
    let pieces = pieces(batch.clone());
    assert_eq!(pieces.len() as u64, batch.len());
    let offsets: Vec<u64> = pieces.iter().map(|piece| piece.first_offset).collect();
    assert_eq!(offsets, (40..batch.end_offset()).collect::<Vec<_>>());
    assert_eq!(pieces.iter().flat_map(said).collect::<Vec<_>>(), said(&batch));
    assert!(pieces.iter().all(|piece| piece.is_live && piece.partition == 3));
    assert!(pieces.iter().all(|piece| piece.registry_version == 4));
    assert!(pieces.iter().all(|piece| piece.peers.len() <= 1 && piece.attributes.len() <= 1));
}

#[test]
fn a_batch_that_its_log_counts_as_one_is_placed_there() {
    let mut batch = full();
    let said_before = said(&batch);
    batch.place(900, 901, Timestamp(7));
    assert_eq!((batch.first_offset, batch.end_offset(), batch.len()), (900, 901, 9));
    assert_eq!(batch.log_times(), Some((Timestamp(7), Timestamp(7))));
    assert_eq!(said(&batch), said_before);
    assert_eq!(batch.following().first_offset, 901);
}

/// Connection 2 has number 5 now, and then none any more.
#[test]
fn series_get_the_numbers_of_another_version_or_are_left_out() {
    let mut batch = full();
    assert_eq!(batch.renumber(5, |old| (old == 2).then_some(5)), 0);
    assert_eq!((batch.series.get(0).unwrap().connection, batch.registry_version), (5, 5));
    assert_eq!((batch.len(), batch.samples.len()), (9, 2));
    let others: Vec<_> = said(&batch).into_iter().filter(|said| !said.contains(" 5 ")).collect();
    assert_eq!(batch.renumber(6, |_| None), 2);
    assert_eq!((batch.series.len(), batch.samples.len(), batch.len()), (0, 0, 7));
    assert_eq!((batch.first_offset, batch.end_offset()), (40, 49), "its place stays");
    assert_eq!(said(&batch), others);
}
