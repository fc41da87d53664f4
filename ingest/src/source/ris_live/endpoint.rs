//! Where a websocket server is, and the way to it: TCP, TLS where the URL says so, handshake.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::http::uri::InvalidUri;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config, tungstenite};

/// Why a URL is no address of a websocket server.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL.
    #[error("{url:?} is no URL: {error}")]
    Malformed {
        /// What was read.
        url: String,
        /// What is wrong with it.
        error: InvalidUri,
    },
    /// Not one of ours.
    #[error("{url:?} is not of the form wss://host/path")]
    NoWebsocket {
        /// What was read.
        url: String,
    },
    /// A host that no certificate can name.
    #[error("{host:?} is no host name: {error}")]
    Host {
        /// The host in it.
        host: String,
        /// What is wrong with it.
        error: InvalidDnsNameError,
    },
}

/// Why a server was not reached, or is not heard any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Websocket(#[from] tungstenite::Error),
}

/// The address of a server.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    uri: Uri,
    host: String,
    port: u16,
    tls_name: Option<ServerName<'static>>,
}

/// A socket, in clear or not.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A websocket on it.
pub(super) type Websocket = WebSocketStream<Box<dyn Socket>>;

impl Endpoint {
    /// Reads a URL.
    pub(super) fn of(url: &str) -> Result<Self, EndpointError> {
        let malformed = |error| EndpointError::Malformed { url: url.to_owned(), error };
        let uri: Uri = url.parse().map_err(malformed)?;
        let no_websocket = || EndpointError::NoWebsocket { url: url.to_owned() };
        let is_tls = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            _ => return Err(no_websocket()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(no_websocket)?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tls_name = is_tls
            .then(|| ServerName::try_from(host.clone()))
            .transpose()
            .map_err(|error| EndpointError::Host { host: host.clone(), error })?;
        Ok(Self { uri, host, port, tls_name })
    }

    /// Whether it is reached by TLS.
    pub(super) const fn is_tls(&self) -> bool {
        self.tls_name.is_some()
    }

    /// The server in words.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Dials; the caller bounds the time.
    pub(super) async fn dial(
        &self,
        tls: Option<Arc<ClientConfig>>,
        message_bytes_max: usize,
    ) -> Result<Websocket, DialError> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await?;
        socket.set_nodelay(true)?;
        let socket: Box<dyn Socket> = match (&self.tls_name, tls) {
            (Some(name), Some(tls)) => {
                Box::new(TlsConnector::from(tls).connect(name.clone(), socket).await?)
            }
            _ => Box::new(socket),
        };
        let limits = WebSocketConfig::default()
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let (websocket, _) =
            client_async_with_config(self.uri.clone(), socket, Some(limits)).await?;
        Ok(websocket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_a_port_and_whether_it_is_tls() {
        let of = |url| {
            let endpoint = Endpoint::of(url).unwrap();
            (endpoint.name(), endpoint.is_tls())
        };
        let ripe = "wss://ris-live.ripe.net/v1/ws/?client=peerscope";
        assert_eq!(of(ripe), ("ris-live.ripe.net:443".to_owned(), true));
        assert_eq!(of("ws://127.0.0.1:8080/x"), ("127.0.0.1:8080".to_owned(), false));
        assert_eq!(of("ws://[::1]/").0, "::1:80");
        for url in ["https://example.org/", "ris-live.ripe.net", "wss://", "ws:///x", ""] {
            assert!(Endpoint::of(url).is_err(), "{url}");
        }
    }
}
