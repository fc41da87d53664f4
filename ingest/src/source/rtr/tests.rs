//! The client against a cache of its own, on loopback.

use std::net::Ipv4Addr;

use schemas::bgp::Asn;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;
use crate::decode::rtr::{Pdu, Timers, code, decode, frame};
use crate::encode::rtr::encode;
use crate::source::testing::PATIENCE;

struct Client {
    words: mpsc::Receiver<RtrWord>,
    counts: Arc<RtrCounts>,
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Client {
    async fn word(&mut self) -> Option<RtrWord> {
        timeout(PATIENCE, self.words.recv()).await.unwrap()
    }
}

fn client(options: RtrOptions) -> Client {
    let (words, heard) = mpsc::channel(WORDS_WAITING_MAX);
    let (stop, stopping) = watch::channel(false);
    let source = RtrSource::new(options, words);
    let counts = source.counts();
    let mut tasks = JoinSet::new();
    tasks.spawn(source.run(stopping));
    Client { words: heard, counts, _stop: stop, _tasks: tasks }
}

struct Cache {
    listener: TcpListener,
    address: String,
}

impl Cache {
    async fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self { listener, address }
    }

    fn options(&self) -> RtrOptions {
        RtrOptions { address: self.address.clone(), retry_secs: Some(1), ..RtrOptions::default() }
    }

    async fn accept(&self) -> TcpStream {
        timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap().0
    }
}

/// The next question, as bytes of a whole PDU.
async fn asked(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    let length = frame(&bytes).unwrap().unwrap();
    let mut rest = vec![0; length - 8];
    stream.read_exact(&mut rest).await.unwrap();
    bytes.extend(rest);
    bytes
}

fn vrp(number: u8) -> Vrp {
    let prefix = format!("10.0.{number}.0/24").parse().unwrap();
    Vrp { prefix, asn: Asn(64_510), max_length: 24, expires: None }
}

async fn answer(stream: &mut TcpStream, serial: u32, changes: &[(bool, u8)], timers: Timers) {
    let session = 7;
    let mut bytes = Vec::new();
    encode(&mut bytes, 1, &Pdu::CacheResponse { session });
    for (is_announced, number) in changes {
        let vrp = vrp(*number);
        encode(&mut bytes, 1, &Pdu::Prefix { is_announced: *is_announced, vrp });
    }
    encode(&mut bytes, 1, &Pdu::EndOfData { session, serial, timers: Some(timers) });
    stream.write_all(&bytes).await.unwrap();
}

fn refreshing(refresh_secs: u32) -> Timers {
    Timers { refresh_secs, ..Timers::default() }
}

#[tokio::test]
async fn it_tells_whole_sets_and_asks_again_at_the_refresh_interval_and_when_notified() {
    let cache = Cache::new().await;
    let mut client = client(cache.options());
    let mut stream = cache.accept().await;
    assert_eq!(decode(&asked(&mut stream).await), Ok((1, Pdu::ResetQuery)));
    answer(&mut stream, 1, &[(true, 1), (true, 2)], refreshing(1)).await;
    assert_eq!(client.word().await, Some(RtrWord::Vrps(vec![vrp(1), vrp(2)])));
    let query = asked(&mut stream).await;
    assert_eq!(decode(&query), Ok((1, Pdu::SerialQuery { session: 7, serial: 1 })));
    answer(&mut stream, 2, &[(false, 1)], refreshing(3_600)).await;
    assert_eq!(client.word().await, Some(RtrWord::Vrps(vec![vrp(2)])));
    let mut notify = Vec::new();
    encode(&mut notify, 1, &Pdu::SerialNotify { session: 7, serial: 3 });
    stream.write_all(&notify).await.unwrap();
    let query = asked(&mut stream).await;
    assert_eq!(decode(&query), Ok((1, Pdu::SerialQuery { session: 7, serial: 2 })));
    answer(&mut stream, 3, &[(true, 3)], refreshing(3_600)).await;
    assert_eq!(client.word().await, Some(RtrWord::Vrps(vec![vrp(2), vrp(3)])));
    let counts = &client.counts;
    assert_eq!((counts.opened.get(), counts.answers.get(), counts.vrps.get()), (1, 3, 2));
    assert_eq!(counts.is_up.get(), 1);
}

#[tokio::test]
async fn it_dials_again_and_asks_for_what_is_new_since_the_connection_broke() {
    let cache = Cache::new().await;
    let mut client = client(cache.options());
    let mut stream = cache.accept().await;
    asked(&mut stream).await;
    answer(&mut stream, 1, &[(true, 1)], refreshing(3_600)).await;
    client.word().await;
    drop(stream);
    let mut stream = cache.accept().await;
    let query = asked(&mut stream).await;
    assert_eq!(decode(&query), Ok((1, Pdu::SerialQuery { session: 7, serial: 1 })));
    assert!(client.counts.failed.get() >= 1);
}

#[tokio::test]
async fn what_it_holds_expires_while_the_cache_has_nothing_to_say() {
    let cache = Cache::new().await;
    let options = RtrOptions { expire_secs: Some(2), ..cache.options() };
    let mut client = client(options);
    let mut stream = cache.accept().await;
    asked(&mut stream).await;
    answer(&mut stream, 1, &[(true, 1)], refreshing(1)).await;
    assert!(matches!(client.word().await, Some(RtrWord::Vrps(_))));
    // It is asked, and reports that it has nothing: on this connection and on all that follow.
    let mut report = Vec::new();
    let nothing = Pdu::ErrorReport { code: code::NO_DATA_AVAILABLE, about: &[], text: b"wait" };
    encode(&mut report, 1, &nothing);
    stream.write_all(&report).await.unwrap();
    assert_eq!(client.word().await, Some(RtrWord::Expired));
    let mut stream = cache.accept().await;
    asked(&mut stream).await;
    answer(&mut stream, 2, &[(true, 2)], refreshing(3_600)).await;
    assert_eq!(client.word().await, Some(RtrWord::Vrps(vec![vrp(1), vrp(2)])), "and is back");
}

#[tokio::test]
async fn bytes_that_are_no_pdu_are_reported_before_the_connection_ends() {
    let cache = Cache::new().await;
    let client = client(cache.options());
    let mut stream = cache.accept().await;
    asked(&mut stream).await;
    stream.write_all(&[1, 3, 0, 0, 0, 0, 0, 1]).await.unwrap();
    let report = asked(&mut stream).await;
    let Ok((1, Pdu::ErrorReport { code, .. })) = decode(&report) else { panic!("{report:?}") };
    assert_eq!(code, code::CORRUPT_DATA);
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty());
    cache.accept().await;
    assert_eq!(client.counts.answers.get(), 0);
}
