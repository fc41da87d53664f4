//! Files that change while a service runs, and what the intake is told.

use std::fs;

use super::*;

struct Service {
    folder: tempfile::TempDir,
    versions: Option<Versions>,
    outlets: Outlets,
    told: mpsc::Receiver<Version>,
    owners: watch::Receiver<Arc<Owners>>,
    now: Timestamp,
}

const CONFIG: &str = r#"
[[connection]]
name = "a"
prefixes = ["203.0.113.0/24"]
[reference]
as_relationships = "as-rel.txt"
vrps = "vrps.csv"
"#;

impl Service {
    fn start(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (versions, told) = mpsc::channel(16);
        let registry = Config::parse("", Path::new("c")).unwrap().registry;
        let (owners, registered) = watch::channel(Arc::new(Owners::new(registry)));
        let mut service = Self {
            folder,
            versions: None,
            outlets: Outlets { versions, owners },
            told,
            owners: registered,
            now: "2026-03-04T10:00:00Z".parse().unwrap(),
        };
        service.write(&[("peerscope.toml", CONFIG)]);
        service.write(files);
        service.begin(&ReferenceSet::default());
        service
    }

    fn begin(&mut self, told: &ReferenceSet) {
        self.versions = None;
        let place = self.folder.path().join("peerscope.toml");
        let config = Config::load(Some(&place)).unwrap();
        let lake = self.folder.path().join("lake");
        let store = Arc::new(Store::open(lake.to_str().unwrap()).unwrap());
        let shelves = Shelves {
            shelf: LakeShelf::new(&store),
            library: Arc::new(Library::new(LakeShelf::new(&store))),
            store,
        };
        let counts = Arc::default();
        let versions = Versions::begin(&config, Some(place), shelves, counts, told, self.now);
        self.versions = Some(versions.unwrap());
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            // A new file each time: its number tells it from the one before, however fast this goes.
            let path = self.folder.path().join(name);
            let beside = path.with_extension("new");
            fs::write(&beside, text).unwrap();
            fs::rename(beside, path).unwrap();
        }
    }

    /// Time passes and everything is looked at; what was told, in words.
    fn look(&mut self, secs: i64, at_once: bool) -> Vec<String> {
        self.now = self.now.plus_secs(secs);
        let versions = self.versions.as_mut().unwrap();
        versions.look(at_once, &self.outlets, self.now);
        versions.in_force.pass(self.now);
        versions.tell(&self.outlets).unwrap();
        let mut told = Vec::new();
        while let Ok(version) = self.told.try_recv() {
            told.push(match version {
                Version::Registry { registry, .. } => {
                    format!("registry of {}", registry.connections().len())
                }
                Version::Reference(set) => {
                    let doubt =
                        set.doubt.map_or(String::new(), |doubt| format!(", {} lost", doubt.lost));
                    format!("{} contents{doubt}", set.versions.len())
                }
            });
        }
        told
    }

    fn refused(&self) -> f64 {
        let counts = &self.versions.as_ref().unwrap().counts;
        let config = counts.config_refused.get() as f64;
        counts.refused_values().iter().map(|(_, count)| count).sum::<f64>() + config
    }
}

/// A thousand VRPs, or fewer.
fn vrps(count: usize) -> String {
    (0..count).map(|n| format!("64510,10.{}.{}.0/24,24\n", n / 256, n % 256)).collect()
}

fn service() -> Service {
    Service::start(&[("as-rel.txt", "1|2|-1\n"), ("vrps.csv", &vrps(1_000))])
}

#[test]
fn a_changed_file_counts_once_it_has_settled_and_the_same_contents_are_no_news() {
    let mut service = service();
    assert_eq!(service.versions.as_ref().unwrap().set().versions.len(), 2);
    assert!(service.look(3, false).is_empty(), "nothing changed");
    service.write(&[("as-rel.txt", "1|2|-1\n1|3|-1\n")]);
    assert!(service.look(3, false).is_empty(), "it may be half written");
    assert_eq!(service.look(3, false), ["2 contents"]);
    assert!(service.look(3, false).is_empty());
    let reversed: String = vrps(1_000).lines().rev().map(|line| format!("{line}\n")).collect();
    service.write(&[("vrps.csv", &reversed)]);
    service.look(3, false);
    assert!(service.look(3, false).is_empty(), "the same VRPs in another order");
}

#[test]
fn a_file_that_is_refused_is_counted_and_the_one_before_goes_on() {
    let mut service = service();
    let before = service.versions.as_ref().unwrap().set();
    service.write(&[("as-rel.txt", "no links\n")]);
    assert!(service.look(0, true).is_empty());
    assert_eq!(service.refused(), 1.0);
    fs::remove_file(service.folder.path().join("vrps.csv")).unwrap();
    assert!(service.look(0, true).is_empty());
    assert_eq!(service.refused(), 2.0);
    assert!(service.look(3, false).is_empty());
    assert_eq!(service.refused(), 2.0, "it is told once");
    assert_eq!(service.versions.as_ref().unwrap().set(), before);
    service.write(&[("as-rel.txt", "1|9|-1\n")]);
    assert_eq!(service.look(0, true), ["2 contents"], "and is mended");
}

#[test]
fn vrps_that_vanish_are_not_believed_over_a_restart_too() {
    let mut service = service();
    service.write(&[("vrps.csv", &vrps(400))]);
    assert_eq!(service.look(0, true), ["2 contents, 600 lost"]);
    let told = service.versions.as_ref().unwrap().told.clone();
    service.now = service.now.plus_secs(1_800);
    service.begin(&told);
    let set = service.versions.as_ref().unwrap().set();
    assert!(set.has_same_contents(&told), "{set:?}");
    assert!(service.look(1_799, false).is_empty());
    assert_eq!(service.look(1, false), ["2 contents"], "an hour after it began they are believed");
}

#[test]
fn a_changed_configuration_counts_without_a_restart() {
    let mut service = service();
    let two = format!("{CONFIG}[[connection]]\nname = \"b\"\nprefixes = [\"2001:db8::/32\"]\n");
    service.write(&[("peerscope.toml", &two)]);
    assert_eq!(service.look(0, true), ["registry of 2"]);
    assert_eq!(service.owners.borrow_and_update().registry().connections().len(), 2);
    service.write(&[("peerscope.toml", &format!("{two}\n# a remark\n"))]);
    assert!(service.look(0, true).is_empty(), "it says the same");
    service.write(&[("peerscope.toml", "[[connection]]\nnaem = \"c\"\n")]);
    assert!(service.look(0, true).is_empty());
    assert_eq!(service.refused(), 1.0);
    let without = two.replace("vrps = \"vrps.csv\"\n", "");
    service.write(&[("peerscope.toml", &without)]);
    assert_eq!(service.look(0, true), ["1 contents"], "what is configured no more counts no more");
    let log = format!("{without}[log]\nkeep = \"all\"\n");
    service.write(&[("peerscope.toml", &log)]);
    assert!(service.look(0, true).is_empty(), "that counts from the next start");
}
