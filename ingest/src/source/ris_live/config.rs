//! `[source.NAME]` with `kind = "ris_live"`: the keys, and what is subscribed to.

use std::path::PathBuf;

use schemas::bgp::{Asn, Prefix};
use serde::Deserialize;

/// `kind = "ris_live"`: what RIPE's collectors hear, over a websocket.
///
/// RIS Live does not say again what was missed: each reconnect is a gap, told in `feed_gaps`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RisLive {
    /// Where it is.
    pub url: String,
    /// What is asked for: `registered` (prefixes that touch ours, paths with a watched AS), or
    /// `all`.
    pub subscribe: Subscribe,
    /// One collector, such as `rrc21`; absent: all of them.
    pub host: Option<String>,
    /// Roots of the server's certificate, PEM; absent: those of the system.
    pub ca: Option<PathBuf>,
    /// Subscriptions at most; with more `subscribe = "all"` is the way.
    pub subscriptions_max: u32,
    /// Subscriptions sent a second.
    pub subscriptions_per_sec_max: u32,
    /// Longest message accepted.
    pub message_bytes_max: u32,
    /// How long a connect may take, with TLS and handshake.
    pub connect_timeout_secs: u32,
    /// A ping goes out when nothing came for this long.
    pub ping_secs: u32,
    /// Without any sign of life for this long the session is given up.
    pub silence_timeout_secs: u32,
    /// No message for this long, though the server answers pings, is told. Narrow subscriptions are
    /// quiet by nature.
    pub quiet_after_secs: u32,
    /// Shortest wait before the next try; it doubles with each one.
    pub reconnect_secs_min: u32,
    /// Longest wait before the next try.
    pub reconnect_secs_max: u32,
    /// Collector that rows name; absent: the one that the message names.
    pub collector: Option<String>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subscribe {
    /// Prefixes that touch a registered one, and paths with a watched AS.
    #[default]
    Registered,
    /// Everything.
    All,
}

impl Default for RisLive {
    fn default() -> Self {
        Self {
            url: "wss://ris-live.ripe.net/v1/ws/?client=peerscope".to_owned(),
            subscribe: Subscribe::default(),
            host: None,
            ca: None,
            subscriptions_max: 10_000,
            subscriptions_per_sec_max: 50,
            message_bytes_max: 1024 * 1024,
            connect_timeout_secs: 20,
            ping_secs: 20,
            silence_timeout_secs: 60,
            quiet_after_secs: 900,
            reconnect_secs_min: 1,
            reconnect_secs_max: 60,
            collector: None,
        }
    }
}

impl RisLive {
    /// What is wrong with the values, if anything.
    ///
    /// # Errors
    /// The problem in words.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("subscriptions_max", self.subscriptions_max),
            ("subscriptions_per_sec_max", self.subscriptions_per_sec_max),
            ("message_bytes_max", self.message_bytes_max),
            ("connect_timeout_secs", self.connect_timeout_secs),
            ("ping_secs", self.ping_secs),
            ("silence_timeout_secs", self.silence_timeout_secs),
            ("quiet_after_secs", self.quiet_after_secs),
            ("reconnect_secs_min", self.reconnect_secs_min),
        ];
        if let Some((key, _)) = numbers.iter().find(|(_, value)| *value == 0) {
            Err(format!("{key} is 0; leave it out for the default"))
        } else if self.silence_timeout_secs <= self.ping_secs {
            Err("silence_timeout_secs must exceed ping_secs, or no ping is ever sent".to_owned())
        } else if self.reconnect_secs_max < self.reconnect_secs_min {
            Err("reconnect_secs_max is below reconnect_secs_min".to_owned())
        } else {
            super::Endpoint::of(&self.url).map(|_| ()).map_err(|error| error.to_string())
        }
    }

    /// The files that are named, for the caller to make paths absolute.
    pub fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        self.ca.iter_mut().collect()
    }

    /// The texts that subscribe: one for each prefix that no other covers, one for each AS, one for
    /// the states of peers; or a single one for everything.
    pub(super) fn subscriptions(&self, prefixes: &[Prefix], asns: &[Asn]) -> Vec<String> {
        let mut filters = Vec::new();
        if self.subscribe == Subscribe::All {
            filters.push(serde_json::json!({}));
        } else {
            let mut prefixes = prefixes.to_vec();
            prefixes
                .sort_unstable_by_key(|prefix| (prefix.family(), prefix.first(), prefix.length()));
            let mut covering: Option<Prefix> = None;
            for prefix in prefixes {
                if covering.is_none_or(|covering| !covering.covers(&prefix)) {
                    covering = Some(prefix);
                    let prefix = prefix.to_string();
                    filters.push(serde_json::json!({
                        "prefix": prefix, "moreSpecific": true, "lessSpecific": true,
                    }));
                }
            }
            let paths = asns.iter().map(|asn| serde_json::json!({ "path": asn.0.to_string() }));
            filters.extend(paths);
            filters.push(serde_json::json!({ "type": "RIS_PEER_STATE" }));
        }
        filters.into_iter().map(|filter| self.subscription(filter)).collect()
    }

    fn subscription(&self, mut data: serde_json::Value) -> String {
        if let Some(data) = data.as_object_mut() {
            let host = self.host.iter().map(|host| ("host".to_owned(), host.as_str().into()));
            data.extend(host);
            let options = serde_json::json!({ "includeRaw": true });
            data.insert("socketOptions".to_owned(), options);
        }
        serde_json::json!({ "type": "ris_subscribe", "data": data }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_asked_for_once_with_both_its_sides() {
        let prefixes: Vec<Prefix> = ["198.51.100.128/25", "2001:db8::/32", "198.51.100.0/24"]
            .map(|prefix| prefix.parse().unwrap())
            .to_vec();
        let config = RisLive { host: Some("rrc21".to_owned()), ..Default::default() };
        let asked = config.subscriptions(&prefixes, &[Asn(64500)]);
        let asked: Vec<serde_json::Value> =
            asked.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        assert!(asked.iter().all(|text| text["type"] == "ris_subscribe"
            && text["data"]["host"] == "rrc21"
            && text["data"]["socketOptions"]["includeRaw"] == true));
        let prefixes: Vec<_> = asked.iter().filter_map(|t| t["data"]["prefix"].as_str()).collect();
        assert_eq!(prefixes, ["198.51.100.0/24", "2001:db8::/32"], "the /25 is within the /24");
        assert_eq!(asked[0]["data"]["moreSpecific"], true);
        assert_eq!(asked[0]["data"]["lessSpecific"], true);
        assert_eq!(asked[2]["data"]["path"], "64500");
        assert_eq!(asked[3]["data"]["type"], "RIS_PEER_STATE");
        let config = RisLive { subscribe: Subscribe::All, ..Default::default() };
        assert_eq!(config.subscriptions(&[], &[]).len(), 1);
    }
}
