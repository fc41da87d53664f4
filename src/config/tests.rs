//! Configuration errors name their place and a remedy.

use super::*;

fn refuse(text: &str) -> String {
    Config::parse(text, Path::new("c.toml")).unwrap_err().to_string()
}

const ONE: &str = "[[connection]]\nname = \"a\"\nprefixes = [\"192.0.2.0/24\"]\n";

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
    let told = refuse("[[connection]]\nname = \"a\"\norigin_asn = [64510]\n");
    assert_eq!(told, "c.toml:3:1: unknown key `origin_asn`, did you mean `origin_asns`?");
    let told = refuse("[lake]\nzzz = 1\n");
    assert!(
        told.starts_with("c.toml:2:1: unknown key `zzz`, known here: url, commit_secs"),
        "{told}"
    );
}

#[test]
fn a_malformed_prefix_is_named_with_its_place() {
    let told =
        refuse("[[connection]]\nname = \"a\"\nprefixes = [\"192.0.2.0/24\", \"192.0.2.7/24\"]\n");
    assert!(told.starts_with("c.toml:3:"), "{told}");
    assert!(told.contains("did you mean 192.0.2.0/24?"), "{told}");
}

#[test]
fn a_prefix_owned_twice_names_both_places() {
    let told = refuse(&format!("{ONE}{}", ONE.replace("\"a\"", "\"b\"")));
    assert!(told.starts_with("c.toml:6:13: 192.0.2.0/24 is registered by"), "{told}");
    assert!(told.ends_with("(first at c.toml:3:13)"), "{told}");
}

#[test]
fn what_the_contract_shows_is_understood() {
    let text = r#"
[lake]
url = "./lake"
[[connection]]
name = "contoso-seattle"
tenant = "contoso"
kind = "peering_service"
partner = { name = "Example Transit", asn = 64500 }
location = { country = "US", region = "US-WA", latitude = 47.6, longitude = -122.3 }
site = "store-17"
labels = { floor = "2" }
prefixes = ["192.0.2.0/24", { prefix = "2001:db8:10::/48", key = "k", validation_state = "Verified", max_length = 64, owner = "provider" }]
origin_asns = [64510]
upstream_asns = [64500]
expect_upstreams = [64500, 64501]
state = "Active"
redundancy_group = "contoso-west"
sessions = [{ router = "edge1", peer_ip = "192.0.2.1", role = "primary" }]
primary_edge = "sea01"
backup_edge = "pdx01"
routing_domain = "public"
bandwidth_mbps = 10000
[[asn]]
number = 64500
upstreams = [64496]
peers = [64497]
downstreams = [64510]
originates = "registered"
[reference]
as_relationships = "20180101.as-rel.txt.bz2"
vrps = "vrps.json"
aspas = "aspas.json"
organisations = "as2org.csv"
geoip = "GeoLite2-City.mmdb"
edges = "edges.csv"
"#;
    let config = Config::parse(text, Path::new("/etc/peerscope/c.toml")).unwrap();
    assert_eq!(config.registry.connections().len(), 1);
    let relationships = config.reference.as_relationships.clone().unwrap();
    assert_eq!(relationships, Path::new("/etc/peerscope/20180101.as-rel.txt.bz2"));
}

#[test]
fn the_hash_knows_settings_and_no_path_and_no_order() {
    let two = |first: &str, second: &str| format!("{first}{second}");
    let other = ONE.replace("\"a\"", "\"b\"").replace("192.0.2.0", "198.51.100.0");
    let hash = |text: &str, path: &str| Config::parse(text, Path::new(path)).unwrap().hash();
    assert_eq!(hash(&two(ONE, &other), "c.toml"), hash(&two(&other, ONE), "/x/d.toml"));
    assert_ne!(
        hash(ONE, "c.toml"),
        hash(&format!("{ONE}[latency]\nlateness_secs = 9\n"), "c.toml")
    );
}

#[test]
fn the_reference_page_knows_every_key() {
    let page = markdown();
    let told = refuse("[[connection]]\nname = \"a\"\nqqqqqq = 1\n");
    let known = told.split("known here: ").nth(1).unwrap();
    for key in known.split(", ") {
        assert!(page.contains(&format!("| `[[connection]]` | `{key}` |")), "{key}");
    }
}

