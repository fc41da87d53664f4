//! The client against a websocket server of its own, on loopback.

use std::net::Ipv4Addr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::*;
use crate::samples::Owners;
use crate::source::testing::{Ear, Heard, PATIENCE};

struct Server {
    listener: TcpListener,
    url: String,
}

impl Server {
    async fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("ws://127.0.0.1:{}/v1/ws/", listener.local_addr().unwrap().port());
        Self { listener, url }
    }

    async fn accept(&self) -> WebSocketStream<TcpStream> {
        let (socket, _) = timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        accept_async(socket).await.unwrap()
    }

    /// A client of it, with short times.
    fn client(&self, change: impl FnOnce(&mut RisLive)) -> Client {
        let mut config = RisLive { url: self.url.clone(), ..Default::default() };
        change(&mut config);
        let (tell, registered) = watch::channel(registered(&["192.0.2.0/24", "2001:db8::/32"]));
        let source = RisLiveSource::new(config, registered.borrow().registry(), 0).unwrap();
        let source = source.following(registered.clone());
        let counts = source.counts();
        let (ear, outbox, stop) = Ear::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(source.run(outbox, stop));
        Client { ear, counts, tell, tasks }
    }
}

struct Client {
    ear: Ear,
    counts: Arc<RisLiveCounts>,
    /// Registers something else.
    tell: watch::Sender<Arc<Owners>>,
    tasks: JoinSet<()>,
}

/// These prefixes of one connection, and AS 64500 watched.
fn registered(prefixes: &[&str]) -> Arc<Owners> {
    let connection = serde_json::json!({ "name": "a", "prefixes": prefixes });
    let watched = serde_json::json!({ "number": 64_500 });
    let connections = vec![serde_json::from_value(connection).unwrap()];
    let watched = vec![serde_json::from_value(watched).unwrap()];
    Arc::new(Owners::new(Arc::new(Registry::new(1, connections, watched).unwrap())))
}

async fn text(websocket: &mut WebSocketStream<TcpStream>) -> serde_json::Value {
    loop {
        let came = timeout(PATIENCE, websocket.next()).await.unwrap().unwrap().unwrap();
        if let Message::Text(text) = came {
            return serde_json::from_str(text.as_str()).unwrap();
        }
    }
}

const NEWS: &str = r#"{"type":"ris_message","data":{"timestamp":1700000000.5}}"#;

/// What is registered later is asked for in the same session.
#[tokio::test]
async fn it_subscribes_to_what_is_registered_later() {
    let server = Server::new().await;
    let client = server.client(|_| {});
    let mut websocket = server.accept().await;
    for _ in 0..4 {
        text(&mut websocket).await;
    }
    client.tell.send(registered(&["2001:db8::/32", "198.51.100.0/24"])).unwrap();
    let asked = text(&mut websocket).await;
    assert_eq!(asked["data"]["prefix"], "198.51.100.0/24");
    client.tell.send(registered(&["2001:db8::/32", "203.0.113.0/24"])).unwrap();
    let asked = text(&mut websocket).await;
    assert_eq!(asked["data"]["prefix"], "203.0.113.0/24", "what was asked for is not asked again");
    assert_eq!(client.counts.opened.get(), 1);
}

#[tokio::test]
async fn it_subscribes_hands_on_the_news_and_keeps_replies_to_itself() {
    let server = Server::new().await;
    let mut client = server.client(|_| {});
    let mut websocket = server.accept().await;
    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.push(text(&mut websocket).await["data"].clone());
    }
    let has = |key: &str, value: &str| asked.iter().any(|data| data[key] == value);
    assert!(has("prefix", "192.0.2.0/24") && has("prefix", "2001:db8::/32"));
    assert!(has("path", "64500") && has("type", "RIS_PEER_STATE"));
    for reply in [r#"{"type":"ris_error","data":{"message":"no"}}"#, r#"{"type":"pong"}"#] {
        websocket.send(Message::text(reply)).await.unwrap();
    }
    for _ in 0..3 {
        websocket.send(Message::text(NEWS)).await.unwrap();
    }
    client.ear.until("three", |heard| heard.values().any(|h| h.messages.len() == 3)).await;
    let heard = client.ear.only();
    assert!(heard.remote.starts_with("127.0.0.1:"));
    let offsets: Vec<u64> = heard.messages.iter().map(|(offset, _)| *offset).collect();
    assert_eq!((offsets, heard.messages[0].1.as_slice()), (vec![0, 1, 2], NEWS.as_bytes()));
    assert_eq!((client.counts.server_errors.get(), client.counts.messages.get()), (1, 3));
    client.ear.stop();
    client.ear.rest().await;
    client.tasks.join_next().await.unwrap().unwrap();
    assert_eq!(client.ear.only().closed, Some(("the service stops".to_owned(), true)));
}

