//! BMP: a stream of bytes in (RFC 7854).
//!
//! Promised: no panic; a stream cut into pieces tells what the whole tells; no more elements than
//! bytes; what is kept of a stream is bounded; a session that goes on from its state is in the same
//! state; a bad message leaves nothing behind that hurts the next one.

use ingest::encode::bmp::{Peer, initiation, route_monitoring};
use ingest::session::bmp::{BmpOptions, BmpSession};
use ingest::session::{Action, PeerState, RouteSink, SessionEvent, UpdateView};
use schemas::bgp::{Asn, PeerHeader, Prefix};
use schemas::time::Timestamp;

/// All that is told, in order.
#[derive(Debug, Default, PartialEq)]
pub struct Listener {
    /// Elements.
    pub routes: Vec<(PeerHeader, Action, Prefix, Option<u32>, usize)>,
    /// Session events.
    pub events: Vec<(PeerHeader, PeerState, Option<String>)>,
}

impl RouteSink for Listener {
    fn update(&mut self, update: &UpdateView<'_>) {
        let attributes = update.attributes.decode();
        let borrowed: Vec<_> = update.attributes.as_path().asns().collect();
        assert_eq!(borrowed, attributes.as_path.asns().collect::<Vec<_>>());
        update.for_each_prefix(|action, prefix, path_id| {
            assert_eq!(prefix.to_string().parse(), Ok(prefix), "a prefix is canonical");
            let header = PeerHeader::clone(update.header);
            self.routes.push((header, action, prefix, path_id, borrowed.len()));
        });
    }

    fn session(&mut self, event: &SessionEvent<'_>) {
        let reason = event.reason.map(str::to_owned);
        assert!(reason.as_ref().is_none_or(|reason| reason.len() < 1_000));
        self.events.push((PeerHeader::clone(event.header), event.state, reason));
    }
}

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn session() -> BmpSession {
    let options = BmpOptions { peers_max: 50, ..BmpOptions::default() };
    BmpSession::new("fuzz".into(), "router", options)
}

/// Reads a stream whole, in pieces, and then a good message.
pub fn check(bytes: &[u8]) {
    let (mut whole, mut told) = (session(), Listener::default());
    let ended = whole.feed(bytes, NOW, &mut told);
    assert!(told.routes.len() <= bytes.len());
    assert_eq!(whole.counts().updates.elements(), told.routes.len() as u64);
    assert!(whole.buffered_bytes() <= 1 << 20 && whole.peers().len() <= 50 * 5);

    let (mut pieces, mut again) = (session(), Listener::default());
    let size = 1 + bytes.len() % 13;
    let in_pieces = bytes.chunks(size).try_for_each(|piece| pieces.feed(piece, NOW, &mut again));
    assert_eq!((ended, &told), (in_pieces, &again));
    assert_eq!(whole.counts(), pieces.counts());

    let mut restored = session();
    restored.restore(&whole.state());
    assert_eq!(restored.state(), whole.state());

    whole.close(NOW, "over", &mut told);
    assert_eq!((whole.peers_up(), whole.state().neighbours.len()), (0, 0));
    let (mut good, mut after) = (vec![], Listener::default());
    initiation(&mut good, "", "");
    let peer = Peer::global([192, 0, 2, 7].into(), Asn(64_500), NOW);
    let mut withdrawal = vec![0xff; 16];
    withdrawal.extend([0, 27, 2, 0, 4, 24, 192, 0, 2, 0, 0]);
    route_monitoring(&mut good, &peer, &withdrawal);
    let kept = whole.peers().len();
    whole.feed(&good, NOW, &mut after).expect("a good stream");
    assert!(after.routes.len() == 1 || kept >= 50, "a bad message poisons the next one");
}
