//! UPDATEs: the body of one in, its lists settled and handed to the sink. What every session does,
//! whatever format brought the message.

use std::sync::Arc;

use schemas::batch::PeerState;
use schemas::bgp::{Asn, Disposition, Family, PeerHeader};
use schemas::time::Timestamp;

use super::peers::ListMemory;
use super::{RouteSink, Routes, SessionEvent, UpdateView};
use crate::decode::bgp::{
    AsnWidth, Attributes, MpList, NlriList, PathView, UpdateBody, Walk, code,
};
use crate::decode::{Cursor, DecodeError};

/// What became of an UPDATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateKind {
    /// It was handed over, or held no prefix.
    Update,
    /// The end of a peer's table (RFC 4724 §2).
    EndOfRib,
}

/// Whether lists are said to carry path identifiers (RFC 7911), by family: by the subtype of a
/// record, by the OPENs of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddPath {
    /// IPv4 lists do.
    pub ipv4: bool,
    /// IPv6 lists do.
    pub ipv6: bool,
}

impl AddPath {
    /// The same for both families.
    #[inline]
    #[must_use]
    pub const fn both(has_path_ids: bool) -> Self {
        Self { ipv4: has_path_ids, ipv6: has_path_ids }
    }

    #[inline]
    const fn of(self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }
}

/// Whose UPDATE it is, and how it is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'p> {
    /// When it happened.
    pub time: Timestamp,
    /// The router's own time, where there is one beside it.
    pub router_time: Option<Timestamp>,
    /// The peer by its id.
    pub peer: u32,
    /// The peer.
    pub header: &'p Arc<PeerHeader>,
    /// Width of the AS numbers.
    pub width: AsnWidth,
    /// Whether the collector, or the router, sent it rather than the peer.
    pub is_local: bool,
    /// What is said of path identifiers.
    pub add_path: AddPath,
    /// Whether it is known to be of a table rather than a change.
    pub is_snapshot: bool,
    /// Who reports it, where that is not the peer itself.
    pub reporter: Option<Reporter>,
}

/// A router that reports routes rather than announcing them, and may put its own AS number in front
/// of their paths, as BMP of FRR does (`docs/decisions/0011-bmp-sessions.md`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reporter {
    /// Its AS number, where it is known and may be in front.
    pub asn: Option<Asn>,
    /// Whose routes it reports; none for its own table.
    pub neighbour: Option<Asn>,
    /// Whether any number right in front of the neighbour's is taken for the reporter's.
    pub guesses: bool,
}

impl Reporter {
    /// Whether the first number of a path is the reporter's.
    fn leads(self, path: PathView<'_>) -> bool {
        if self.asn.is_none() && !self.guesses {
            return false;
        }
        path.first_two().is_some_and(|(first, second)| {
            let is_guessed = self.guesses && self.neighbour.is_some() && second == self.neighbour;
            self.neighbour != Some(first) && (self.asn == Some(first) || is_guessed)
        })
    }
}

/// What the UPDATEs of a session were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateCounts {
    /// UPDATEs and table routes handed to the sink.
    pub updates: u64,
    /// Prefixes announced.
    pub announced: u64,
    /// Prefixes withdrawn, those of treat-as-withdraw included.
    pub withdrawn: u64,
    /// Multiprotocol attributes of families that are not decoded.
    pub other_families: u64,
    /// Lists read against their label, see [`super::peers`].
    pub add_path_guesses: u64,
    /// Paths without the reporter's AS number that stood in front, see [`Reporter`].
    pub stripped_paths: u64,
    /// Messages and table routes without an attribute they came with (RFC 7606 §2).
    pub attribute_discard: u64,
    /// Messages and table routes taken as withdrawn (RFC 7606 §2).
    pub treat_as_withdraw: u64,
}

impl UpdateCounts {
    /// Prefixes announced or withdrawn: what other tools call elements.
    #[must_use]
    pub const fn elements(&self) -> u64 {
        self.announced + self.withdrawn
    }