#[tokio::test]
async fn a_lost_session_is_a_gap_and_a_new_stream_whose_numbers_go_on() {
    let server = Server::new().await;
    let mut client = server.client(|config| config.reconnect_secs_max = 1);
    let mut first = server.accept().await;
    first.send(Message::text(NEWS)).await.unwrap();
    client.ear.until("one", |heard| heard.values().any(|h| h.messages.len() == 1)).await;
    drop(first);
    let mut second = server.accept().await;
    assert_eq!(text(&mut second).await["type"], "ris_subscribe", "it asks again");
    second.send(Message::text(NEWS)).await.unwrap();
    client.ear.until("another", |heard| heard.get(&1).is_some_and(|h| h.messages.len() == 1)).await;
    let (reason, is_gap) = client.ear.heard[&0].closed.clone().unwrap();
    assert!(is_gap, "{reason}");
    assert_eq!(client.ear.heard[&1].messages[0].0, 1, "a number is never used twice");
    assert_eq!((client.counts.opened.get(), client.counts.closed.get()), (2, 1));
}

#[tokio::test]
async fn pings_keep_a_quiet_session_and_a_dead_one_is_given_up() {
    let server = Server::new().await;
    let mut client = server.client(|config| {
        (config.ping_secs, config.silence_timeout_secs, config.quiet_after_secs) = (1, 2, 3);
        config.reconnect_secs_max = 1;
    });
    let mut alive = server.accept().await;
    // Reading answers pings, so this server lives, and says nothing.
    let listens = async { while let Some(Ok(_)) = alive.next().await {} };
    let quiet = async {
        while client.counts.quiet.get() == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let both = async {
        tokio::select! { () = listens => panic!("given up"), () = quiet => {} }
    };
    timeout(PATIENCE, both).await.unwrap();
    assert_eq!((client.counts.silent.get(), client.counts.closed.get()), (0, 0));
    // From here on nobody reads: no pong comes.
    client.ear.until("given up", |heard| heard.get(&0).is_some_and(Heard::is_over)).await;
    assert_eq!(client.ear.heard[&0].closed, Some(("no sign of life for 2 s".to_owned(), true)));
    assert_eq!(client.counts.silent.get(), 1);
    server.accept().await;
}

#[tokio::test]
async fn a_message_too_long_and_a_server_that_is_no_websocket_are_counted_and_tried_again() {
    let server = Server::new().await;
    let mut client = server.client(|config| {
        (config.message_bytes_max, config.reconnect_secs_max) = (4096, 1);
    });
    let (web, _) = server.listener.accept().await.unwrap();
    drop(web);
    let mut websocket = server.accept().await;
    assert_eq!(client.counts.dial_failed.get(), 1);
    websocket.send(Message::text("x".repeat(5000))).await.unwrap();
    client.ear.until("refused", |heard| heard.values().any(Heard::is_over)).await;
    let told = "a message longer than message_bytes_max = 4096";
    assert_eq!(client.ear.heard[&0].closed, Some((told.to_owned(), true)));
    assert_eq!(client.counts.refused.get(), 1);
    server.accept().await;
}

#[test]
fn more_subscriptions_than_allowed_are_refused_with_a_remedy() {
    let config =
        RisLive { subscriptions_max: 2, url: "ws://127.0.0.1/".to_owned(), ..Default::default() };
    let owners = registered(&["192.0.2.0/24", "198.51.100.0/24"]);
    let told = RisLiveSource::new(config, owners.registry(), 0).err().unwrap().to_string();
    assert!(told.starts_with("4 subscriptions exceed subscriptions_max = 2"), "{told}");
}

#[test]
fn the_wait_is_between_half_and_whole() {
    for _ in 0..100 {
        let wait = jittered(Duration::from_secs(8));
        assert!((4..=8).contains(&wait.as_secs()), "{wait:?}");
    }
}
