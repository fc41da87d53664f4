//! What bgpkit-parser makes of a record, in our words and our order: withdrawals first.

use bgpkit_parser::Elementor;
use bgpkit_parser::models::{
    AsPathSegment, BgpElem, Community as Plain, ElemType, ExtendedCommunity, MetaCommunity,
    Origin as TheirOrigin,
};
use bgpkit_parser::parser::mrt::mrt_record::parse_mrt_record;
use ingest::session::Action;
use schemas::bgp::{AsPath, AsSegment, Asn, Community, Origin, Prefix, SegmentKind};
use schemas::time::Timestamp;

use super::ours::{Element, Said};

/// Reads the records of one file in order.
#[derive(Default)]
pub struct Reader {
    elementor: Elementor,
}

impl Reader {
    /// The elements of a record; none if it refuses it.
    pub fn elements(&mut self, mut bytes: &[u8]) -> Vec<Element> {
        let Ok(record) = parse_mrt_record(&mut bytes) else { return vec![] };
        let header = &record.common_header;
        let micros = header.microsecond_timestamp.unwrap_or(0);
        // For routes of tables it tells the time of origination, we that of the record.
        let time = Timestamp::from_parts(header.timestamp.into(), micros);
        let all = self.elementor.record_to_elems(record);
        let (withdrawn, announced): (Vec<_>, Vec<_>) =
            all.iter().partition(|elem| elem.elem_type == ElemType::WITHDRAW);
        withdrawn.into_iter().chain(announced).map(|elem| element(time, elem)).collect()
    }
}

fn element(time: Timestamp, elem: &BgpElem) -> Element {
    let action = match elem.elem_type {
        ElemType::ANNOUNCE => Action::Announce,
        ElemType::WITHDRAW => Action::Withdraw,
    };
    let said = Said {
        origin: elem.origin.map(|origin| match origin {
            TheirOrigin::IGP => Origin::Igp,
            TheirOrigin::EGP => Origin::Egp,
            TheirOrigin::INCOMPLETE => Origin::Incomplete,
        }),
        path: elem.as_path.as_ref().map(path).unwrap_or_default(),
        next_hop: elem.next_hop,
        med: elem.med.unwrap_or(0),
        local_pref: elem.local_pref.unwrap_or(0),
        communities: elem.communities.iter().flatten().map(community).collect(),
        otc: elem.only_to_customer.map(|asn| Asn(asn.into())),
    };
    let network = elem.prefix.prefix;
    Element {
        time,
        peer: (elem.peer_ip, Asn(elem.peer_asn.into())),
        action,
        prefix: Prefix::of(network.addr(), network.prefix_len()),
        path_id: elem.prefix.path_id,
        said: (action == Action::Announce).then_some(said),
    }
}

/// Its own text does not tell confederations.
fn path(path: &bgpkit_parser::models::AsPath) -> String {
    let segment = |segment: &AsPathSegment| {
        let (kind, asns) = match segment {
            AsPathSegment::AsSequence(asns) => (SegmentKind::Sequence, asns),
            AsPathSegment::AsSet(asns) => (SegmentKind::Set, asns),
            AsPathSegment::ConfedSequence(asns) => (SegmentKind::ConfedSequence, asns),
            AsPathSegment::ConfedSet(asns) => (SegmentKind::ConfedSet, asns),
        };
        AsSegment { kind, asns: asns.iter().map(|asn| Asn(u32::from(*asn))).collect() }
    };
    AsPath { segments: path.iter_segments().map(segment).collect() }.to_string()
}

fn community(community: &MetaCommunity) -> Community {
    match community {
        MetaCommunity::Plain(plain) => Community::Standard(match plain {
            Plain::NoExport => 0xffff_ff01,
            Plain::NoAdvertise => 0xffff_ff02,
            Plain::NoExportSubConfed => 0xffff_ff03,
            Plain::Custom(asn, value) => u32::from(*asn) << 16 | u32::from(*value),
        }),
        MetaCommunity::Extended(extended) => Community::Extended(octets(extended)),
        MetaCommunity::Ipv6Extended(of) => {
            let mut octets = [u8::from(of.community_type), of.subtype].to_vec();
            octets.extend(of.global_admin.octets());
            octets.extend(of.local_admin);
            Community::ExtendedIpv6(octets.try_into().unwrap())
        }
        MetaCommunity::Large(large) => {
            Community::Large(large.global_admin, large.local_data[0], large.local_data[1])
        }
    }
}

fn octets(extended: &ExtendedCommunity) -> [u8; 8] {
    let kind = u8::from(extended.community_type());
    let parts = match extended {
        ExtendedCommunity::Raw(octets) => octets.to_vec(),
        ExtendedCommunity::TransitiveTwoOctetAs(of)
        | ExtendedCommunity::NonTransitiveTwoOctetAs(of)
        | ExtendedCommunity::FlowSpecRedirect(of) => {
            let [_, _, high, low] = u32::from(of.global_admin).to_be_bytes();
            [&[kind, of.subtype, high, low], &of.local_admin[..]].concat()
        }
        ExtendedCommunity::TransitiveFourOctetAs(of)
        | ExtendedCommunity::NonTransitiveFourOctetAs(of) => {
            let asn = u32::from(of.global_admin).to_be_bytes();
            [&[kind, of.subtype], &asn[..], &of.local_admin].concat()
        }
        ExtendedCommunity::TransitiveIpv4Addr(of)
        | ExtendedCommunity::NonTransitiveIpv4Addr(of) => {
            [&[kind, of.subtype], &of.global_admin.octets()[..], &of.local_admin].concat()
        }
        ExtendedCommunity::TransitiveOpaque(of) | ExtendedCommunity::NonTransitiveOpaque(of) => {
            [&[kind, of.subtype], &of.value[..]].concat()
        }
        ExtendedCommunity::LinkBandwidth(of) => {
            let (asn, rate) = (of.global_admin.to_be_bytes(), of.bandwidth.to_be_bytes());
            [&[kind, 4], &asn[..], &rate].concat()
        }
        other => panic!("no real file has {other:?}"),
    };
    parts.try_into().unwrap()
}