/// Every key of every kind, on the reference page and understood.
#[test]
fn the_reference_page_knows_every_key_of_every_live_source() {
    let page = markdown();
    for kind in ["bmp_listener", "folder", "kafka", "prometheus", "ris_live"] {
        let told = refuse(&format!("[source.a]\nkind = \"{kind}\"\nqqqqqq = 1\n"));
        assert!(told.starts_with("c.toml:3:1: unknown key `qqqqqq`, known here: "), "{told}");
        let known = told.split("known here: ").nth(1).unwrap();
        let section = page.split(&format!("### `kind = \"{kind}\"`")).nth(1).unwrap();
        let section = section.split("###").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `")).count();
        let keys: Vec<&str> = known.split(", ").filter(|key| *key != "kind").collect();
        assert_eq!(rows, keys.len(), "{kind}: {known}");
        for key in keys {
            assert!(section.contains(&format!("\n| `{key}` |")), "{kind}: {key}");
        }
    }
}

#[test]
fn the_reference_page_knows_every_key_of_the_listener() {
    let page = markdown();
    for (text, title) in [
        ("[http]\nqqqqqq = 1\n", "### `[http]`"),
        ("[kafka]\nqqqqqq = 1\n", "### `[kafka]`"),
        ("[[http.token]]\nqqqqqq = 1\n", "### `[[http.token]]`"),
    ] {
        let told = refuse(text);
        assert!(told.starts_with("c.toml:2:1: unknown key `qqqqqq`, known here: "), "{told}");
        let known = told.split("known here: ").nth(1).unwrap();
        let section = page.split(title).nth(1).unwrap().split("###").next().unwrap();
        for key in known.split(", ") {
            assert!(section.contains(&format!("\n| `{key}` |")), "{title}: {key}");
        }
    }
}

#[test]
fn a_listener_that_is_too_open_is_refused_with_its_place_and_a_remedy() {
    let told = refuse("[lake]\n[http]\nlisten = \"0.0.0.0:8080\"\n");
    assert!(told.starts_with("c.toml:2:1: ") && told.contains("peerscope http token"), "{told}");
    let source = "[source.http]\nkind = \"folder\"\nfolder = \"in\"\n";
    let told = refuse(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{source}"));
    assert!(told.contains("rename it"), "{told}");
    let text = "[http]\nlisten = \"192.0.2.1:8443\"\ntls = { certificate = \"c\", key = \"k\" }\n\
                [[http.token]]\nname = \"p\"\nsha256 = \"";
    let text = format!("{text}{}\"\n", "ab".repeat(32));
    let config = Config::parse(&text, Path::new("/etc/peerscope/c.toml")).unwrap();
    assert_eq!(config.http.tls.unwrap().key, Path::new("/etc/peerscope/k"));
}

#[test]
fn live_sources_are_understood_and_their_files_are_beside_the_configuration() {
    let text = r#"
[source.edge]
kind = "bmp_listener"
listen = "192.0.2.10:11019"
allow = ["192.0.2.0/24", "2001:db8::/32"]
sessions_max = 8
bytes_per_sec_max = 1000000
md5 = [{ peer = "192.0.2.1", password_file = "edge1.md5" }]
tls = { certificate = "tls/cert.pem", key = "tls/key.pem", client_ca = "tls/ca.pem" }
vrfs = [{ router = "edge1", distinguisher = "64500:1", routing_domain = "contoso" }]
[source.ris]
kind = "ris_live"
host = "rrc21"
[source.routeviews]
kind = "kafka"
brokers = ["stream.routeviews.org:9092"]
topics = ["routeviews.*.bmp_raw"]
collector_asn = 6447
settings = { "socket.keepalive.enable" = "true" }
[source.drop]
kind = "folder"
folder = "incoming"
tail = true
[source.archive]
files = "rrc00.*"
collector = "rrc00"
"#;
    let config = Config::parse(text, Path::new("/etc/peerscope/c.toml")).unwrap();
    assert_eq!(config.sources.len(), 5);
    let Source::BmpListener(edge) = &config.sources["edge"] else { panic!("{:?}", config.sources) };
    assert_eq!(edge.md5[0].password_file, Path::new("/etc/peerscope/edge1.md5"));
    assert_eq!(edge.tls.as_ref().unwrap().key, Path::new("/etc/peerscope/tls/key.pem"));
    assert_eq!(edge.vrfs[0].distinguisher.to_string(), "64500:1");
    let Source::Folder(drop) = &config.sources["drop"] else { panic!("{:?}", config.sources) };
    assert_eq!(drop.folder.as_deref(), Some(Path::new("/etc/peerscope/incoming")));
    assert_eq!(config.collector_of("rrc00.updates.gz"), Some("rrc00"));
}

#[test]
fn a_wrong_source_is_named_with_its_place() {
    let told = refuse("[source.a]\nkind = \"kafkaa\"\n");
    assert_eq!(told, "c.toml:2:8: unknown kind `kafkaa`, did you mean `kafka`?");
    let told = refuse("[source.a]\nkind = \"bmp_listener\"\nalow = []\n");
    assert_eq!(told, "c.toml:3:1: unknown key `alow`, did you mean `allow`?");
    let told = refuse("[source.a]\nkind = \"bmp_listener\"\nallow = [\"192.0.2.1/24\"]\n");
    assert!(told.starts_with("c.toml:3:") && told.contains("did you mean 192.0.2.0/24?"), "{told}");
    let told = refuse("[source.a]\nkind = \"bmp_listener\"\ntls = { certificat = \"a\" }\n");
    assert!(
        told.starts_with("c.toml:3:") && told.contains("did you mean `certificate`?"),
        "{told}"
    );
    let told = refuse("[lake]\n[source.a]\nkind = \"kafka\"\ntopics = [\"a\"]\n");
    assert!(told.starts_with("c.toml:2:") && told.contains("brokers is empty"), "{told}");
    let told = refuse("[source.a]\nfile = \"a\"\n");
    assert_eq!(told, "c.toml:2:1: unknown key `file`, did you mean `files`?");
    let told = refuse("[source.a]\nfiles = \"a/b\"\n");
    assert!(told.contains("files is a name without folders"), "{told}");
}

#[test]
fn the_hash_knows_what_rows_depend_on_and_no_address() {
    let hash = |keys: &str| {
        let text = format!("[source.a]\nkind = \"bmp_listener\"\n{keys}");
        Config::parse(&text, Path::new("c.toml")).unwrap().hash()
    };
    assert_eq!(hash(""), hash("listen = \"127.0.0.1:5000\"\nsessions_max = 3\n"));
    assert_ne!(hash(""), hash("collector = \"edge\"\n"));
}

#[test]
fn exceptions_are_read_with_dates_of_both_kinds_and_refused_with_a_remedy() {
    let text = "[detect]\nscore_min = 2.0\n[[detect.exception]]\nrule = \"hijack_exact\"\n\
                prefix = \"203.0.113.0/24\"\nuntil = 2026-12-31\n[[detect.exception]]\n\
                culprit_asn = 64511\nuntil = \"2026-12-31T12:00:00Z\"\nreason = \"a customer\"\n";
    let config = Config::parse(text, Path::new("c.toml")).unwrap();
    let until: Vec<String> = config
        .detect
        .exception
        .iter()
        .filter_map(|e| e.until.as_ref().map(ToString::to_string))
        .collect();
    assert_eq!(until, ["2026-12-31", "2026-12-31T12:00:00Z"]);
    let without = Config::parse("[detect]\nscore_min = 2.0\n", Path::new("c.toml")).unwrap();
    assert_ne!(config.hash(), without.hash(), "what is ignored is part of what rows depend on");
    for (line, told) in [
        ("rule = \"hijack_exact\"", "hide everything"),
        ("culprit = 1", "did you mean `culprit_asn`?"),
        ("culprit_asn = 1\nuntil = \"soon\"", "is no day such as"),
    ] {
        let told_so = refuse(&format!("[[detect.exception]]\n{line}\n"));
        assert!(told_so.contains(told), "{told_so}");
    }
}

#[test]
fn a_lake_in_an_object_store_is_checked_before_anything_is_read() {
    let text = "[lake]\nurl = \"s3://bucket/lake\"\nendpoint = \"https://s3.example.net\"\n\
                region = \"eu-west-1\"\ncredentials_file = \"lake.env\"\n";
    let config = Config::parse(text, Path::new("etc/c.toml")).unwrap();
    let root = config.lake.root(None).unwrap();
    assert_eq!(root.to_string(), "s3://bucket/lake");
    assert_eq!(root.access().credentials_file.as_deref(), Some(Path::new("etc/lake.env")));
    assert_eq!(config.lake.root(Some("./mine")).unwrap().to_string(), "./mine");
    let told = refuse("\n[lake]\nurl = \"s4://bucket/lake\"\n");
    assert!(told.starts_with("c.toml:2:1: ") && told.contains("az://container/prefix"), "{told}");
    let told = refuse("[lake]\nurl = \"s3://key:secret@bucket/lake\"\n");
    assert!(told.contains("credentials_file") && !told.contains("secret@"), "{told}");
}
