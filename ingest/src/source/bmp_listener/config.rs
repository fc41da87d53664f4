//! `[source.NAME]` with `kind = "bmp_listener"`: the keys, and which routing domain a VRF is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use schemas::bgp::Prefix;
use serde::Deserialize;

use crate::source::tls::TlsFiles;

/// `kind = "bmp_listener"`: routers dial in here and tell their BGP tables (RFC 7854).
///
/// BMP itself proves nobody's identity. So the listener is on loopback and takes loopback only,
/// until both are set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BmpListener {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Networks whose routers are heard.
    pub allow: Vec<Prefix>,
    /// Routers served at once; one more is refused and counted.
    pub sessions_max: u16,
    /// Longest message accepted, header included.
    pub message_bytes_max: u32,
    /// A message that is not whole after this time of waiting ends its session.
    pub message_timeout_secs: u32,
    /// A session silent for this long is closed.
    pub idle_timeout_secs: u32,
    /// Bytes a second read of one session on average; above it the router is held back. Absent: no
    /// limit.
    pub bytes_per_sec_max: Option<u32>,
    /// Peers that must sign their segments (TCP MD5, RFC 2385), Linux only.
    pub md5: Vec<Md5Peer>,
    /// Certificate, key and roots of the routers' certificates: sessions are TLS then.
    pub tls: Option<TlsFiles>,
    /// Collector that rows name; absent: the name of the source.
    pub collector: Option<String>,
    /// Address spaces of the routers' VRFs; a VRF without a rule is of the public one.
    pub vrfs: Vec<VrfRule>,
}

impl Default for BmpListener {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 11019)),
            allow: vec![
                Prefix::v4([127, 0, 0, 0], 8),
                Prefix::v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 128),
            ],
            sessions_max: 64,
            message_bytes_max: 1024 * 1024,
            message_timeout_secs: 30,
            idle_timeout_secs: 3600,
            bytes_per_sec_max: None,
            md5: Vec::new(),
            tls: None,
            collector: None,
            vrfs: Vec::new(),
        }
    }
}

impl BmpListener {
    /// What is wrong with the values, if anything.
    ///
    /// # Errors
    /// The problem in words.
    pub fn check(&self) -> Result<(), String> {
        let zero = |key: &str| Err(format!("{key} is 0; leave it out for the default"));
        if self.allow.is_empty() {
            Err("allow is empty: nobody would be heard".to_owned())
        } else if self.sessions_max == 0 {
            zero("sessions_max")
        } else if self.message_bytes_max < 4096 {
            Err("message_bytes_max is below 4096, the longest BGP message".to_owned())
        } else if self.message_timeout_secs == 0 {
            zero("message_timeout_secs")
        } else if self.idle_timeout_secs == 0 {
            zero("idle_timeout_secs")
        } else if self.bytes_per_sec_max == Some(0) {
            Err("bytes_per_sec_max is 0; leave it out for no limit".to_owned())
        } else {
            self.check_md5()
        }
    }

    fn check_md5(&self) -> Result<(), String> {
        let mismatch = |peer: &&Md5Peer| self.listen.is_ipv4() && peer.peer.is_ipv6();
        if !self.md5.is_empty() && !cfg!(target_os = "linux") {
            Err("md5 needs Linux; use tls".to_owned())
        } else if let Some(Md5Peer { peer, .. }) = self.md5.iter().find(mismatch) {
            Err(format!("md5: {peer} cannot reach {}, which is of IPv4", self.listen))
        } else {
            Ok(())
        }
    }

    /// The key files and certificates that are named, for the caller to make paths absolute.
    pub fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let keys = self.md5.iter_mut().map(|peer| &mut peer.password_file);
        let tls = self.tls.iter_mut().flat_map(|tls| {
            [Some(&mut tls.certificate), Some(&mut tls.key), tls.client_ca.as_mut()]
        });
        keys.chain(tls.flatten()).collect()
    }
}

/// One of `md5`: a peer and its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Md5Peer {
    /// The router's address.
    pub peer: IpAddr,
    /// File that holds the key, 80 bytes at most; a line end at its end does not count.
    pub password_file: PathBuf,
}

