//! `[http]`: the keys of the HTTP listener, and who may speak to it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use ingest::source::tls::TlsFiles;
use serde::Deserialize;

/// `[http]`: samples come in, metrics go out; off unless `listen` is set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address to listen on; absent: there is no listener.
    pub listen: Option<SocketAddr>,
    /// Who may speak to it. Without tokens everybody who reaches it may.
    pub token: Vec<HttpToken>,
    /// Certificate of the listener: sessions are TLS then.
    pub tls: Option<TlsFiles>,
    /// Open to other machines without tokens.
    pub allow_without_tokens: bool,
    /// Open to other machines without TLS.
    pub allow_without_tls: bool,
    /// `/metrics` needs no token.
    pub metrics_without_token: bool,
    /// Longest body, unpacked.
    pub body_bytes_max: u32,
    /// Bodies in memory at once; one more is put off.
    pub bodies_max: u16,
    /// Requests a second of one token on average.
    pub requests_per_sec_max: u32,
    /// Sessions served at once; one more is closed and counted.
    pub sessions_max: u16,
    /// A request's head that is not whole after this time ends its session.
    pub header_timeout_secs: u32,
    /// A request that is not answered after this time is given up.
    pub request_timeout_secs: u32,
    /// How long one session may be used.
    pub session_secs_max: u32,
    /// Connections of which `/metrics` tells round trips.
    pub metric_connections_max: u32,
    /// Queries answered at once; one more is put off.
    pub queries_max: u16,
    /// Rows of an answer.
    pub query_rows_max: u64,
    /// How long a query may take, with its answer.
    pub query_secs_max: u32,
    /// Memory for the queries of one tenant, or of the operator; what needs more spills to the temporary folder.
    pub query_memory_bytes_max: u64,
    /// What they may spill there.
    pub query_spill_bytes_max: u64,
}

/// `[[http.token]]`: one who may speak to the listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpToken {
    /// What the log calls it.
    pub name: String,
    /// SHA-256 of the token, hexadecimal: the token itself is written nowhere.
    pub sha256: String,
    /// Samples on connections of this tenant only; absent: of all.
    #[serde(default)]
    pub tenant: Option<String>,
    /// What it may do.
    #[serde(default = "rtt_only")]
    pub scopes: BTreeSet<Scope>,
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Bring samples.
    Rtt,
    /// Read metrics.
    Metrics,
    /// Ask the lake.
    Sql,
}

impl Scope {
    /// Its word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rtt => "rtt",
            Self::Metrics => "metrics",
            Self::Sql => "sql",
        }
    }
}

fn rtt_only() -> BTreeSet<Scope> {
    BTreeSet::from([Scope::Rtt])
}

/// Hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: None,
            token: Vec::new(),
            tls: None,
            allow_without_tokens: false,
            allow_without_tls: false,
            metrics_without_token: false,
            body_bytes_max: 16 << 20,
            bodies_max: 16,
            requests_per_sec_max: 100,
            sessions_max: 256,
            header_timeout_secs: 10,
            request_timeout_secs: 20,
            session_secs_max: 3600,
            metric_connections_max: 1_000,
            queries_max: 4,
            query_rows_max: 1_000_000,
            query_secs_max: 60,
            query_memory_bytes_max: 512 << 20,
            query_spill_bytes_max: 4 << 30,
        }
    }
}

