//! A small object store on loopback that can lie and fail: what S3, Azure Blob and Google Cloud
//! Storage speak to a client that puts, reads, lists and deletes, without a signature being checked.
//!
//! Each PUT takes the next of the faults that were asked for.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What goes wrong with one PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Refused with this status; nothing lands.
    Status(u16),
    /// The bytes land, and then it is refused with this status.
    StatusAfterLanding(u16),
    /// The session is closed; nothing lands.
    Close,
    /// The bytes land, and then the session is closed without an answer.
    CloseAfterLanding,
    /// The bytes land, and no answer comes.
    SilenceAfterLanding,
    /// Somebody else's bytes land first.
    Overtaken,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    faults: VecDeque<Fault>,
    /// Whether If-None-Match is ignored.
    lies: bool,
    /// The status of every answer.
    refuses: Option<u16>,
}

/// A running store.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

/// One request: method, path without the bucket, query, headers, body.
struct Request {
    method: String,
    key: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Server {
    /// Starts one; it ends with the process.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for session in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(&session, &state));
            }
        });
        Self { url, state }
    }

    /// What goes wrong with the next PUTs.
    pub(crate) fn fail(&self, faults: &[Fault]) {
        self.state.lock().unwrap().faults.extend(faults);
    }

    /// Forgets what goes wrong.
    pub(crate) fn recover(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// Ignores conditions from now on.
    pub(crate) fn lie(&self) {
        self.state.lock().unwrap().lies = true;
    }

    /// Refuses everything from now on.
    pub(crate) fn refuse(&self, status: u16) {
        self.state.lock().unwrap().refuses = Some(status);
    }

    /// The objects there, with their sizes.
    pub(crate) fn objects(&self) -> Vec<(String, usize)> {
        let state = self.state.lock().unwrap();
        state.objects.iter().map(|(key, bytes)| (key.clone(), bytes.len())).collect()
    }
}

/// Answers the requests of one session until it ends.
fn serve(session: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(session);
    while let Some(request) = read(&mut reader) {
        if answer(&request, session, state).is_none() {
            // Dropped without an answer: the client sees a session that ends.
            session.shutdown(std::net::Shutdown::Both).ok();
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (_, key) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    let (key, query) = (decoded(key), decoded(query));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, key, query, headers, body })
}

/// `%2F` and its like as what they stand for.
fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        let code: Vec<u8> = if byte == b'%' { bytes.by_ref().take(2).collect() } else { vec![] };
        let code = std::str::from_utf8(&code).ok().and_then(|c| u8::from_str_radix(c, 16).ok());
        decoded.push(code.unwrap_or(byte));
    }
    String::from_utf8(decoded).unwrap()
}

/// Sends one answer; none if the session is to be closed without one.
fn answer(request: &Request, session: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let (status, body) = parts(request, state)?;
    let is_head = request.method == "HEAD";
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\nETag: \"1\"\r\n\
         x-goog-generation: 1\r\nLast-Modified: Mon, 02 Mar 2026 00:00:00 GMT\r\n\r\n"
    );
    let mut session = session;
    session.write_all(head.as_bytes()).ok()?;
    session.write_all(if is_head { &[] } else { &body }).ok()
}

fn parts(request: &Request, state: &Mutex<State>) -> Option<(u16, Vec<u8>)> {
    let mut state = state.lock().unwrap();
    if let Some(status) = state.refuses {
        return Some((status, b"<Error><Code>Refused</Code></Error>".to_vec()));
    }
    match request.method.as_str() {
        "PUT" => put(request, state),
        "DELETE" => Some((state.objects.remove(&request.key).map_or(404, |_| 204), Vec::new())),
        "POST" => {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let mut xml = String::from("<DeleteResult>");
            for key in body.split("<Key>").skip(1) {
                let key = key.split("</Key>").next()?;
                state.objects.remove(key);
                let _ = write!(xml, "<Deleted><Key>{key}</Key></Deleted>");
            }
            Some((200, format!("{xml}</DeleteResult>").into_bytes()))
        }
        _ if request.key.is_empty() => Some((200, listing(&state, &request.query))),
        _ => Some(match state.objects.get(&request.key) {
            Some(bytes) => (200, bytes.clone()),
            None => (404, Vec::new()),
        }),
    }
}

fn put(request: &Request, mut state: std::sync::MutexGuard<'_, State>) -> Option<(u16, Vec<u8>)> {
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    let creates =
        header("if-none-match") == Some("*") || header("x-goog-if-generation-match") == Some("0");
    let fault = state.faults.pop_front();
    if fault == Some(Fault::Overtaken) {
        state.objects.insert(request.key.clone(), b"of somebody else".to_vec());
    }
    if creates && !state.lies && state.objects.contains_key(&request.key) {
        // Azure says 409, the others 412.
        let status = if header("x-ms-blob-type").is_some() { 409 } else { 412 };
        return Some((status, Vec::new()));
    }
    let land = |state: &mut State| {
        state.objects.insert(request.key.clone(), request.body.clone());
    };
    match fault {
        Some(Fault::Status(status)) => Some((status, Vec::new())),
        Some(Fault::Close) => None,
        Some(Fault::StatusAfterLanding(status)) => {
            land(&mut state);
            Some((status, Vec::new()))
        }
        Some(Fault::CloseAfterLanding) => {
            land(&mut state);
            None
        }
        Some(Fault::SilenceAfterLanding) => {
            land(&mut state);
            drop(state);
            std::thread::sleep(std::time::Duration::from_secs(3));
            None
        }
        Some(Fault::Overtaken) | None => {
            land(&mut state);
            Some((201, Vec::new()))
        }
    }
}

/// ListObjectsV2 as S3 and Google Cloud Storage answer it, in one page.
fn listing(state: &State, query: &str) -> Vec<u8> {
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map_or("", |(_, value)| value).to_owned()
    };
    let (prefix, delimiter) = (value("prefix"), value("delimiter"));
    let mut xml = String::from("<ListBucketResult>");
    let mut folders = std::collections::BTreeSet::new();
    for (key, bytes) in &state.objects {
        let Some(rest) = key.strip_prefix(&prefix) else { continue };
        match rest.split_once('/').filter(|_| !delimiter.is_empty()) {
            Some((folder, _)) => {
                folders.insert(format!("{prefix}{folder}/"));
            }
            None => {
                let _ = write!(
                    xml,
                    "<Contents><Key>{key}</Key><Size>{}</Size><ETag>\"1\"</ETag>\
                     <LastModified>2026-03-02T00:00:00.000Z</LastModified></Contents>",
                    bytes.len()
                );
            }
        }
    }
    for folder in folders {
        let _ = write!(xml, "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
    }
    xml.push_str("</ListBucketResult>");
    xml.into_bytes()
}
