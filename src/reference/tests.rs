//! Files on disk, and what counts when.

use super::*;

fn config(folder: &Path) -> ReferenceConfig {
    ReferenceConfig {
        as_relationships: Some(folder.join("links")),
        vrps: Some(folder.join("vrps.csv")),
        ..ReferenceConfig::default()
    }
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn of_dated_files_the_newest_that_is_not_later_counts() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("links/20180101.as-rel.txt", "1|2|-1\n"),
            ("links/20200101.as-rel.txt", "1|3|-1\n"),
            ("links/readme", "none\n"),
            ("links/.20210101.part", "none\n"),
            ("vrps.csv", "64510,203.0.113.0/24,24\n"),
        ],
    );
    let schedule = Schedule::read(&config(folder.path())).unwrap();
    let years: Vec<String> = schedule.steps.iter().skip(1).map(|(from, _)| from.day()).collect();
    assert_eq!(years, ["2018-01-01", "2020-01-01"]);
    let counts: Vec<usize> = schedule.steps.iter().map(|(_, set)| set.versions.len()).collect();
    assert_eq!(counts, [1, 2, 2], "before the oldest no relationship is known");
    assert_eq!(schedule.steps[0].0, Timestamp::MIN);
    assert_eq!(schedule.hashes.len(), 3);
    let now = |text: &str| -> Vec<String> {
        let (files, passed_over) =
            files_of(ReferenceKind::AsRelationships, &folder.path().join("links")).unwrap();
        assert_eq!(passed_over, ["readme"]);
        let newest = newest(files, text.parse().unwrap());
        newest
            .iter()
            .map(|file| file.path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(now("2019-12-31T00:00:00Z"), ["20180101.as-rel.txt"]);
    assert_eq!(now("2020-01-01T00:00:00Z"), ["20200101.as-rel.txt"]);
    assert!(now("2017-01-01T00:00:00Z").is_empty());
}

#[test]
fn a_folder_without_dates_and_a_bad_file_are_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("links/as-rel.txt", "1|2|-1\n"), ("vrps.csv", "x\n")]);
    let told = Schedule::read(&config(folder.path())).unwrap_err().to_string();
    assert!(told.contains("links: no file in this folder has a date"), "{told}");
    write(folder.path(), &[("links/20180101.txt", "1|2|-1\n")]);
    let told = Schedule::read(&config(folder.path())).unwrap_err().to_string();
    assert!(told.contains("vrps.csv: line 1:"), "{told}");
}

#[test]
fn databases_of_one_kind_count_by_their_own_dates_and_a_single_one_always() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mmdb");
    let folder = tempfile::tempdir().unwrap();
    let mut names = vec!["GeoLite2-City-Test.mmdb", "GeoLite2-ASN-Test.mmdb"];
    for name in &names {
        fs::copy(fixtures.join(name), folder.path().join(name)).unwrap();
    }
    let config =
        ReferenceConfig { geoip: Some(folder.path().to_owned()), ..ReferenceConfig::default() };
    let alone = Schedule::read(&config).unwrap();
    assert_eq!(alone.steps.len(), 1);
    assert_eq!(alone.reference.geo.databases().len(), 2);
    names.push("GeoIP2-City-Test.mmdb");
    fs::copy(fixtures.join(names[2]), folder.path().join(names[2])).ok();
    fs::copy(fixtures.join(names[0]), folder.path().join("again.mmdb")).unwrap();
    let told = Schedule::read(&config).unwrap_err().to_string();
    assert!(told.contains("of the same kind and date: keep one"), "{told}");
}
