//! Our own reading of a file: each record with its elements and lines.

use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ingest::decode::mrt::{Frame, frame, resync};
use ingest::encode::bgpdump::{self, Form};
use ingest::session::{Action, MrtSession, RouteSink, SessionEvent, UpdateView};
use ingest::source::open::open;
use schemas::bgp::{Asn, Community, Origin, Prefix};
use schemas::time::Timestamp;

/// One element, as far as all decoders tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    pub time: Timestamp,
    pub peer: (IpAddr, Asn),
    pub action: Action,
    pub prefix: Prefix,
    pub path_id: Option<u32>,
    /// None for a withdrawal.
    pub said: Option<Said>,
}

/// What is said of an announced prefix; numbers are 0 where they are absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    pub origin: Option<Origin>,
    pub path: String,
    pub next_hop: Option<IpAddr>,
    pub med: u32,
    pub local_pref: u32,
    pub communities: Vec<Community>,
    pub otc: Option<Asn>,
}

/// Elements as text, one a line.
pub fn texts(elements: &[Element]) -> String {
    elements.iter().map(|element| format!("{element:?}\n")).collect()
}

/// A record, or damage between records, and what it told.
pub struct Record<'a> {
    pub offset: usize,
    pub bytes: &'a [u8],
    pub kind: u16,
    pub subtype: u16,
    pub elements: Vec<Element>,
    pub lines: String,
    /// What was done about it: counts that went up.
    pub remarks: Vec<&'static str>,
}

/// Sums over a file.
#[derive(Default)]
pub struct Sums {
    pub records: usize,
    pub elements: usize,
}

#[derive(Default)]
struct Sink {
    form: Option<Form>,
    elements: Vec<Element>,
    lines: Vec<u8>,
    states: Vec<(Timestamp, u32, (u16, u16))>,
}

impl RouteSink for Sink {
    fn update(&mut self, update: &UpdateView<'_>) {
        let peer = update.header;
        bgpdump::routes(&mut self.lines, self.form.unwrap(), update, peer);
        let all = update.attributes.decode();
        let said = Said {
            origin: all.origin,
            path: all.as_path.to_string(),
            next_hop: all.next_hop,
            med: all.med.unwrap_or(0),
            local_pref: all.local_pref.unwrap_or(0),
            communities: all.communities,
            otc: all.otc,
        };
        update.for_each_prefix(|action, prefix, path_id| {
            self.elements.push(Element {
                time: update.time,
                peer: (peer.address, peer.asn),
                action,
                prefix,
                path_id,
                said: (action == Action::Announce).then(|| said.clone()),
            });
        });
    }

    fn session(&mut self, event: &SessionEvent<'_>) {
        if let Some(codes) = event.codes {
            self.states.push((event.time, event.peer, codes));
        }
    }
}

/// Reads a file to its end, past damage too.
pub fn read(path: &Path, mut f: impl FnMut(Record<'_>)) -> Sums {
    let mut bytes = vec![];
    let _ = open(path).unwrap().read_to_end(&mut bytes); // what can be had of a cut one
    let (mut session, mut sink) = (MrtSession::new(Arc::from("archive")), Sink::default());
    let (mut sums, mut offset) = (Sums::default(), 0);
    while offset < bytes.len() {
        let rest = &bytes[offset..];
        let (length, record) = match frame(rest) {
            Ok(Frame::Whole { record, bytes }) => (bytes, Some(record)),
            Ok(Frame::NeedMore { .. }) => (rest.len(), None),
            Err(_) => (resync(rest).unwrap_or(rest.len()), None),
        };
        let mut remarks = vec![];
        if let Some(record) = record {
            sink.form = Some(Form::of(&record));
            let before = session.counts().clone();
            let _ = session.record(&record, &mut sink);
            let after = session.counts();
            let sum = |refused: &std::collections::BTreeMap<_, u64>| refused.values().sum::<u64>();
            let rose = [
                ("refused", sum(&after.refused) > sum(&before.refused)),
                ("skipped", after.skipped != before.skipped),
                ("add_path", after.updates.add_path_guesses > before.updates.add_path_guesses),
                (
                    "attribute_discard",
                    after.updates.attribute_discard > before.updates.attribute_discard,
                ),
                (
                    "treat_as_withdraw",
                    after.updates.treat_as_withdraw > before.updates.treat_as_withdraw,
                ),
            ];
            remarks.extend(rose.iter().filter(|(_, rose)| *rose).map(|(name, _)| *name));
            for (time, peer, states) in sink.states.drain(..) {
                let peer = session.peers().get(peer).unwrap();
                bgpdump::state(&mut sink.lines, sink.form.unwrap(), time, peer, states);
            }
            sums.records += 1;
        } else {
            remarks.push("damage");
        }
        let elements = std::mem::take(&mut sink.elements);
        sums.elements += elements.len();
        let lines = String::from_utf8(std::mem::take(&mut sink.lines)).unwrap();
        let (kind, subtype) = record.map_or((0, 0), |record| (record.kind, record.subtype));
        let bytes = &rest[..length];
        f(Record { offset, bytes, kind, subtype, elements, lines, remarks });
        offset += length;
    }
    sums
}
