//! The words of BGP: prefixes, AS numbers, paths, communities, attributes, peers (RFC 4271).

mod address_table;
mod as_path;
mod asn;
mod attributes;
mod community;
mod peer;
mod prefix;
mod prefix_filter;
mod prefix_map;

pub use address_table::AddressTable;
pub use as_path::{AsPath, AsSegment, SegmentKind};
pub use asn::Asn;
pub use attributes::{Disposition, Origin, PathAttributes};
pub use community::Community;
pub use peer::{PeerHeader, RibView};
pub use prefix::{Family, Prefix, PrefixError, mapped};
pub use prefix_map::PrefixMap;