impl HttpConfig {
    /// What is wrong with the values, if anything.
    ///
    /// # Errors
    /// The problem in words, with its remedy.
    pub fn check(&self) -> Result<(), String> {
        self.check_tokens()?;
        let limits = [
            ("body_bytes_max", self.body_bytes_max >= 1024, "at least 1024"),
            ("bodies_max", self.bodies_max > 0, "at least 1"),
            ("requests_per_sec_max", self.requests_per_sec_max > 0, "at least 1"),
            ("sessions_max", self.sessions_max > 0, "at least 1"),
            ("header_timeout_secs", self.header_timeout_secs > 0, "at least 1"),
            ("request_timeout_secs", self.request_timeout_secs > 0, "at least 1"),
            ("session_secs_max", self.session_secs_max > 0, "at least 1"),
            ("queries_max", self.queries_max > 0, "at least 1"),
            ("query_secs_max", self.query_secs_max > 0, "at least 1"),
            ("query_memory_bytes_max", self.query_memory_bytes_max >= 1 << 20, "at least 1048576"),
        ];
        if let Some((key, _, bound)) = limits.iter().find(|(_, holds, _)| !holds) {
            return Err(format!("{key} is {bound}"));
        }
        let Some(listen) = self.listen else { return Ok(()) };
        if listen.ip().to_canonical().is_loopback() {
            Ok(())
        } else if self.token.is_empty() && !self.allow_without_tokens {
            Err(format!(
                "listen = \"{listen}\" is open to other machines and there is no [[http.token]]; make \
                 one with `peerscope http token NAME`, listen on 127.0.0.1, or set \
                 allow_without_tokens = true"
            ))
        } else if self.tls.is_none() && !self.allow_without_tls {
            Err(format!(
                "listen = \"{listen}\" is open to other machines and tokens would go there in clear; \
                 set tls = {{ certificate = \"cert.pem\", key = \"key.pem\" }}, listen on 127.0.0.1 \
                 behind a proxy, or set allow_without_tls = true"
            ))
        } else {
            Ok(())
        }
    }

    fn check_tokens(&self) -> Result<(), String> {
        let (mut names, mut hashes) = (BTreeSet::new(), BTreeSet::new());
        for HttpToken { name, sha256, scopes, .. } in &self.token {
            let is_hash = sha256.len() == SHA256_DIGITS
                && sha256.bytes().all(|digit| digit.is_ascii_hexdigit());
            if name.is_empty() {
                return Err("a token needs a name".to_owned());
            } else if !is_hash {
                return Err(format!(
                    "token {name:?}: sha256 is no SHA-256 in hexadecimal; `peerscope http token` \
                     makes a token with its hash"
                ));
            } else if scopes.is_empty() {
                return Err(format!("token {name:?}: scopes is empty, it could do nothing"));
            } else if !names.insert(name) {
                return Err(format!("two tokens are named {name:?}"));
            } else if !hashes.insert(sha256.to_ascii_lowercase()) {
                return Err(format!("token {name:?} is the same as another one"));
            }
        }
        Ok(())
    }

    /// The files that are named, for the caller to make paths absolute.
    pub fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let tls = self.tls.iter_mut();
        tls.flat_map(|tls| {
            [&mut tls.certificate, &mut tls.key].into_iter().chain(&mut tls.client_ca)
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(change: impl FnOnce(&mut HttpConfig)) -> String {
        let mut config = HttpConfig { listen: "192.0.2.1:8080".parse().ok(), ..Default::default() };
        change(&mut config);
        config.check().unwrap_err()
    }

    fn token(name: &str, digit: &str) -> HttpToken {
        HttpToken {
            name: name.to_owned(),
            sha256: digit.repeat(SHA256_DIGITS),
            tenant: None,
            scopes: rtt_only(),
        }
    }

    #[test]
    fn a_listener_for_others_needs_tokens_and_tls_or_a_word_that_it_does_not() {
        assert!(refuse(|_| ()).contains("no [[http.token]]"));
        assert!(refuse(|config| config.token = vec![token("a", "0")]).contains("in clear"));
        let mut open = HttpConfig { listen: "[::]:8080".parse().ok(), ..Default::default() };
        open.allow_without_tokens = true;
        open.allow_without_tls = true;
        assert_eq!(open.check(), Ok(()));
        let here = HttpConfig { listen: "127.0.0.1:0".parse().ok(), ..Default::default() };
        assert_eq!(here.check(), Ok(()));
    }

    #[test]
    fn tokens_that_cannot_be_are_refused() {
        assert!(refuse(|config| config.token = vec![token("a", "x")]).contains("no SHA-256"));
        let two = |other, digit| vec![token("a", "a"), token(other, digit)];
        assert!(refuse(|config| config.token = two("a", "b")).contains("two tokens"));
        assert!(refuse(|config| config.token = two("b", "A")).contains("the same"));
        assert!(refuse(|config| config.bodies_max = 0).contains("bodies_max is at least 1"));
    }
}
