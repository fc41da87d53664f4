//! RIS Live: one JSON text in, what it says of a peer out
//! (ris-live.ripe.net/manual, "Server messages").
//!
//! A text is an envelope (`{"type":"ris_message","data":{...}}`) or its bare data. Of an UPDATE with
//! `raw` the BGP message is decoded, as any other; without it the JSON is put together to one, so
//! that both go through the same decoder. What the collectors really send differs from the manual:
//! state changes have the type `STATE`, a second next hop stands behind a comma or in an
//! announcement of its own, and an `OPEN` may lack everything.
//!
//! Not in the JSON, and so not told without `raw`: path identifiers, large and extended communities,
//! `LOCAL_PREF`, unknown attributes.

use std::borrow::Cow;
use std::net::IpAddr;

use schemas::bgp::{
    AsPath, AsSegment, Asn, Community, Origin, PathAttributes, Prefix, PrefixError, SegmentKind,
};
use schemas::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::cursor::DecodeError;

/// Longest text accepted. One UPDATE of 65,535 octets is about 400 KiB as JSON with `raw`.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Letters kept of what a server or a parser says.
const WORDS_MAX: usize = 256;

/// Why a text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RisError {
    /// Longer than the bound.
    #[error("a text of {bytes} bytes exceeds {TEXT_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// No JSON of this form.
    #[error("no RIS Live message: {words} at column {column}")]
    Json {
        /// What the parser said.
        words: String,
        /// Where.
        column: usize,
    },
    /// A field that does not hold what it should.
    #[error("{field} cannot be {value:?}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it holds, the first octets of it.
        value: String,
    },
    /// The BGP message in it does not hold together.
    #[error(transparent)]
    Message(#[from] DecodeError),
}

impl RisError {
    /// The `reason` label of `peerscope_ingest_decode_errors_total`: a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "text_too_long",
            Self::Json { .. } => "bad_json",
            Self::Field { .. } => "bad_field",
            Self::Message(error) => error.reason(),
        }
    }

    pub(crate) fn field(field: &'static str, value: &str) -> Self {
        Self::Field { field, value: value.chars().take(64).collect() }
    }
}

/// One text of the server.
#[derive(Clone, Debug)]
pub enum RisText<'a> {
    /// A collector tells of a peer.
    Message(Box<RisMessage<'a>>),
    /// The server refuses something, in its words.
    Error(String),
    /// `ris_subscribe_ok`, `ris_rrc_list`, `pong`: nothing of routes.
    Other,
}

/// What a collector tells of a peer.
#[derive(Clone, Debug, Deserialize)]
pub struct RisMessage<'a> {
    /// Seconds since 1970, with a fraction.
    timestamp: f64,
    #[serde(borrow)]
    peer: Cow<'a, str>,
    /// A number, or a text of one.
    #[serde(borrow)]
    peer_asn: &'a RawValue,
    #[serde(borrow)]
    host: Cow<'a, str>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    raw: Option<Cow<'a, str>>,
    /// Read when asked: most messages are of nobody's prefix.
    #[serde(borrow, default)]
    path: Option<&'a RawValue>,
    #[serde(borrow, default)]
    community: Option<&'a RawValue>,
    #[serde(borrow, default)]
    origin: Option<Cow<'a, str>>,
    #[serde(default)]
    med: Option<u32>,
    #[serde(borrow, default)]
    aggregator: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    announcements: Option<Vec<Announcement<'a>>>,
    #[serde(borrow, default)]
    withdrawals: Option<Vec<Part<'a>>>,
    #[serde(borrow, default)]
    state: Option<Cow<'a, str>>,
    #[serde(default)]
    notification: Option<serde::de::IgnoredAny>,
}

/// A text that lies where it was read, unless it has escapes.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
struct Part<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum PathPart {
    Asn(u32),
    Set(Vec<u32>),
}

#[derive(Clone, Debug, Deserialize)]
struct Announcement<'a> {
    #[serde(borrow)]
    next_hop: Cow<'a, str>,
    #[serde(borrow)]
    prefixes: Vec<Part<'a>>,
}

/// A text with a message in it: most of them.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    data: RisMessage<'a>,
}

/// What a text is, whatever it holds.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ServerError<'a> {
    #[serde(borrow)]
    data: ServerErrorData<'a>,
}

#[derive(Deserialize)]
struct ServerErrorData<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

/// What kind of thing a message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RisKind {
    /// UPDATE.
    Update,
    /// A change of the peer's session.
    State,
    /// OPEN.
    Open,
    /// KEEPALIVE, and messages without a type.
    Keepalive,
    /// NOTIFICATION.
    Notification,
    /// Any other.
    Other,
}

/// The routes of an UPDATE of JSON: what is withdrawn, and each next hop with its prefixes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JsonRoutes {
    /// Prefixes withdrawn.
    pub withdrawn: Vec<Prefix>,
    /// Next hops and what is announced with them.
    pub announced: Vec<(IpAddr, Vec<Prefix>)>,
}

