//! OPEN and NOTIFICATION: one message in, what a session agreed on or ended with out
//! (RFC 4271 §4.2, §4.5; RFC 5492; RFC 9072).
//!
//! An OPEN is read as far as it holds together. Parameters that overrun it, or capabilities that
//! overrun their parameter, end the walk and are told by [`OpenFacts::is_malformed`]: what a peer
//! said of itself is a hint for reading its lists, and a bad hint is no reason to lose the peer.
//!
//! Not decoded: authentication (parameter 1, withdrawn by RFC 5492), and every capability that
//! [`Capability`] does not name; those are handed on by their code.

use schemas::bgp::Asn;

use super::message::HEADER_BYTES;
use crate::decode::cursor::{Cursor, DecodeError};

/// Message type of an OPEN.
pub const OPEN: u8 = 1;
/// Message type of a NOTIFICATION.
pub const NOTIFICATION: u8 = 3;
/// Parameter type that marks the extended form (RFC 9072 §2).
const EXTENDED: u8 = 255;
/// Parameter type of capabilities (RFC 5492 §4).
const CAPABILITIES: u8 = 2;

/// An OPEN with its parameters, not yet walked.
#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    /// Version of BGP.
    pub version: u8,
    /// The field My Autonomous System: 23456 where the number takes four octets.
    pub short_asn: u16,
    /// Hold time in seconds.
    pub hold_time_secs: u16,
    /// BGP identifier.
    pub bgp_id: u32,
    parameters: Cursor<'a>,
    has_long_parameters: bool,
    is_cut: bool,
}

/// One capability (RFC 5492 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability<'a> {
    /// 1: routes of this AFI and SAFI (RFC 4760 §8).
    Multiprotocol(u16, u8),
    /// 6: messages up to 65,535 octets (RFC 8654).
    ExtendedMessage,
    /// 9: the role of the speaker towards its peer (RFC 9234 §4.1).
    Role(u8),
    /// 64: flags and restart time in seconds (RFC 4724 §3).
    GracefulRestart(u8, u16),
    /// 65: AS numbers of four octets, and the speaker's own (RFC 6793 §3).
    FourOctetAsn(Asn),
    /// 69: path identifiers for this AFI and SAFI (RFC 7911 §4).
    AddPath(AddPathFamily),
    /// Any other, or one of the above with a value of the wrong size.
    Other(u8, &'a [u8]),
}

/// What a speaker can do with path identifiers in one family (RFC 7911 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddPathFamily {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
    /// It can receive several paths of a prefix.
    pub receives: bool,
    /// It can send several paths of a prefix.
    pub sends: bool,
}

/// What the capabilities of one OPEN come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFacts {
    /// The speaker's AS number.
    pub asn: Asn,
    /// Whether it knows AS numbers of four octets.
    pub has_four_octets: bool,
    /// Path identifiers in IPv4 unicast: receives, sends.
    pub add_path_ipv4: (bool, bool),
    /// Path identifiers in IPv6 unicast: receives, sends.
    pub add_path_ipv6: (bool, bool),
    /// Whether it can restart gracefully.
    pub has_graceful_restart: bool,
    /// Whether it takes messages beyond 4,096 octets.
    pub has_extended_message: bool,
    /// Its role (RFC 9234 §4.1): 0 provider, 1 route server, 2 its client, 3 customer, 4 peer.
    pub role: Option<u8>,
    /// Families it has routes of, at most 255 counted.
    pub families: u8,
    /// Whether parameters or capabilities did not hold together.
    pub is_malformed: bool,
}

impl<'a> Open<'a> {
    /// Reads one OPEN with its header. What follows the length that the header says stays in
    /// `input`, even where the OPEN itself is malformed.
    pub fn read(input: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let mut body = body_of(input, OPEN, "OPEN")?;
        let version = body.u8("OPEN version")?;
        let short_asn = body.u16("OPEN AS number")?;
        let hold_time_secs = body.u16("OPEN hold time")?;
        let bgp_id = body.u32("OPEN BGP identifier")?;
        let length = body.u8("OPEN parameters length")?;
        let mut bytes = usize::from(length);
        // RFC 9072 §2: whatever the length octet says, unless it is 0.
        let has_long_parameters =
            length != 0 && body.peek_padded::<1>() == [EXTENDED] && body.left() >= 3;
        if has_long_parameters {
            body.u8("OPEN extended mark")?;
            bytes = body.u16("OPEN extended length")?.into();
        }
        let is_cut = bytes > body.left();
        let parameters = body.cut("OPEN parameters", bytes.min(body.left()))?;
        Ok(Self {
            version,
            short_asn,
            hold_time_secs,
            bgp_id,
            parameters,
            has_long_parameters,
            is_cut,
        })
    }

