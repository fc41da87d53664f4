//! BGP encoding without bounds: any number of routes in, as many whole UPDATEs as it takes out.
//!
//! A message ends at 65,535 octets (RFC 8654), or at the bound that is given; announcements of the
//! two families never share a message, because each has a next hop of its own (RFC 4760 §3). Path
//! identifiers (RFC 7911 §3) and two-octet AS numbers (RFC 6793 §4.2.2) are written if asked for.
//!
//! A two-octet path that needs `AS4_PATH` loses what that cannot hold: confederation segments behind
//! its front, and the large numbers in those at its front.

use schemas::bgp::{Family, PathAttributes, Prefix};

use super::bgp::{attribute, attributes_of_width, families, message, mp_next_hop, prefix};
use crate::decode::bgp::message::HEADER_BYTES;
use crate::decode::bgp::{AsnWidth, code};

/// A prefix, and its path identifier on a session with ADD-PATH.
pub type Path = (Prefix, Option<u32>);

/// What is said, and how.
#[derive(Clone, Copy, Debug)]
pub struct News<'a> {
    /// Prefixes withdrawn.
    pub withdrawn: &'a [Path],
    /// Prefixes announced.
    pub announced: &'a [Path],
    /// The attributes of what is announced.
    pub attributes: Option<&'a PathAttributes>,
    /// Octets of an AS number.
    pub width: AsnWidth,
    /// Whether all lists carry path identifiers; 0 where a prefix has none.
    pub has_path_ids: bool,
    /// Octets of a message at most: 4,096 by RFC 4271, 65,535 by RFC 8654.
    pub message_bytes_max: u16,
}

/// Why routes cannot be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The attributes and a single prefix are longer than a message.
    #[error("attributes of {bytes} bytes leave no room for a prefix in {max_bytes} bytes")]
    AttributesTooLong {
        /// What the attributes take.
        bytes: usize,
        /// What a message may have.
        max_bytes: usize,
    },
    /// Prefixes are announced without attributes.
    #[error("{prefixes} prefixes are announced without attributes")]
    NoAttributes {
        /// How many.
        prefixes: usize,
    },
}

/// The messages that say it, withdrawals first; none if there is nothing to say.
///
/// # Errors
/// [`EncodeError`]
pub fn messages(news: &News<'_>) -> Result<Vec<Vec<u8>>, EncodeError> {
    let mut all = vec![];
    for family in [Family::Ipv4, Family::Ipv6] {
        let prefixes = of(news.withdrawn, family);
        if family == Family::Ipv4 {
            news.split(&prefixes, 0, |nlri| all.push(message(nlri, &[], &[])))?;
        } else {
            // Families, flags, code and a length of two octets.
            news.split(&prefixes, 7, |nlri| {
                let value = [&families(family)[..], nlri].concat();
                let mut block = vec![];
                attribute(&mut block, code::OPTIONAL, code::MP_UNREACH_NLRI, &value);
                all.push(message(&[], &block, &[]));
            })?;
        }
    }
    let Some(attributes) = news.attributes else {
        return match news.announced.len() {
            0 => Ok(all),
            prefixes => Err(EncodeError::NoAttributes { prefixes }),
        };
    };
    for family in [Family::Ipv4, Family::Ipv6] {
        let prefixes = of(news.announced, family);
        let hop = attributes.next_hop;
        let classic = hop.filter(|hop| family == Family::Ipv4 && hop.is_ipv4());
        let mut block = vec![];
        attributes_of_width(&mut block, attributes, classic, news.width);
        if classic.is_some() || (family == Family::Ipv4 && hop.is_none()) {
            news.split(&prefixes, block.len(), |nlri| all.push(message(&[], &block, nlri)))?;
        } else {
            let mut fixed = families(family);
            mp_next_hop(&mut fixed, hop);
            fixed.push(0);
            // Flags, code and a length of two octets.
            news.split(&prefixes, block.len() + fixed.len() + 4, |nlri| {
                let mut block = block.clone();
                let value = [&fixed[..], nlri].concat();
                attribute(&mut block, code::OPTIONAL, code::MP_REACH_NLRI, &value);
                all.push(message(&[], &block, &[]));
            })?;
        }
    }
    Ok(all)
}

fn of(paths: &[Path], family: Family) -> Vec<Path> {
    paths.iter().copied().filter(|(prefix, _)| prefix.family() == family).collect()
}

impl News<'_> {
    /// Hands over the prefixes in runs that fit a message beside `taken_bytes` of others.
    fn split(
        &self,
        paths: &[Path],
        taken_bytes: usize,
        mut f: impl FnMut(&[u8]),
    ) -> Result<(), EncodeError> {
        let max_bytes = usize::from(self.message_bytes_max);
        let room = max_bytes.saturating_sub(HEADER_BYTES + 4 + taken_bytes);
        let mut run = vec![];
        for (one, path_id) in paths {
            let before = run.len();
            if self.has_path_ids {
                run.extend(path_id.unwrap_or(0).to_be_bytes());
            }
            prefix(&mut run, *one);
            if run.len() > room {
                let next = run.split_off(before);
                if before == 0 || next.len() > room {
                    let bytes = taken_bytes;
                    return Err(EncodeError::AttributesTooLong { bytes, max_bytes });
                }
                f(&run);
                run = next;
            }
        }
        if !run.is_empty() {
            f(&run);
        }
        Ok(())
    }
}
