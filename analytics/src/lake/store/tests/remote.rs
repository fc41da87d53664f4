//! Object stores that fail, answer what is not so, or lie: what a put says in the end is what is there.

use std::time::{Duration, Instant};

use super::server::{Fault, Server};
use crate::lake::LakeRoot;
use crate::lake::place::Access;
use crate::lake::store::{LakeError, Store};

/// A lake in a store of that scheme, reached with a patience of `retry_secs`.
fn lake(server: &Server, scheme: &str, folder: &tempfile::TempDir, retry_secs: u32) -> LakeRoot {
    let secrets = match scheme {
        "s3" => "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n",
        "az" => "AZURE_STORAGE_ACCOUNT_NAME=account\nAZURE_STORAGE_ACCOUNT_KEY=Zm9v\n",
        _ => {
            "GOOGLE_SERVICE_ACCOUNT_KEY={\"client_email\": \"a\", \"private_key\": \"b\", \
             \"private_key_id\": \"c\", \"disable_oauth\": true}\n"
        }
    };
    let file = folder.path().join(format!("{scheme}.env"));
    std::fs::write(&file, secrets).unwrap();
    LakeRoot::parse(&format!("{scheme}://bucket/deep/lake")).unwrap().with_access(Access {
        endpoint: Some(server.url.clone()),
        allow_http: true,
        credentials_file: Some(file),
        request_timeout_secs: 1,
        retry_secs,
        ..Access::default()
    })
}

fn open(server: &Server, scheme: &str, retry_secs: u32) -> Store {
    let folder = tempfile::tempdir().unwrap();
    Store::open_at(&lake(server, scheme, &folder, retry_secs)).unwrap()
}

#[test]
fn a_put_ends_well_whatever_is_said_of_it() {
    use Fault::{Close, CloseAfterLanding, SilenceAfterLanding, Status, StatusAfterLanding};
    // The client makes a request that was refused with 500 or 503 again by itself, three times.
    let stories: &[&[Fault]] = &[
        &[Status(409)],
        &[Status(409), Status(409), Status(409)],
        &[Status(412)],
        &[Status(500)],
        &[Status(503); 9],
        &[StatusAfterLanding(500)],
        &[StatusAfterLanding(409)],
        &[StatusAfterLanding(400)],
        &[Close, Close],
        &[CloseAfterLanding],
        &[SilenceAfterLanding],
        &[Status(409), Close, StatusAfterLanding(503)],
    ];
    for scheme in ["s3", "gs"] {
        let server = Server::start();
        let store = open(&server, scheme, 60);
        for (number, faults) in stories.iter().enumerate() {
            let key = format!("t/date=2026-03-02/{number}");
            server.fail(faults);
            store.put(&key, b"rows").unwrap_or_else(|error| panic!("{faults:?}: {error}"));
            assert_eq!(store.get(&key).unwrap().unwrap(), b"rows", "{faults:?}");
            server.recover();
        }
        assert!(store.retries() >= 8, "{}", store.retries());
    }
}

#[test]
fn a_lost_race_is_told_however_it_comes_to_light() {
    let server = Server::start();
    let store = open(&server, "s3", 60);
    let stories: &[&[Fault]] = &[
        &[Fault::Overtaken],
        &[Fault::Status(409), Fault::Overtaken],
        &[Fault::Close, Fault::Overtaken],
        &[Fault::Status(500), Fault::Overtaken],
    ];
    for (number, faults) in stories.iter().enumerate() {
        server.fail(faults);
        let lost = store.put(&format!("t/{number}"), b"rows").unwrap_err();
        assert!(matches!(lost, LakeError::Differs { .. }), "{faults:?}: {lost}");
        server.recover();
    }
    store.put("t/mine", b"rows").unwrap();
    store.put("t/mine", b"rows").unwrap();
    assert!(matches!(store.put("t/mine", b"other"), Err(LakeError::Differs { .. })));
}

#[test]
fn patience_has_an_end_and_the_error_says_what_to_do() {
    let server = Server::start();
    let store = open(&server, "s3", 2);
    server.fail(&[Fault::Status(409); 1_000]);
    let began = Instant::now();
    let error = store.put("t/a", b"rows").unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(error.is_down(), "{error}");
    let text = error.to_string();
    assert!(text.contains("attempts") && text.contains("AWS_ENDPOINT_URL"), "{text}");
    server.recover();
    store.put("t/a", b"rows").unwrap();
}