    /// Walks the capabilities; false if they, or the parameters around them, do not hold together.
    /// Each that does is handed over first.
    pub fn for_each_capability(&self, mut f: impl FnMut(Capability<'a>)) -> bool {
        let mut input = self.parameters;
        while !input.is_empty() {
            let Ok(kind) = input.u8("parameter type") else { return false };
            let bytes = if self.has_long_parameters {
                input.u16("parameter length").map(usize::from)
            } else {
                input.u8("parameter length").map(usize::from)
            };
            let Ok(value) = bytes.and_then(|bytes| input.cut("parameter", bytes)) else {
                return false;
            };
            if kind == CAPABILITIES && !capabilities(value, &mut f) {
                return false;
            }
        }
        !self.is_cut
    }

    /// What the capabilities come to.
    #[must_use]
    pub fn facts(&self) -> OpenFacts {
        let mut facts = OpenFacts { asn: Asn(self.short_asn.into()), ..OpenFacts::default() };
        let holds = self.for_each_capability(|capability| match capability {
            Capability::Multiprotocol(..) => facts.families = facts.families.saturating_add(1),
            Capability::ExtendedMessage => facts.has_extended_message = true,
            Capability::Role(role) => facts.role = Some(role),
            Capability::GracefulRestart(..) => facts.has_graceful_restart = true,
            Capability::FourOctetAsn(asn) => {
                facts.has_four_octets = true;
                facts.asn = asn;
            }
            Capability::AddPath(family) => {
                let can = (family.receives, family.sends);
                match (family.afi, family.safi) {
                    (1, 1) => facts.add_path_ipv4 = can,
                    (2, 1) => facts.add_path_ipv6 = can,
                    _ => {}
                }
            }
            Capability::Other(..) => {}
        });
        facts.is_malformed = !holds;
        facts
    }
}

/// The capabilities of one parameter; false if the last one overruns it.
fn capabilities<'a>(mut input: Cursor<'a>, f: &mut impl FnMut(Capability<'a>)) -> bool {
    while !input.is_empty() {
        let Ok([code, length]) = input.array("capability") else { return false };
        let Ok(value) = input.take("capability value", length.into()) else { return false };
        match (code, value) {
            (1, [afi_high, afi_low, _, safi]) => {
                f(Capability::Multiprotocol(u16::from_be_bytes([*afi_high, *afi_low]), *safi));
            }
            (6, []) => f(Capability::ExtendedMessage),
            (9, [role]) => f(Capability::Role(*role)),
            (64, [high, low, ..]) => {
                let both = u16::from_be_bytes([*high, *low]);
                f(Capability::GracefulRestart(high >> 4, both & 0x0fff));
            }
            (65, [a, b, c, d]) => {
                f(Capability::FourOctetAsn(Asn(u32::from_be_bytes([*a, *b, *c, *d]))));
            }
            (69, families) if families.len().is_multiple_of(4) && !families.is_empty() => {
                add_path(Cursor::new(families), f);
            }
            _ => f(Capability::Other(code, value)),
        }
    }
    true
}

/// The families of one ADD-PATH capability; one with an unknown direction is ignored
/// (RFC 7911 §4).
fn add_path<'a>(mut input: Cursor<'_>, f: &mut impl FnMut(Capability<'a>)) {
    while let Ok([afi_high, afi_low, safi, direction]) = input.array("ADD-PATH family") {
        if matches!(direction, 1..=3) {
            f(Capability::AddPath(AddPathFamily {
                afi: u16::from_be_bytes([afi_high, afi_low]),
                safi,
                receives: direction & 1 != 0,
                sends: direction & 2 != 0,
            }));
        }
    }
}

/// The body of a message that must be of this type. The marker is not looked at: the message was
/// taken by a speaker before it was copied here.
fn body_of<'a>(
    input: &mut Cursor<'a>,
    kind: u8,
    field: &'static str,
) -> Result<Cursor<'a>, DecodeError> {
    let offset = input.offset();
    let [_marker @ .., high, low, found]: [u8; HEADER_BYTES] = input.array("BGP header")?;
    let length = u16::from_be_bytes([high, low]);
    let Some(bytes) = usize::from(length).checked_sub(HEADER_BYTES) else {
        let (field, offset, value) = ("BGP message length", offset + 16, length.into());
        return Err(DecodeError::BadValue { field, offset, value });
    };
    let body = input.cut(field, bytes)?;
    if found == kind {
        Ok(body)
    } else {
        let (field, offset, value) = ("BGP message type", offset + 18, found.into());
        Err(DecodeError::BadValue { field, offset, value })
    }
}

/// Why a speaker ended a session (RFC 4271 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
}

impl Notification {
    /// Reads one NOTIFICATION with its header; its data is passed over.
    pub fn read(input: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let mut body = body_of(input, NOTIFICATION, "NOTIFICATION")?;
        let [code, subcode] = body.array("NOTIFICATION codes")?;
        Ok(Self { code, subcode })
    }