impl JsonRoutes {
    /// All prefixes.
    pub fn prefixes(&self) -> impl Iterator<Item = &Prefix> {
        self.withdrawn.iter().chain(self.announced.iter().flat_map(|(_, prefixes)| prefixes))
    }
}

impl<'a> RisText<'a> {
    /// Reads one text.
    ///
    /// # Errors
    /// [`RisError`] if it is none of the server's.
    pub fn read(text: &'a [u8]) -> Result<Self, RisError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(RisError::TooLong { bytes: text.len() });
        }
        let text = std::str::from_utf8(text).map_err(|error| RisError::Json {
            words: "no UTF-8".to_owned(),
            column: error.valid_up_to() + 1,
        })?;
        let refused = match serde_json::from_str::<Envelope<'a>>(text) {
            Ok(Envelope { kind, data }) if kind == "ris_message" => {
                return Ok(Self::Message(Box::new(data)));
            }
            Ok(_) => return Ok(Self::Other),
            Err(error) => error,
        };
        let head = serde_json::from_str::<Head<'a>>(text).map_err(|error| malformed(&error))?;
        match head.kind.as_deref() {
            Some("ris_message") => Err(malformed(&refused)),
            Some("ris_error") => {
                let told = serde_json::from_str::<ServerError<'_>>(text);
                let words = told.map_or(Cow::Borrowed("without words"), |told| told.data.message);
                let plain = words.chars().filter(|letter| !letter.is_control());
                Ok(Self::Error(plain.take(WORDS_MAX).collect()))
            }
            Some(kind) if kind.starts_with("ris_") || kind == "pong" => Ok(Self::Other),
            _ => match serde_json::from_str(text) {
                Ok(message) => Ok(Self::Message(Box::new(message))),
                Err(error) => Err(malformed(&error)),
            },
        }
    }
}

fn malformed(error: &serde_json::Error) -> RisError {
    let words = error.to_string();
    let words = words.split(" at line").next().unwrap_or_default();
    RisError::Json { words: words.chars().take(WORDS_MAX).collect(), column: error.column() }
}

impl RisMessage<'_> {
    /// When the collector received it.
    ///
    /// # Errors
    /// [`RisError::Field`] if the number is no time.
    pub fn time(&self) -> Result<Timestamp, RisError> {
        let micros = (self.timestamp * 1e6).round();
        // Within 1970 to 2106 a double holds microseconds exactly.
        if (0.0..=4_294_967_295e6).contains(&micros) {
            Ok(Timestamp(micros as i64))
        } else {
            Err(RisError::field("timestamp", &self.timestamp.to_string()))
        }
    }

    /// The peer's address.
    ///
    /// # Errors
    /// [`RisError::Field`] if it is none.
    pub fn peer(&self) -> Result<IpAddr, RisError> {
        self.peer.parse().map_err(|_| RisError::field("peer", &self.peer))
    }

    /// The peer's AS number.
    ///
    /// # Errors
    /// [`RisError::Field`] if it is none.
    pub fn peer_asn(&self) -> Result<Asn, RisError> {
        let text = self.peer_asn.get();
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        text.parse().map(Asn).map_err(|_| RisError::field("peer_asn", text))
    }

    /// The collector, without the domain of its host: `rrc21`.
    #[must_use]
    pub fn collector(&self) -> &str {
        let name = self.host.split('.').next().unwrap_or_default();
        if name.is_empty() { "ris" } else { name }
    }

    /// What it tells.
    #[must_use]
    pub fn kind(&self) -> RisKind {
        match self.kind.as_deref() {
            Some("UPDATE") => RisKind::Update,
            Some("STATE" | "RIS_PEER_STATE") => RisKind::State,
            Some("OPEN") => RisKind::Open,
            Some("KEEPALIVE") | None => RisKind::Keepalive,
            Some("NOTIFICATION") => RisKind::Notification,
            Some(_) => RisKind::Other,
        }
    }

    /// The state of a state change: `connected`, `down`.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Whether a NOTIFICATION says something.
    #[must_use]
    pub const fn has_notification(&self) -> bool {
        self.notification.is_some()
    }

    /// The BGP message as it was sent, if it was asked for.
    ///
    /// # Errors
    /// [`RisError::Field`] if it is no hexadecimal text.
    pub fn raw(&self) -> Result<Option<Vec<u8>>, RisError> {
        let Some(text) = self.raw.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let digit = |octet: &u8| char::from(*octet).to_digit(16);
        let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        });
        let bytes: Option<Vec<u8>> = pairs.collect();
        bytes.map(Some).ok_or_else(|| RisError::field("raw", text))
    }

    /// The routes of an UPDATE as its JSON has them.
    ///
    /// # Errors
    /// [`RisError::Field`]: the first prefix or next hop that is none.
    pub fn routes(&self) -> Result<JsonRoutes, RisError> {
        let prefixes = |texts: &[Part<'_>]| -> Result<Vec<Prefix>, RisError> {
            texts.iter().map(|Part(text)| prefix(text)).collect()
        };
        let withdrawn = prefixes(self.withdrawals.as_deref().unwrap_or_default())?;
        let mut announced: Vec<(IpAddr, Vec<Prefix>)> = Vec::new();
        for announcement in self.announcements.as_deref().unwrap_or_default() {
            announced.push((next_hop(&announcement.next_hop)?, prefixes(&announcement.prefixes)?));
        }
        Ok(JsonRoutes { withdrawn, announced: merged(announced) })
    }

    /// What an UPDATE says of what it announces, without a next hop.
    ///
    /// # Errors
    /// [`RisError`]: the first field that does not hold what it should.
    pub fn attributes(&self) -> Result<PathAttributes, RisError> {
        let origin = match self.origin.as_deref() {
            // No UPDATE is without one: the JSON has left it out.
            None => Some(Origin::Incomplete),
            Some(text) if text.eq_ignore_ascii_case("igp") => Some(Origin::Igp),
            Some(text) if text.eq_ignore_ascii_case("egp") => Some(Origin::Egp),
            Some(text) if text.eq_ignore_ascii_case("incomplete") => Some(Origin::Incomplete),
            Some(other) => return Err(RisError::field("origin", other)),
        };
        let aggregator = self.aggregator.as_deref().map(aggregator).transpose()?;
        let standard = |(high, low): &(u32, u32)| -> Result<Community, RisError> {
            match (u16::try_from(*high), u16::try_from(*low)) {
                (Ok(high), Ok(low)) => {
                    Ok(Community::Standard(u32::from(high) << 16 | u32::from(low)))
                }
                _ => Err(RisError::field("community", &format!("{high}:{low}"))),
            }
        };
        let communities: Vec<(u32, u32)> = read_later(self.community)?;
        Ok(PathAttributes {
            origin,
            as_path: self.as_path()?,
            med: self.med,
            aggregator,
            communities: communities.iter().map(standard).collect::<Result<_, _>>()?,
            ..PathAttributes::default()
        })
    }

    fn as_path(&self) -> Result<AsPath, RisError> {
        let mut path = AsPath::default();
        let parts: Vec<PathPart> = read_later(self.path)?;
        for part in parts {
            match part {
                PathPart::Asn(number) => match path.segments.last_mut() {
                    Some(last) if last.kind == SegmentKind::Sequence => last.asns.push(Asn(number)),
                    _ => path
                        .segments
                        .push(AsSegment { kind: SegmentKind::Sequence, asns: vec![Asn(number)] }),
                },
                PathPart::Set(numbers) if numbers.is_empty() => {}
                PathPart::Set(numbers) => path.segments.push(AsSegment {
                    kind: SegmentKind::Set,
                    asns: numbers.into_iter().map(Asn).collect(),
                }),
            }
        }
        Ok(path)
    }
}

