//! BMP: bytes in, one message out (RFC 7854, RFC 8671, RFC 9069).
//!
//! [`frame`] finds where a message ends, whatever its type. [`PerPeer`] opens the header that says
//! on whose behalf a router speaks, `Message` the body. Nothing is kept between messages: which
//! peers are up, and whether their lists carry path identifiers, is [`crate::session::bmp`].
//!
//! A stream whose header makes no sense cannot be followed any further, and that is a
//! [`FrameError`]. A message that makes no sense inside its frame is a
//! [`DecodeError`] and costs itself alone.
//!
//! Not decoded: version 4 (a draft; framed and skipped), versions 1 and 2 (refused), the BGP
//! messages inside Route Mirroring (counted). What a TLV means is told where it is known; others
//! are handed on by their number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemas::bgp::{Asn, RibView};
use schemas::time::Timestamp;

use super::bgp::AsnWidth;
use super::bgp::open::Notification;
use super::cursor::{Cursor, DecodeError};

/// Octets of the common header: version, length, type (RFC 7854 §4.1).
pub const HEADER_BYTES: usize = 6;
/// Octets of the per-peer header (RFC 7854 §4.2).
pub const PER_PEER_BYTES: usize = 42;
/// The version of RFC 7854.
pub const VERSION: u8 = 3;
/// The version of the TLV drafts: framed alike, not opened.
pub const VERSION_DRAFT: u8 = 4;
/// Longest message accepted unless the caller says otherwise: a bound on what a header can ask for.
pub const MESSAGE_BYTES_MAX: u32 = 1 << 20;

/// Message types (RFC 7854 §10.1).
pub mod kind {
    /// Route Monitoring (§4.6).
    pub const ROUTE_MONITORING: u8 = 0;
    /// Statistics Report (§4.8).
    pub const STATISTICS_REPORT: u8 = 1;
    /// Peer Down Notification (§4.9).
    pub const PEER_DOWN: u8 = 2;
    /// Peer Up Notification (§4.10).
    pub const PEER_UP: u8 = 3;
    /// Initiation (§4.3).
    pub const INITIATION: u8 = 4;
    /// Termination (§4.5).
    pub const TERMINATION: u8 = 5;
    /// Route Mirroring (§4.7).
    pub const ROUTE_MIRRORING: u8 = 6;
}

/// Types of information TLVs (RFC 7854 §4.4, §4.5; RFC 9069 §5.2).
pub mod tlv {
    /// Free text, in Initiation, Peer Up and Termination.
    pub const STRING: u16 = 0;
    /// What the router is, in Initiation.
    pub const SYS_DESCR: u16 = 1;
    /// What the router is called, in Initiation.
    pub const SYS_NAME: u16 = 2;
    /// Name of the table, in Peer Up and Peer Down.
    pub const TABLE_NAME: u16 = 3;
    /// Why the router ends the session, in Termination.
    pub const TERMINATION_REASON: u16 = 1;
}

/// Why a stream cannot be followed any further. One variant per remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No version of BMP that has this header.
    #[error("BMP version {version} is not 3: the stream is no BMP, or is damaged")]
    Version {
        /// What the header says.
        version: u8,
    },
    /// Shorter than its own header.
    #[error("a BMP message cannot have {length_bytes} bytes")]
    TooShort {
        /// What the header says.
        length_bytes: u32,
    },
    /// Longer than the bound.
    #[error("a BMP message of {length_bytes} bytes exceeds {max_bytes}")]
    TooLong {
        /// What the header says.
        length_bytes: u32,
        /// What is accepted.
        max_bytes: u32,
    },
}

impl FrameError {
    /// The `reason` label of `peerscope_ingest_decode_errors_total`: a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Version { .. } => "bad_version",
            Self::TooShort { .. } => "frame_too_short",
            Self::TooLong { .. } => "frame_too_long",
        }
    }
}

/// One whole message, not yet opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawMessage<'a> {
    /// Version: [`VERSION`] or [`VERSION_DRAFT`].
    pub version: u8,
    /// Message type.
    pub kind: u8,
    /// What follows the common header.
    pub body: &'a [u8],
}

