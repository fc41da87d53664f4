//! Geography over MaxMind's free test databases.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use database::DatabaseError;
use proptest::prelude::*;

fn fixture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/mmdb");
    std::fs::read(folder.join(name)).unwrap()
}

fn city() -> Database {
    Database::read(fixture("GeoLite2-City-Test.mmdb")).unwrap()
}

fn place(prefix: &str) -> Place {
    city().place(&prefix.parse().unwrap()).unwrap()
}

const EDGES: &str = "edge_id,metro,latitude,longitude,communities,next_hops\n\
    sto01,Stockholm,59.33,18.07,64500:101,\nsea01,Seattle,47.6,-122.3,64500:102,\n";

fn registry(connections: &str) -> Registry {
    Registry::new(1, serde_json::from_str(connections).unwrap(), Vec::new()).unwrap()
}

#[test]
fn each_database_is_known_by_its_metadata() {
    for (name, kind) in [
        ("GeoLite2-City-Test.mmdb", Kind::City),
        ("GeoLite2-Country-Test.mmdb", Kind::Country),
        ("GeoLite2-ASN-Test.mmdb", Kind::Asn),
    ] {
        let database = Database::read(fixture(name)).unwrap();
        assert!(database.kind == kind && database.built_at().is_some(), "{name}");
        database.verify().unwrap();
    }
}

#[test]
fn a_prefix_has_the_place_of_its_network() {
    let sweden = place("89.160.20.128/25");
    assert_eq!(sweden.country.as_deref(), Some("SE"));
    assert_eq!(sweden.subdivision.as_deref(), Some("SE-E"));
    assert_eq!(sweden.at, Some((Point::new(58.4167, 15.6167).unwrap(), 76.0)));
    assert_eq!(place("89.160.20.130/32"), sweden, "a part of a network is where the network is");
    assert_eq!(place("89.160.20.0/24").country.as_deref(), Some("SE"), "of several networks, most");
    assert_eq!(place("216.160.83.56/29").subdivision.as_deref(), Some("US-WA"));
    assert_eq!(place("192.0.2.0/24"), Place::default(), "unknown");
    assert_eq!(place("2001:db8::/32"), Place::default(), "unknown");
    assert!(place("2001:218::/32").country.is_some(), "IPv6");
}

#[test]
fn a_prefix_that_is_everywhere_is_nowhere() {
    assert_eq!(place("0.0.0.0/0"), Place::default());
    assert_eq!(place("::/0"), Place::default());
    assert_eq!(place("89.160.0.0/16"), Place::default(), "one half is not known");
}

#[test]
fn what_is_no_database_is_refused_with_a_remedy() {
    let refused = |bytes: Vec<u8>| Database::read(bytes).unwrap_err();
    assert!(matches!(refused(Vec::new()), DatabaseError::NotMmdb { bytes: 0 }));
    assert!(matches!(refused(b"asn,organisation\n".to_vec()), DatabaseError::NotMmdb { .. }));
    assert!(matches!(refused(vec![0x1f, 0x8b, 8, 0]), DatabaseError::Compressed));
    let whole = fixture("GeoLite2-City-Test.mmdb");
    for bytes in [1, whole.len() / 2, whole.len() - 400] {
        let told = refused(whole[..bytes].to_vec()).to_string();
        assert!(told.contains("its end is cut off") || told.contains("damaged"), "{bytes}: {told}");
    }
    let told = refused(fixture("GeoIP2-Domain-Test.mmdb")).to_string();
    assert!(told.starts_with("an MMDB of type \"GeoIP2-Domain\""), "{told}");
}

/// MaxMind's own collection of broken files: each is refused or gives errors, none takes us down.
#[test]
fn hostile_databases_are_refused_or_give_errors() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/mmdb/bad");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        files += 1;
        let Ok(database) = Database::read(std::fs::read(&path).unwrap()) else { continue };
        assert!(database.verify().is_err(), "{} is taken for sound", path.display());
        for prefix in ["0.0.0.0/0", "1.1.1.0/24", "::/0", "2001:db8::/32"] {
            let _ = database.place(&prefix.parse().unwrap());
        }
    }
    assert!(files >= 20, "{files} files");
}

