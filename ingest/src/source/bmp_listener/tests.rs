//! The listener over loopback: whatever one router does, the others are heard.

use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::source::live::ARRIVALS_WAITING_MAX;
use crate::source::testing::{Ear, Heard, bmp_message, has};
use crate::source::tls::{TlsFiles, client};

struct Harness {
    ear: Ear,
    address: SocketAddr,
    counts: Arc<BmpListenerCounts>,
    tasks: JoinSet<()>,
}

impl Harness {
    fn with(change: impl FnOnce(&mut BmpListener)) -> Self {
        let mut config = BmpListener {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ..Default::default()
        };
        change(&mut config);
        let source = BmpSource::bind(config, 0).unwrap();
        let (address, counts) = (source.address(), source.counts());
        let (ear, outbox, stop) = Ear::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(source.run(outbox, stop));
        Self { ear, address, counts, tasks }
    }

    async fn router(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A router that comes now is heard: the listener lives.
    async fn expect_alive(&mut self) {
        let known = self.ear.heard.len();
        let mut router = self.router().await;
        router.write_all(&bmp_message(20, 42)).await.unwrap();
        let is_heard = |heard: &Heard| heard.bytes == bmp_message(20, 42);
        self.ear
            .until("the others go on", |heard| heard.len() > known && heard.values().any(is_heard))
            .await;
    }

    /// Hears why the first stream is over.
    async fn first_ends(&mut self) -> (String, bool) {
        self.ear.until("the first ends", |heard| heard.get(&0).is_some_and(Heard::is_over)).await;
        self.ear.heard[&0].closed.clone().unwrap()
    }
}

#[tokio::test]
async fn every_router_is_a_stream_of_its_own_in_order() {
    let mut harness = Harness::with(|_| {});
    let mut routers = JoinSet::new();
    for router in 0..5_u8 {
        let mut socket = harness.router().await;
        routers.spawn(async move {
            for round in 0..200_u32 {
                socket.write_all(&bmp_message(48 + round * 7, router)).await.unwrap();
            }
        });
    }
    harness
        .ear
        .until("five ends", |heard| heard.values().filter(|h| h.is_over()).count() == 5)
        .await;
    let sent = |router| (0..200).flat_map(|round| bmp_message(48 + round * 7, router)).collect();
    let mut expected: Vec<Vec<u8>> = (0..5).map(sent).collect();
    let mut heard: Vec<Vec<u8>> = harness.ear.heard.values().map(|h| h.bytes.clone()).collect();
    expected.sort();
    heard.sort();
    assert!(heard == expected, "the bytes of each, whole and in order");
    for heard in harness.ear.heard.values() {
        assert_eq!(heard.remote, "127.0.0.1");
        assert_eq!(heard.closed, Some(("the router closed the session".to_owned(), true)));
    }
    let counts = &harness.counts;
    assert_eq!((counts.opened.get(), counts.closed.get(), counts.messages.get()), (5, 5, 1000));
}

#[tokio::test]
async fn who_is_not_allowed_is_refused_and_who_says_nothing_is_not_told() {
    let mut harness = Harness::with(|config| config.allow = vec!["192.0.2.0/24".parse().unwrap()]);
    let mut stranger = harness.router().await;
    assert_eq!(stranger.read(&mut [0]).await.unwrap_or(0), 0, "hung up on");
    assert_eq!((harness.counts.refused_address.get(), harness.counts.opened.get()), (1, 0));

    harness = Harness::with(|_| {});
    drop(harness.router().await);
    harness.expect_alive().await;
    assert_eq!(harness.ear.heard.len(), 1, "a health check is no router");
    assert_eq!(harness.counts.said_nothing.get(), 1);
}

#[tokio::test]
async fn one_router_too_many_is_refused_until_another_leaves() {
    let mut harness = Harness::with(|config| config.sessions_max = 2);
    let mut first = harness.router().await;
    first.write_all(&bmp_message(10, 1)).await.unwrap();
    let _second = harness.router().await;
    let mut third = harness.router().await;
    assert_eq!(third.read(&mut [0]).await.unwrap_or(0), 0, "hung up on");
    assert_eq!(harness.counts.refused_sessions.get(), 1);
    drop(first);
    harness.first_ends().await;
    harness.expect_alive().await;
}

#[tokio::test]
async fn a_session_that_stalls_in_a_message_is_closed_and_one_that_trickles_too() {
    let mut harness = Harness::with(|config| config.message_timeout_secs = 1);
    let mut stalls = harness.router().await;
    stalls.write_all(&bmp_message(100, 1)[..60]).await.unwrap();
    let (reason, is_gap) = harness.first_ends().await;
    assert_eq!((reason.as_str(), is_gap), ("stalled in the middle of a message for 1 s", true));
    harness.expect_alive().await;

    let mut harness = Harness::with(|config| config.message_timeout_secs = 1);
    let mut trickles = harness.router().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        for byte in bmp_message(100, 1) {
            if trickles.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    harness.first_ends().await;
    assert_eq!(harness.counts.stalled.get(), 1);
    assert!(harness.ear.heard[&0].bytes.len() < 60, "a byte now and then does not save it");
}

#[tokio::test]
async fn a_silent_session_is_closed() {
    let mut harness = Harness::with(|config| config.idle_timeout_secs = 1);
    let mut idle = harness.router().await;
    idle.write_all(&bmp_message(100, 1)).await.unwrap();
    assert_eq!(harness.first_ends().await, ("silent for 1 s".to_owned(), true));
    assert_eq!((harness.counts.idle.get(), harness.counts.stalled.get()), (1, 0));
}

#[tokio::test]
async fn a_length_of_4_gib_and_another_protocol_end_their_session_only() {
    let mut harness = Harness::with(|_| {});
    let mut huge = harness.router().await;
    let start = [3, 255, 255, 255, 255, 0];
    huge.write_all(&start).await.unwrap();
    let (reason, is_gap) = harness.first_ends().await;
    let told = "a message of 4294967295 bytes exceeds message_bytes_max = 1048576";
    assert_eq!((reason.as_str(), is_gap), (told, true));
    assert_eq!(harness.ear.heard[&0].bytes, start, "what came is told, to be counted as refused");
    let mut web = harness.router().await;
    web.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    harness.ear.until("hung up", |heard| heard.get(&1).is_some_and(Heard::is_over)).await;
    assert_eq!(harness.ear.heard[&1].closed.as_ref().unwrap().0, "version 71 is not BMP");
    assert_eq!(harness.counts.unframed.get(), 2);
    harness.expect_alive().await;
}

#[tokio::test]
async fn a_flood_is_held_back_and_the_others_have_their_turn() {
    let mut harness = Harness::with(|_| {});
    let mut flood = harness.router().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { while flood.write_all(&bmp_message(60_000, 1)).await.is_ok() {} });
    while harness.ear.waiting() < ARRIVALS_WAITING_MAX {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let read = harness.counts.bytes.get();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(harness.counts.bytes.get(), read, "a full channel stops the reading");

    let mut calm = harness.router().await;
    calm.write_all(&bmp_message(20, 2)).await.unwrap();
    harness
        .ear
        .until("the calm one", |heard| heard.len() == 2 && !heard[&1].bytes.is_empty())
        .await;
    assert_eq!(harness.ear.heard[&1].bytes, bmp_message(20, 2));
}

#[tokio::test]
async fn bytes_per_sec_max_holds_without_loss() {
    let mut harness = Harness::with(|config| config.bytes_per_sec_max = Some(100_000));
    let mut fast = harness.router().await;
    let sent: Vec<u8> = (0..30).flat_map(|fill| bmp_message(10_000, fill)).collect();
    let began = Instant::now();
    fast.write_all(&sent).await.unwrap();
    harness.ear.until("all of it", |heard| heard.values().any(|h| h.bytes.len() == 300_000)).await;
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(1300),
        "300 kB, 100 kB at once, 100 kB a second: {took:?}"
    );
    assert!(harness.ear.only().bytes == sent);
    assert!(harness.counts.held_back.get() > 0);
}

#[tokio::test]
async fn a_stop_ends_every_stream_and_returns() {
    let mut harness = Harness::with(|_| {});
    let mut first = harness.router().await;
    let mut second = harness.router().await;
    first.write_all(&bmp_message(20, 1)).await.unwrap();
    second.write_all(&bmp_message(20, 1)[..9]).await.unwrap();
    harness.ear.until("two streams", |heard| heard.len() == 2).await;
    harness.ear.stop();
    harness.ear.rest().await;
    harness.tasks.join_next().await.unwrap().unwrap();
    for heard in harness.ear.heard.values() {
        assert_eq!(heard.closed, Some(("the service stops".to_owned(), true)));
    }
    assert!(TcpStream::connect(harness.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn md5_shuts_out_who_does_not_sign() {
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("md5");
    std::fs::write(&password_file, "secret\n").unwrap();
    let config = BmpListener {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        md5: vec![Md5Peer {
            peer: Ipv4Addr::LOCALHOST.into(),
            password_file: password_file.clone(),
        }],
        ..Default::default()
    };
    if let Err(error) = BmpSource::bind(config.clone(), 0) {
        assert!(matches!(error, BmpListenerError::Md5 { .. }), "{error}");
        eprintln!("skipped: this kernel has no TCP MD5: {error}");
        return;
    }
    let mut harness = Harness::with(|into| *into = config);
    let signed = |key: &'static [u8]| {
        let address = harness.address;
        async move {
            let socket = TcpSocket::new_v4().unwrap();
            tcp_md5::set_key(&socket, address, address.ip(), key).unwrap();
            timeout(Duration::from_millis(1500), socket.connect(address)).await
        }
    };
    let unsigned = timeout(Duration::from_millis(1500), TcpStream::connect(harness.address)).await;
    assert!(unsigned.is_err(), "without a signature there is no answer");
    assert!(signed(b"wrong").await.is_err(), "nor with a wrong one");
    let mut router = signed(b"secret").await.unwrap().unwrap();
    router.write_all(&bmp_message(20, 1)).await.unwrap();
    harness.ear.until("it is heard", |heard| heard.values().any(|h| h.bytes.len() == 20)).await;
    assert_eq!(harness.counts.accepted.get(), 1);
}

/// Certificates by openssl: a root, a server, a router, and a stranger who signed itself.
fn certificates(folder: &Path) -> bool {
    const SCRIPT: &str = r#"
        ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
          -subj "/CN=$1" -keyout "$1.key" -out "$1.pem"; }
        leaf() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
          -keyout "$1.key" -out "$1.csr" && openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key \
          -CAcreateserial -days 2 -out "$1.pem" -extfile ext; }
        printf 'subjectAltName=DNS:localhost\n' > ext
        ca ca && ca stranger && leaf server && leaf router"#;
    has("openssl", &["version"], "apt-get install -y openssl") && {
        let made = Command::new("sh").args(["-ec", SCRIPT]).current_dir(folder).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        true
    }
}

#[tokio::test]
async fn tls_hears_the_routers_of_its_ca_only() {
    let folder = tempfile::tempdir().unwrap();
    if !certificates(folder.path()) {
        return;
    }
    let path = |name: &str| folder.path().join(name);
    let mut harness = Harness::with(|config| {
        config.tls = Some(TlsFiles {
            certificate: path("server.pem"),
            key: path("server.key"),
            client_ca: Some(path("ca.pem")),
        });
    });
    let dial = |name: &str| {
        let mut config = (*client(Some(&path("ca.pem"))).unwrap()).clone();
        let identity = TlsFiles {
            certificate: path(&format!("{name}.pem")),
            key: path(&format!("{name}.key")),
            client_ca: None,
        };
        config.client_auth_cert_resolver = identity.client_identity();
        (tokio_rustls::TlsConnector::from(Arc::new(config)), harness.address)
    };
    let (stranger, address) = dial("stranger");
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let socket = TcpStream::connect(address).await.unwrap();
    if let Ok(mut socket) = stranger.connect(name.clone(), socket).await {
        // TLS 1.3 tells a client that it is refused only after its own handshake.
        assert!(matches!(socket.read(&mut [0]).await, Err(_) | Ok(0)));
    }
    assert_eq!((harness.counts.refused_tls.get(), harness.counts.opened.get()), (1, 0));

    let mut plain = harness.router().await;
    plain.write_all(&bmp_message(20, 1)).await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert_eq!(harness.counts.refused_tls.get(), 2, "who speaks no TLS is no router");

    let (router, address) = dial("router");
    let socket = TcpStream::connect(address).await.unwrap();
    let mut socket = router.connect(name, socket).await.unwrap();
    socket.write_all(&bmp_message(20, 9)).await.unwrap();
    harness.ear.until("it is heard", |heard| heard.values().any(|h| h.bytes.len() == 20)).await;
    assert_eq!(harness.ear.only().bytes, bmp_message(20, 9));
}

/// Says in which process we are: the one with few files.
const FEW_FILES: &str = "PEERSCOPE_TEST_FEW_FILES";

/// The other half of the next test: a listener that may open 24 files, which says its port and then
/// every number of accepted sessions and failures that it sees change.
#[tokio::test]
async fn a_listener_with_few_files() {
    if std::env::var_os(FEW_FILES).is_none() {
        return;
    }
    let harness = Harness::with(|_| {});
    println!("port {}", harness.address.port());
    let mut last = (0, 0);
    loop {
        let now = (harness.counts.accepted.get(), harness.counts.accept_failed.get().min(1));
        if now != last {
            println!("accepted {} failed {}", now.0, now.1);
            last = now;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn too_many_open_files_is_waited_out() {
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 24 && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "source::bmp_listener::tests::a_listener_with_few_files"])
        .env(FEW_FILES, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut said = String::new();
    let mut hear = move |word: &str| {
        while !said.lines().any(|line| line.contains(word) && line.len() > word.len()) {
            let mut more = [0; 256];
            let bytes = output.read(&mut more).unwrap();
            assert!(bytes > 0, "{word:?} was not said: {said}");
            said.push_str(std::str::from_utf8(&more[..bytes]).unwrap());
        }
        said.clone()
    };
    let port = hear("port ");
    let port = port.lines().find_map(|line| line.split("port ").nth(1)).unwrap();
    let port: u16 = port.trim().parse().unwrap();
    let dial = || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let first: Vec<_> = (0..30).map(|_| dial()).collect();
    hear(" failed 1");
    drop(first);
    hear("accepted 30 ");
    let _later = dial();
    hear("accepted 31 ");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_is_missing_is_named() {
    let missing = PathBuf::from("no-such-file");
    let tls = TlsFiles { certificate: missing.clone(), key: missing, client_ca: None };
    let config = BmpListener { tls: Some(tls), ..Default::default() };
    let told = BmpSource::bind(config, 0).err().unwrap().to_string();
    assert!(told.starts_with("no-such-file: "), "{told}");
    assert_eq!(without_line_end(b"a\r\n"), b"a");
    assert_eq!(without_line_end(b" a \n\n"), b" a \n");
}