/// What stands at the front of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole message.
    Whole {
        /// The message.
        message: RawMessage<'a>,
        /// Its bytes, header included.
        bytes: usize,
    },
    /// The beginning of one.
    NeedMore {
        /// How many bytes it takes to go on, those given included.
        bytes: usize,
    },
}

/// Frames the first message of `bytes` (RFC 7854 §4.1). Version and length are judged as soon as
/// they are there, so a header that asks for gigabytes is refused before they are waited for.
///
/// # Errors
/// [`FrameError`]: the stream is damaged here, and where the next message begins is not known.
#[inline]
pub fn frame(bytes: &[u8], message_bytes_max: u32) -> Result<Frame<'_>, FrameError> {
    let mut input = Cursor::new(bytes);
    let version = match bytes.first() {
        Some(version @ (&VERSION | &VERSION_DRAFT)) => *version,
        Some(version) => return Err(FrameError::Version { version: *version }),
        None => return Ok(Frame::NeedMore { bytes: HEADER_BYTES }),
    };
    let Ok([_, l0, l1, l2, l3, kind]) = input.array("BMP header") else {
        return Ok(Frame::NeedMore { bytes: HEADER_BYTES });
    };
    let length_bytes = u32::from_be_bytes([l0, l1, l2, l3]);
    if length_bytes > message_bytes_max {
        return Err(FrameError::TooLong { length_bytes, max_bytes: message_bytes_max });
    }
    let whole_bytes = usize::try_from(length_bytes).unwrap_or(usize::MAX);
    let Some(body_bytes) = whole_bytes.checked_sub(HEADER_BYTES) else {
        return Err(FrameError::TooShort { length_bytes });
    };
    match input.take("BMP message", body_bytes) {
        Ok(body) => {
            let message = RawMessage { version, kind, body };
            Ok(Frame::Whole { message, bytes: whole_bytes })
        }
        Err(_) => Ok(Frame::NeedMore { bytes: whole_bytes }),
    }
}

/// Whether `bytes` begin as a BMP message does: version, a length that its type can have, and as
/// much of the header behind as there is. For finding a stream in a file or in a capture.
#[must_use]
pub fn is_likely(bytes: &[u8]) -> bool {
    let mut input = Cursor::new(bytes);
    let Ok([version, l0, l1, l2, l3, kind]) = input.array("BMP header") else { return false };
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    let least = match kind {
        kind::ROUTE_MONITORING => 48 + 19,
        kind::STATISTICS_REPORT => 48 + 4,
        kind::PEER_DOWN => 48 + 1,
        kind::PEER_UP => 48 + 20 + 2 * 29,
        kind::INITIATION => 6,
        kind::TERMINATION => 6 + 4,
        kind::ROUTE_MIRRORING => 48,
        _ => return false,
    };
    let has_peer = !matches!(kind, kind::INITIATION | kind::TERMINATION);
    let peer_type = input.peek_padded::<1>();
    matches!(version, VERSION | VERSION_DRAFT)
        && (least..=MESSAGE_BYTES_MAX).contains(&length)
        && (!has_peer || peer_type <= [3])
}

/// Kinds of peers (RFC 7854 §4.2, RFC 9069 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerKind {
    /// 0: in the global table.
    Global,
    /// 1: in a VRF, told apart by its route distinguisher.
    RouteDistinguisher,
    /// 2: of another instance of the router.
    LocalInstance,
    /// 3: no peer but the router's own choice.
    LocRib,
}

impl PeerKind {
    /// The kind of a number of the registry.
    #[must_use]
    pub const fn from_wire(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Global),
            1 => Some(Self::RouteDistinguisher),
            2 => Some(Self::LocalInstance),
            3 => Some(Self::LocRib),
            _ => None,
        }
    }

    /// The number in the registry.
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            Self::Global => 0,
            Self::RouteDistinguisher => 1,
            Self::LocalInstance => 2,
            Self::LocRib => 3,
        }
    }
}