/// A list that was passed over at first; none is empty.
fn read_later<'a, T: Deserialize<'a>>(list: Option<&'a RawValue>) -> Result<Vec<T>, RisError> {
    let list = list.map(|list| serde_json::from_str(list.get())).transpose();
    list.map(Option::unwrap_or_default).map_err(|error| malformed(&error))
}

fn prefix(text: &str) -> Result<Prefix, RisError> {
    match text.parse() {
        Ok(prefix) => Ok(prefix),
        Err(PrefixError::HostBits { canonical, .. }) => Ok(canonical),
        Err(_) => Err(RisError::field("prefix", text)),
    }
}

/// `64500:192.0.2.1`.
fn aggregator(text: &str) -> Result<(Asn, IpAddr), RisError> {
    let parts = text.split_once([':', ' ']);
    let read = parts
        .and_then(|(asn, address)| Some((Asn(asn.parse().ok()?), address.trim().parse().ok()?)));
    read.ok_or_else(|| RisError::field("aggregator", text))
}

/// The global one of two next hops (RFC 2545 §3), in either order; the only one otherwise.
fn next_hop(text: &str) -> Result<IpAddr, RisError> {
    let mut best = None;
    for part in text.split(',') {
        let address = part.trim().parse().map_err(|_| RisError::field("next_hop", text))?;
        if best.is_none_or(is_link_local) {
            best = Some(address);
        }
    }
    best.ok_or_else(|| RisError::field("next_hop", text))
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Announcements without those that only repeat prefixes with the link-local next hop.
fn merged(announced: Vec<(IpAddr, Vec<Prefix>)>) -> Vec<(IpAddr, Vec<Prefix>)> {
    let (local, mut kept): (Vec<_>, Vec<_>) =
        announced.into_iter().partition(|(next_hop, _)| is_link_local(*next_hop));
    for (next_hop, mut prefixes) in local {
        let global: std::collections::BTreeSet<Prefix> =
            kept.iter().flat_map(|(_, prefixes)| prefixes.iter().copied()).collect();
        prefixes.retain(|prefix| !global.contains(prefix));
        kept.push((next_hop, prefixes));
    }
    kept.retain(|(_, prefixes)| !prefixes.is_empty());
    kept
}