    /// The code in words (RFC 4271 §4.5, RFC 4486 §3, RFC 8538, RFC 9384).
    #[must_use]
    pub const fn words(&self) -> &'static str {
        match (self.code, self.subcode) {
            (1, _) => "message header error",
            (2, 2) => "OPEN error, bad peer AS",
            (2, 6) => "OPEN error, unacceptable hold time",
            (2, 7) => "OPEN error, unsupported capability",
            (2, 11) => "OPEN error, role mismatch",
            (2, _) => "OPEN error",
            (3, _) => "UPDATE error",
            (4, _) => "hold timer expired",
            (5, _) => "finite state machine error",
            (6, 1) => "cease, maximum number of prefixes reached",
            (6, 2) => "cease, administrative shutdown",
            (6, 3) => "cease, peer de-configured",
            (6, 4) => "cease, administrative reset",
            (6, 5) => "cease, connection rejected",
            (6, 6) => "cease, other configuration change",
            (6, 7) => "cease, connection collision",
            (6, 8) => "cease, out of resources",
            (6, 9) => "cease, hard reset",
            (6, 10) => "cease, BFD down",
            (6, _) => "cease",
            (7, _) => "ROUTE-REFRESH error",
            _ => "unknown error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xff; 16];
        bytes.extend(((HEADER_BYTES + body.len()) as u16).to_be_bytes());
        bytes.push(kind);
        bytes.extend(body);
        bytes
    }

    fn open(parameters: &[u8]) -> Vec<u8> {
        let fixed = [4, 0x5b, 0xa0, 0, 180, 192, 0, 2, 1];
        message(OPEN, &[&fixed[..], parameters].concat())
    }

    const CAPS: &[u8] = &[
        1, 4, 0, 1, 0, 1, // IPv4 unicast
        65, 4, 0, 6, 0x1a, 0x81, // AS 400001
        69, 8, 0, 1, 1, 3, 0, 2, 1, 1, // ADD-PATH: IPv4 both, IPv6 receive
        64, 2, 0x80, 120, 9, 1, 3, 6, 0, 70,
        0, // restart, role, extended message, and another
    ];

    fn plain() -> Vec<u8> {
        let caps = CAPS.len() as u8;
        open(&[&[caps + 2, 2, caps][..], CAPS].concat())
    }

    #[test]
    fn capabilities_are_read_in_both_forms_of_parameters() {
        let caps = CAPS.len() as u8;
        let extended = open(&[&[255, 255, 0, caps + 3, 2, 0, caps][..], CAPS].concat());
        for bytes in [plain(), extended] {
            let mut input = Cursor::new(&bytes);
            let open = Open::read(&mut input).unwrap();
            assert!(input.is_empty());
            let want = OpenFacts {
                asn: Asn(400_001),
                has_four_octets: true,
                add_path_ipv4: (true, true),
                add_path_ipv6: (true, false),
                has_graceful_restart: true,
                has_extended_message: true,
                role: Some(3),
                families: 1,
                is_malformed: false,
            };
            assert_eq!(open.facts(), want);
            assert_eq!((open.short_asn, open.hold_time_secs), (23_456, 180));
        }
    }

    /// Malformed-input class 11 (FRR CVE-2022-40302, -40318, -43681): lengths that lie.
    #[test]
    fn an_open_whose_lengths_lie_is_read_as_far_as_it_holds() {
        let whole = plain();
        for at in HEADER_BYTES..whole.len() {
            for value in [0, 1, 2, 3, 127, 254, 255] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                bytes.extend([7; 9]);
                let mut input = Cursor::new(&bytes);
                let facts = Open::read(&mut input).unwrap().facts();
                assert_eq!(input.left(), 9, "the next message is found");
                assert!(facts.families <= 8);
            }
        }
        for left in 0..whole.len() {
            let mut bytes = whole[..left].to_vec();
            if left > HEADER_BYTES {
                bytes[17] = left as u8;
            }
            if let Ok(open) = Open::read(&mut Cursor::new(&bytes)) {
                assert!(open.facts().is_malformed, "{left}");
            }
        }
        let cut = open(&[255, 255, 255, 255, 2, 0, 4, 65]);
        assert!(Open::read(&mut Cursor::new(&cut)).unwrap().facts().is_malformed);
    }

    #[test]
    fn a_notification_is_told_in_words() {
        let bytes = message(NOTIFICATION, &[6, 2, 1, 2]);
        let read = Notification::read(&mut Cursor::new(&bytes)).unwrap();
        assert_eq!(read.words(), "cease, administrative shutdown");
        assert!(Notification::read(&mut Cursor::new(&message(NOTIFICATION, &[6]))).is_err());
        assert!(Notification::read(&mut Cursor::new(&message(OPEN, &[6, 2]))).is_err());
    }
}