/// The per-peer header: on whose behalf the router speaks (RFC 7854 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerPeer {
    /// Kind of peer.
    pub kind: PeerKind,
    /// Flags as sent; what they mean depends on the kind.
    pub flags: u8,
    /// Route distinguisher, or what else tells instances apart.
    pub distinguisher: u64,
    /// The peer's address; 0.0.0.0 for a Loc-RIB (RFC 9069 §4.2).
    pub address: IpAddr,
    /// The peer's AS number.
    pub asn: Asn,
    /// The peer's BGP identifier.
    pub bgp_id: u32,
    /// The router's time; none where it is zero.
    pub time: Option<Timestamp>,
}

/// Flag V: the address is IPv6. Flag F of a Loc-RIB: the table is filtered.
const FLAG_V: u8 = 0x80;
/// Flag L: after policy.
const FLAG_L: u8 = 0x40;
/// Flag A: AS numbers of two octets.
const FLAG_A: u8 = 0x20;
/// Flag O: Adj-RIB-Out (RFC 8671 §4).
const FLAG_O: u8 = 0x10;

impl PerPeer {
    /// Reads the header.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut, or of a kind that is not known: what its flags mean is then
    /// not known either.
    #[inline]
    pub fn read(input: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        let [number, flags] = input.array("peer type and flags")?;
        let Some(kind) = PeerKind::from_wire(number) else {
            let value = number.into();
            return Err(DecodeError::BadValue { field: "BMP peer type", offset, value });
        };
        let distinguisher = input.u64("peer distinguisher")?;
        let octets = input.array::<16>("peer address")?;
        let asn = Asn(input.u32("peer AS number")?);
        let bgp_id = input.u32("peer BGP identifier")?;
        let (secs, micros) = (input.u32("peer time")?, input.u32("peer time")?);
        let has_time = secs != 0;
        let address = match kind {
            PeerKind::LocRib => Ipv4Addr::UNSPECIFIED.into(),
            _ => address(octets, flags & FLAG_V != 0),
        };
        let time = has_time.then(|| Timestamp::from_parts(secs.into(), micros.min(999_999)));
        Ok(Self { kind, flags, distinguisher, address, asn, bgp_id, time })
    }

    /// Which table of the router a Route Monitoring message with this header is of.
    #[inline]
    #[must_use]
    pub const fn rib_view(&self) -> RibView {
        match (self.kind, self.flags & FLAG_O != 0, self.flags & FLAG_L != 0) {
            (PeerKind::LocRib, ..) => RibView::LocRib,
            (_, false, false) => RibView::AdjRibInPre,
            (_, false, true) => RibView::AdjRibInPost,
            (_, true, false) => RibView::AdjRibOutPre,
            (_, true, true) => RibView::AdjRibOutPost,
        }
    }

    /// Octets of AS numbers in the message, as the header has it.
    #[inline]
    #[must_use]
    pub const fn asn_width(&self) -> AsnWidth {
        match self.kind {
            PeerKind::LocRib => AsnWidth::Four,
            _ if self.flags & FLAG_A != 0 => AsnWidth::Two,
            _ => AsnWidth::Four,
        }
    }

    /// Whether addresses in the body are IPv6.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        !matches!(self.kind, PeerKind::LocRib) && self.flags & FLAG_V != 0
    }

    /// Whether a Loc-RIB holds only a part of what the router uses (RFC 9069 §4.2).
    #[must_use]
    pub const fn is_filtered(&self) -> bool {
        matches!(self.kind, PeerKind::LocRib) && self.flags & FLAG_V != 0
    }
}

/// An address of 16 octets; IPv4 lies in the last four of them (RFC 7854 §4.2).
pub(crate) fn address(octets: [u8; 16], is_ipv6: bool) -> IpAddr {
    if is_ipv6 {
        Ipv6Addr::from(octets).into()
    } else {
        let [.., a, b, c, d] = octets;
        Ipv4Addr::new(a, b, c, d).into()
    }
}

/// The router's time in a message, if it is of a type that has one.
#[must_use]
pub fn router_time(message: &RawMessage<'_>) -> Option<Timestamp> {
    match message.kind {
        kind::INITIATION | kind::TERMINATION => None,
        _ => PerPeer::read(&mut Cursor::new(message.body)).ok()?.time,
    }
}