    /// Adds the counts of another session.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            updates,
            announced,
            withdrawn,
            other_families,
            add_path_guesses,
            stripped_paths,
            attribute_discard,
            treat_as_withdraw,
        } = other;
        self.updates += updates;
        self.announced += announced;
        self.withdrawn += withdrawn;
        self.other_families += other_families;
        self.add_path_guesses += add_path_guesses;
        self.stripped_paths += stripped_paths;
        self.attribute_discard += attribute_discard;
        self.treat_as_withdraw += treat_as_withdraw;
    }

    /// Counts one message and the prefixes it hands over, announced and withdrawn by its lists.
    #[inline]
    pub(super) fn hand_over(&mut self, disposition: Disposition, announced: u64, withdrawn: u64) {
        self.updates += 1;
        self.withdrawn += withdrawn;
        match disposition {
            Disposition::Accepted => self.announced += announced,
            Disposition::AttributeDiscard => {
                self.announced += announced;
                self.attribute_discard += 1;
            }
            Disposition::TreatAsWithdraw => {
                self.withdrawn += announced;
                self.treat_as_withdraw += 1;
            }
        }
    }

    /// Takes the body of one UPDATE apart, settles whether its lists carry path identifiers by what
    /// is remembered of the peer, and hands it to the sink.
    ///
    /// # Errors
    /// [`DecodeError`] if it does not show where its prefixes are: the message is refused whole.
    #[inline]
    pub fn update<'a>(
        &mut self,
        envelope: &Envelope<'a>,
        body: Cursor<'a>,
        memory: &mut ListMemory,
        sink: &mut impl RouteSink,
    ) -> Result<UpdateKind, DecodeError> {
        let parts = UpdateBody::read(body)?;
        let (mut walk, mut attributes) = (Walk::default(), Attributes::new(envelope.width));
        walk.read(parts.attributes, false, &mut attributes)?;
        let lacks_mandatory = match envelope.reporter {
            None => parts.lacks_mandatory(&walk),
            // The router has it: FRR reports routes of its own VRFs without a next hop.
            Some(_) => parts.lacks_mandatory(&walk) && !has_path_and_origin(&walk),
        };
        if lacks_mandatory {
            attributes.judge(Disposition::TreatAsWithdraw);
        }
        if envelope.reporter.is_some_and(|reporter| reporter.leads(attributes.as_path())) {
            attributes.strip();
            self.stripped_paths += 1;
        }
        let mut guesses = 0;
        let mut settle = |list: &MpList<'a>, into: &mut NlriList<'a>| -> Result<u64, DecodeError> {
            let is_labelled = envelope.add_path.of(list.family);
            let read = memory.settle(list, is_labelled, envelope.is_local)?;
            guesses += u64::from(read.is_guess);
            *into = NlriList::passed(list.nlri, list.family, read.has_path_ids);
            Ok(read.prefixes.into())
        };
        let plain = |nlri| MpList { family: Family::Ipv4, is_multicast: false, nlri };
        let mut lists = [NlriList::EMPTY; 4];
        let [withdrawn, unreach, announced, reach] = &mut lists;
        let (mut withdrawals, mut announcements) = (0, 0);
        if !parts.withdrawn.is_empty() {
            withdrawals = settle(&plain(parts.withdrawn), withdrawn)?;
        }
        if !parts.announced.is_empty() {
            announcements = settle(&plain(parts.announced), announced)?;
        }
        if let Some(list) = &walk.unreach {
            withdrawals += settle(list, unreach)?;
        }
        if let Some(list) = &walk.reach {
            announcements += settle(list, reach)?;
        }
        self.add_path_guesses += guesses;
        self.other_families += u64::from(walk.other_families);
        if announcements + withdrawals == 0 {
            return Ok(match parts.end_of_rib(&walk) {
                Some(family) => {
                    sink.session(&envelope.event(PeerState::EndOfRib(family)));
                    UpdateKind::EndOfRib
                }
                None => UpdateKind::Update,
            });
        }
        let disposition = attributes.disposition();
        self.hand_over(disposition, announcements, withdrawals);
        let has_two_hops = !parts.announced.is_empty() && walk.reach.is_some();
        attributes.take_mp_hop(walk.reach.is_some() && !has_two_hops);
        let view = envelope.view(&attributes, Routes::Lists(&lists));
        if has_two_hops {
            tell_in_two(&view, &lists, sink);
        } else {
            sink.update(&view);
        }
        Ok(UpdateKind::Update)
    }
}

const fn has_path_and_origin(walk: &Walk<'_>) -> bool {
    walk.has(code::ORIGIN) && walk.has(code::AS_PATH)
}

/// Hands over an UPDATE with prefixes in both NLRI and `MP_REACH_NLRI`: each has a next hop of its
/// own (RFC 4760 §3).
#[cold]
fn tell_in_two(update: &UpdateView<'_>, lists: &[NlriList<'_>; 4], sink: &mut impl RouteSink) {
    const NONE: NlriList<'_> = NlriList::EMPTY;
    let [withdrawn, unreach, announced, reach] = *lists;
    let classic = [withdrawn, unreach, announced, NONE];
    sink.update(&UpdateView { routes: Routes::Lists(&classic), ..*update });
    if !reach.is_empty() {
        let mut attributes = *update.attributes;
        attributes.take_mp_hop(true);
        let routes = Routes::Lists(&[NONE, NONE, NONE, reach]);
        sink.update(&UpdateView { attributes: &attributes, routes, ..*update });
    }
}

impl<'p> Envelope<'p> {
    #[inline]
    pub(super) fn view<'v>(
        &self,
        attributes: &'v Attributes<'v>,
        routes: Routes<'v>,
    ) -> UpdateView<'v>
    where
        'p: 'v,
    {
        UpdateView {
            time: self.time,
            router_time: self.router_time,
            peer: self.peer,
            header: self.header,
            is_snapshot: self.is_snapshot,
            attributes,
            disposition: attributes.disposition(),
            routes,
        }
    }

    /// An event of this peer's session, without what only some formats tell.
    pub(super) const fn event(&self, state: PeerState) -> SessionEvent<'p> {
        SessionEvent {
            time: self.time,
            peer: self.peer,
            header: self.header,
            state,
            codes: None,
            local_ip: None,
            reason: None,
            prefixes_accepted: None,
        }
    }
}