/// One of `vrfs`: the prefixes of a VRF are of this routing domain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct VrfRule {
    /// The router, by its sysName or its address; absent: every router.
    pub router: Option<String>,
    /// Route distinguisher of the VRF.
    pub distinguisher: Distinguisher,
    /// Routing domain of the connections that are meant.
    pub routing_domain: String,
}

impl VrfRule {
    /// Whether the rule speaks of this VRF on a router that goes by these names.
    #[must_use]
    pub fn applies(&self, names: &[&str], distinguisher: u64) -> bool {
        self.distinguisher.0 == distinguisher
            && self.router.as_ref().is_none_or(|router| names.contains(&router.as_str()))
    }
}

/// A route distinguisher (RFC 4364 §4.2): its eight bytes as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Distinguisher(pub u64);

/// Why a text is no route distinguisher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a route distinguisher such as 64500:1 or 192.0.2.1:1")]
pub struct DistinguisherError {
    text: String,
}

impl FromStr for Distinguisher {
    type Err = DistinguisherError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once(':').and_then(|(administrator, assigned)| {
            let assigned: u32 = assigned.parse().ok()?;
            let wide = |kind: u64, administrator: u32| {
                let assigned = u64::from(u16::try_from(assigned).ok()?);
                Some(kind << 48 | u64::from(administrator) << 16 | assigned)
            };
            if let Ok(address) = administrator.parse::<Ipv4Addr>() {
                return wide(1, address.to_bits());
            }
            let asn: u32 = administrator.parse().ok()?;
            match u16::try_from(asn) {
                Ok(asn) => Some(u64::from(asn) << 32 | u64::from(assigned)),
                Err(_) => wide(2, asn),
            }
        });
        parsed.map(Self).ok_or_else(|| DistinguisherError { text: text.to_owned() })
    }
}

impl TryFrom<String> for Distinguisher {
    type Error = DistinguisherError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Distinguisher> for String {
    fn from(distinguisher: Distinguisher) -> Self {
        distinguisher.to_string()
    }
}

impl fmt::Display for Distinguisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i] = self.0.to_be_bytes();
        let (kind, two) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([h, i]));
        match kind {
            0 => write!(f, "{}:{}", u16::from_be_bytes([c, d]), u32::from_be_bytes([e, g, h, i])),
            1 => write!(f, "{}:{two}", Ipv4Addr::new(c, d, e, g)),
            2 => write!(f, "{}:{two}", u32::from_be_bytes([c, d, e, g])),
            _ => write!(f, "{:#018x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distinguisher_is_eight_bytes_of_one_of_three_types() {
        let told = [
            ("64500:1", 0x0000_fbf4_0000_0001),
            ("192.0.2.1:7", 0x0001_c000_0201_0007),
            ("4200000001:65535", 0x0002_fa56_ea01_ffff),
            ("0:4294967295", 0x0000_0000_ffff_ffff),
        ];
        for (text, bytes) in told {
            let distinguisher: Distinguisher = text.parse().unwrap();
            assert_eq!((distinguisher.0, distinguisher.to_string().as_str()), (bytes, text));
        }
        for text in ["64500", "a:1", "192.0.2.1:65536", "4200000001:65536", "1:4294967296", ""] {
            assert!(text.parse::<Distinguisher>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_vrf_rule_may_name_its_router() {
        let mut rule = VrfRule {
            router: Some("edge1".to_owned()),
            distinguisher: Distinguisher(7),
            routing_domain: "contoso".to_owned(),
        };
        assert!(rule.applies(&["192.0.2.1", "edge1"], 7));
        assert!(!rule.applies(&["edge2"], 7) && !rule.applies(&["edge1"], 8));
        rule.router = None;
        assert!(rule.applies(&[], 7));
    }

    #[test]
    fn the_defaults_are_closed_and_accepted() {
        let config = BmpListener::default();
        assert_eq!(config.check(), Ok(()));
        assert!(config.listen.ip().is_loopback());
        assert!(config.allow.iter().all(|net| net.address().is_loopback()));
    }
}