/// TLVs, each a type, a length and a value (RFC 7854 §4.4): information, mirrored messages.
#[derive(Clone, Copy, Debug)]
pub struct Tlvs<'a>(pub Cursor<'a>);

impl<'a> Tlvs<'a> {
    /// Each TLV in order; bytes that make up none end it.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut input = self.0;
        std::iter::from_fn(move || {
            let kind = input.u16("TLV type").ok()?;
            let bytes = input.u16("TLV length").ok()?;
            Some((kind, input.take("TLV value", bytes.into()).ok()?))
        })
    }

    /// The first one of a type.
    #[must_use]
    pub fn first(&self, wanted: u16) -> Option<&'a [u8]> {
        self.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    /// Bytes at the end that make up no TLV.
    #[must_use]
    pub fn torn_bytes(&self) -> usize {
        let whole: usize = self.iter().map(|(_, value)| 4 + value.len()).sum();
        self.0.left().saturating_sub(whole)
    }
}

/// Why a peer is down (RFC 7854 §4.9, RFC 9069 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownReason<'a> {
    /// 1: the router sent a NOTIFICATION; none if what is there is none.
    LocalNotification(Option<Notification>),
    /// 2: the router closed without one, at this event of its state machine; 0 is no event.
    LocalFsm(u16),
    /// 3: the peer sent a NOTIFICATION.
    RemoteNotification(Option<Notification>),
    /// 4: the peer closed without one.
    RemoteClosed,
    /// 5: the peer may be up; nothing more will be told of it.
    NotMonitored,
    /// 6: the router ended a table of its own; its name, if told.
    LocalSystem(Option<&'a [u8]>),
    /// Any other number.
    Other(u8),
}

impl<'a> DownReason<'a> {
    /// Reads the body of a Peer Down behind the per-peer header. Data that does not fit the reason
    /// leaves the reason standing.
    ///
    /// # Errors
    /// [`DecodeError`] if there is no reason.
    pub fn read(mut input: Cursor<'a>) -> Result<Self, DecodeError> {
        Ok(match input.u8("Peer Down reason")? {
            1 => Self::LocalNotification(Notification::read(&mut input).ok()),
            2 => Self::LocalFsm(input.u16("FSM event").unwrap_or(0)),
            3 => Self::RemoteNotification(Notification::read(&mut input).ok()),
            4 => Self::RemoteClosed,
            5 => Self::NotMonitored,
            6 => Self::LocalSystem(Tlvs(input).first(tlv::TABLE_NAME)),
            other => Self::Other(other),
        })
    }

    /// The reason in words, with its codes.
    #[must_use]
    pub fn words(&self) -> String {
        let notified = |who: &str, notification: &Option<Notification>| match notification {
            Some(found) => {
                let Notification { code, subcode } = found;
                format!("{who} sent NOTIFICATION {code}/{subcode}, {}", found.words())
            }
            None => format!("{who} sent a NOTIFICATION that cannot be read"),
        };
        match self {
            Self::LocalNotification(notification) => notified("the router", notification),
            Self::LocalFsm(0) => "the router closed without NOTIFICATION".to_owned(),
            Self::LocalFsm(event) => {
                format!("the router closed without NOTIFICATION, FSM event {event}")
            }
            Self::RemoteNotification(notification) => notified("the peer", notification),
            Self::RemoteClosed => "the peer closed without NOTIFICATION".to_owned(),
            Self::NotMonitored => "the router no longer reports this peer".to_owned(),
            Self::LocalSystem(_) => "the router closed the table".to_owned(),
            Self::Other(number) => format!("Peer Down reason {number}"),
        }
    }
}

/// Why a router ends a BMP session, in words (RFC 7854 §4.5).
#[must_use]
pub fn termination_words(body: &[u8]) -> &'static str {
    match Tlvs(Cursor::new(body)).first(tlv::TERMINATION_REASON) {
        Some([0, 0]) => "administratively closed",
        Some([0, 2]) => "out of resources",
        Some([0, 3]) => "redundant session",
        Some([0, 4]) => "permanently administratively closed",
        _ => "unspecified reason",
    }
}