#[test]
fn a_store_that_ignores_the_condition_is_refused_with_a_remedy() {
    for scheme in ["s3", "gs"] {
        let server = Server::start();
        server.lie();
        let folder = tempfile::tempdir().unwrap();
        let root = lake(&server, scheme, &folder, 5);
        let error = Store::open_at(&root).unwrap_err();
        assert!(matches!(error, LakeError::Unconditional { .. }), "{error}");
        assert!(error.to_string().contains("If-None-Match"), "{error}");
    }
}

#[test]
fn a_store_that_is_opened_is_left_as_it_was() {
    let server = Server::start();
    drop(open(&server, "s3", 5));
    assert_eq!(server.objects(), [], "the test removes what it made");
    let refused = Store::beside_at(&lake(&server, "s3", &tempfile::tempdir().unwrap(), 5));
    assert!(matches!(refused, Err(LakeError::Missing { .. } | LakeError::Settings { .. })));
}

#[test]
fn what_is_no_lake_is_not_made_one() {
    let server = Server::start();
    let store = open(&server, "s3", 5);
    store.put("thesis.txt", b"mine").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = lake(&server, "s3", &folder, 5);
    assert!(matches!(Store::open_at(&root), Err(LakeError::NotALake { .. })));
    assert!(matches!(Store::read_at(&root), Err(LakeError::Missing { .. })));
    store.put("_peerscope/logs/a.json", b"{}").unwrap();
    Store::open_at(&root).unwrap();
    Store::beside_at(&root).unwrap();
    Store::read_at(&root).unwrap();
}

#[test]
fn wrong_credentials_and_no_bucket_are_told_apart_from_a_store_that_is_down() {
    let folder = tempfile::tempdir().unwrap();
    for (status, told) in [(403, "AWS_SECRET_ACCESS_KEY"), (404, "make it first"), (500, "network")]
    {
        let server = Server::start();
        server.refuse(status);
        let error = Store::open_at(&lake(&server, "s3", &folder, 1)).unwrap_err();
        assert!(error.to_string().contains(told), "{status}: {error}");
        assert_eq!(error.is_down(), status == 500, "{error}");
        assert_eq!(error.is_configuration(), status == 404, "{error}");
    }
}

#[test]
fn keys_are_listed_below_the_prefix_of_the_lake() {
    for scheme in ["s3", "gs"] {
        let server = Server::start();
        let store = open(&server, scheme, 5);
        store.put("t/date=2026-03-02/a.parquet", b"0123456789").unwrap();
        store.put("t/date=2026-03-03/b.parquet", b"1").unwrap();
        store.put_over("_peerscope/x", b"1").unwrap();
        store.put_over("_peerscope/x", b"2").unwrap();
        assert_eq!(store.list("t").unwrap(), ["date=2026-03-02", "date=2026-03-03"]);
        assert_eq!(store.list("").unwrap(), ["_peerscope", "t"]);
        assert_eq!(store.list("nothing").unwrap(), Vec::<String>::new());
        let keys: Vec<_> = store.list_all("t").unwrap().into_iter().map(|e| e.key).collect();
        assert_eq!(keys, ["t/date=2026-03-02/a.parquet", "t/date=2026-03-03/b.parquet"]);
        assert!(server.objects().iter().all(|(key, _)| key.starts_with("deep/lake/")));
        store.delete("t/date=2026-03-02/a.parquet").unwrap();
        store.delete("t/date=2026-03-02/a.parquet").unwrap();
        assert!(store.get("t/date=2026-03-02/a.parquet").unwrap().is_none());
        assert_eq!(store.get("_peerscope/x").unwrap().unwrap(), b"2");
    }
}

/// The commands of the program call the store on threads of their own runtime.
#[test]
fn a_store_may_be_asked_and_dropped_on_a_thread_of_a_runtime() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(&server, "s3", 5);
        store.put("t/a", b"rows").unwrap();
        assert_eq!(store.get("t/a").unwrap().unwrap(), b"rows");
    });
}