#[test]
fn facts_come_from_the_registered_place_else_from_the_database_less_its_radius() {
    let registry = registry(
        r#"[
            {"name": "known", "prefixes": ["216.160.83.56/29", "1.128.0.0/24"],
             "location": {"latitude": 47.6, "longitude": -122.3}},
            {"name": "guessed", "prefixes": ["89.160.20.128/25"]},
            {"name": "inside", "routing_domain": "lab", "prefixes": ["89.160.20.128/25"]}
        ]"#,
    );
    let mut geo = Geo::default();
    assert!(
        geo.is_empty()
            && geo.enrich(&registry).of(0, "216.160.83.56/29".parse().unwrap()).is_none()
    );
    for name in ["GeoLite2-ASN-Test.mmdb", "GeoLite2-Country-Test.mmdb", "GeoLite2-City-Test.mmdb"]
    {
        geo.add(Arc::new(Database::read(fixture(name)).unwrap()));
    }
    geo.edges = Edges::read(EDGES.as_bytes()).unwrap().into();
    let table = geo.enrich(&registry);
    assert_eq!(table.damaged, None);
    let of = |name: &str, prefix: &str| {
        let facts = table.of(registry.id_of(name).unwrap(), prefix.parse().unwrap()).unwrap();
        (facts.country.as_deref(), facts.asn, facts.edge_nearest.as_deref(), facts.edge_distance_km)
    };
    assert_eq!(
        of("known", "216.160.83.56/29"),
        (Some("US"), Some(Asn(209)), Some("sea01"), Some(0))
    );
    assert_eq!(of("known", "1.128.0.0/24").1, Some(Asn(1221)));
    // Linköping to Stockholm is 173 km, less 76 km of accuracy.
    let (country, asn, edge, km) = of("guessed", "89.160.20.128/25");
    assert_eq!((country, asn, edge), (Some("SE"), Some(Asn(29_518)), Some("sto01")));
    assert!((90..=105).contains(&km.unwrap()), "{km:?}");
    assert_eq!(of("inside", "89.160.20.128/25"), (None, None, None, None), "private space");
    let guessed = registry.id_of("guessed").unwrap();
    let facts = table.of(guessed, "89.160.20.128/25".parse().unwrap()).unwrap();
    assert_eq!(facts.mismatch(Some(500)), Some(true), "half a millisecond for 97 km");
    assert_eq!(facts.mismatch(Some(1_500)), Some(false));
    assert_eq!(facts.mismatch(None), None, "no answer");
    assert_eq!(GeoFacts::default().mismatch(Some(1)), None, "no distance");
    assert_eq!(table.of(guessed, "192.0.2.0/24".parse().unwrap()), None, "not registered");
}

#[test]
fn edges_alone_give_distances() {
    let registry = registry(
        r#"[{"name": "a", "prefixes": ["192.0.2.0/24"],
             "location": {"latitude": 51.5, "longitude": -0.1}}]"#,
    );
    let geo = Geo { edges: Edges::read(EDGES.as_bytes()).unwrap().into(), ..Geo::default() };
    let facts = geo.enrich(&registry).of(0, "192.0.2.0/24".parse().unwrap()).cloned().unwrap();
    assert_eq!((facts.edge_nearest.as_deref(), facts.country), (Some("sto01"), None));
    let km = facts.edge_distance_km.unwrap();
    assert!((1420..1450).contains(&km), "{km}");
    assert!(facts.rtt_floor_us.unwrap().abs_diff(km * 10) <= 5);
}

#[test]
fn a_damaged_record_is_counted_and_its_prefix_has_no_place() {
    // The coordinates of this file are too short for doubles.
    let registry = registry(r#"[{"name": "a", "prefixes": ["2.125.160.216/29"]}]"#);
    let mut geo = Geo::default();
    let broken = fixture("bad/GeoIP2-City-Test-Broken-Double-Format.mmdb");
    geo.add(Arc::new(Database::read(broken).unwrap()));
    let table = geo.enrich(&registry);
    let (count, reason) = table.damaged.clone().unwrap();
    assert!(count == 1 && reason.starts_with("damaged, download it again"), "{count} {reason}");
    assert_eq!(table.of(0, "2.125.160.216/29".parse().unwrap()), Some(&GeoFacts::default()));
}

proptest! {
    #[test]
    fn no_flipped_bytes_take_us_down(
        flips in prop::collection::vec((0..20_000_usize, any::<u8>()), 1..12),
        address: [u8; 4],
    ) {
        let mut bytes = fixture("GeoLite2-City-Test.mmdb");
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        if let Ok(database) = Database::read(bytes) {
            let _ = database.place(&Prefix::v4(address, 16));
            let _ = database.place(&"89.160.20.0/24".parse().unwrap());
            let _ = database.verify();
        }
    }
}
