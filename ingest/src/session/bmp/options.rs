//! Options of a BMP session: limits, names of address spaces, what to do about known habits.

use std::fmt;
use std::sync::Arc;

use schemas::bgp::Asn;
use schemas::connection::PUBLIC_ROUTING_DOMAIN;

use crate::decode::bmp::MESSAGE_BYTES_MAX;

/// Longest name kept of what a router says of itself, in octets.
const NAME_BYTES_MAX: usize = 255;

/// How a session is to be kept.
#[derive(Clone, Debug)]
pub struct BmpOptions {
    /// Longest message accepted, header included.
    pub message_bytes_max: u32,
    /// Neighbours of the router kept at most; messages of one more are refused.
    pub peers_max: u32,
    /// Whether an Initiation behind others means that the router began a new session: in a file or
    /// a topic, where the end of a TCP session is not seen.
    pub restarts_on_initiation: bool,
    /// Whether the router's own AS number in front of the paths of its peers is taken away.
    pub strips_reporter: bool,
    /// The router's own AS number, where its OPENs are not seen.
    pub router_asn: Option<Asn>,
    /// Whose address space the prefixes of a peer are of.
    pub domains: RoutingDomains,
}

impl Default for BmpOptions {
    fn default() -> Self {
        Self {
            message_bytes_max: MESSAGE_BYTES_MAX,
            peers_max: 10_000,
            restarts_on_initiation: false,
            strips_reporter: true,
            router_asn: None,
            domains: RoutingDomains::default(),
        }
    }
}

/// A router's name and a route distinguisher in, the name of a routing domain out.
type DomainOf = dyn Fn(&str, u64) -> Option<Arc<str>> + Send + Sync;

/// Names the routing domain of a peer.
#[derive(Clone)]
pub struct RoutingDomains(Arc<DomainOf>);

impl RoutingDomains {
    /// Names by rules; where they have none, the global table is public and a VRF is named after
    /// its distinguisher, so that it never meets what is registered for the public Internet.
    #[must_use]
    pub fn by(rules: impl Fn(&str, u64) -> Option<Arc<str>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(rules))
    }

    /// The domain of a distinguisher at a router.
    #[must_use]
    pub fn of(&self, router: &str, distinguisher: u64) -> Arc<str> {
        match (self.0(router, distinguisher), distinguisher) {
            (Some(domain), _) => domain,
            (None, 0) => PUBLIC_ROUTING_DOMAIN.into(),
            (None, _) => format!("vrf:{}", distinguisher_words(distinguisher)).into(),
        }
    }
}

impl Default for RoutingDomains {
    fn default() -> Self {
        Self::by(|_, _| None)
    }
}

impl fmt::Debug for RoutingDomains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoutingDomains")
    }
}

/// A route distinguisher as routers write it (RFC 4364 §4.2); one of an unknown type in hex.
#[must_use]
pub(crate) fn distinguisher_words(distinguisher: u64) -> String {
    let [t0, t1, a, b, c, d, e, f] = distinguisher.to_be_bytes();
    let pair = |high, low| u16::from_be_bytes([high, low]);
    match pair(t0, t1) {
        0 => format!("{}:{}", pair(a, b), u32::from_be_bytes([c, d, e, f])),
        1 => format!("{a}.{b}.{c}.{d}:{}", pair(e, f)),
        2 => format!("{}:{}", u32::from_be_bytes([a, b, c, d]), pair(e, f)),
        _ => format!("{distinguisher:016x}"),
    }
}

/// Text from a router: valid UTF-8, without control characters, without blanks around it, bounded.
#[must_use]
pub fn sanitised(value: &[u8]) -> String {
    let value = value.get(..NAME_BYTES_MAX).unwrap_or(value);
    let text = String::from_utf8_lossy(value);
    let is_blank = |letter: char| letter.is_whitespace() || letter == '\0';
    let plain = |letter: char| if letter.is_control() { '?' } else { letter };
    let mut text: String = text.trim_matches(is_blank).chars().map(plain).collect();
    // What stands for broken bytes is longer than they were.
    text.truncate(text.floor_char_boundary(NAME_BYTES_MAX));
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_cleaned_is_clean() {
        let broken = [0xff; NAME_BYTES_MAX];
        for value in [b"edge \0".as_slice(), b"\0 edge\x07 \0 ", &broken, b"edge1"] {
            let once = sanitised(value);
            assert_eq!(sanitised(once.as_bytes()), once, "{value:?}");
            assert!(once.len() <= NAME_BYTES_MAX && once.trim() == once);
        }
    }

    #[test]
    fn a_vrf_without_a_rule_never_is_public() {
        let domains = RoutingDomains::by(|router, distinguisher| {
            (router == "r1" && distinguisher == 7).then(|| "contoso".into())
        });
        for (router, distinguisher, want) in [
            ("r1", 7, "contoso"),
            ("r2", 7, "vrf:0:7"),
            ("r1", 0, "public"),
            ("r1", 0x0000_fde8_0000_0064, "vrf:65000:100"),
            ("r1", 0x0001_c000_0201_0005, "vrf:192.0.2.1:5"),
            ("r1", 0x0002_0006_1a81_0005, "vrf:400001:5"),
            ("r1", 0xffff_0000_0000_0001, "vrf:ffff000000000001"),
        ] {
            assert_eq!(&*domains.of(router, distinguisher), want);
        }
    }

    #[test]
    fn a_name_is_bounded_and_holds_no_control_characters() {
        assert_eq!(sanitised(b" edge1\n\x1b[2J\0"), "edge1??[2J");
        assert_eq!(sanitised(&[0xff, b'a']), "\u{fffd}a");
        assert!(sanitised(&[b'x'; 70_000]).len() <= NAME_BYTES_MAX);
    }
}
