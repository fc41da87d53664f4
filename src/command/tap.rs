//! `peerscope tap`: what enters the log of a running service, as it comes.

use std::io::Write as _;
use std::path::PathBuf;

use ingest::log::embedded::Tail;
use schemas::batch::{Action, Content, Control, EventBatch};
use schemas::bgp::Prefix;
use schemas::registry::Registry;
use schemas::time::Timestamp;
use serde_json::json;

use super::{Ended, Global};

/// How elements are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a person
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// What enters the log of a running service, as it comes
#[derive(Debug, clap::Args)]
pub struct Tap {
    /// Only what touches the prefixes of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,

    /// Only what covers this prefix or lies in it
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<Prefix>,

    /// Folder of the log, else the configuration's
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,

    /// End after this many lines
    #[arg(long, value_name = "COUNT")]
    lines_max: Option<u64>,

    /// How elements are printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

/// What is wanted of the feed.
struct Filter {
    domain: String,
    prefixes: Vec<Prefix>,
}

impl Tap {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no log, or stdout fails.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let config = match (&self.log, &self.connection) {
            (Some(_), None) => None,
            _ => Some(global.load()?),
        };
        let filter = self.filter(config.as_ref().map(|config| &*config.registry))?;
        let folder = match (&self.log, &config) {
            (Some(folder), _) => folder.clone(),
            (None, Some(config)) => config.log.path.clone(),
            (None, None) => PathBuf::from(crate::config::DEFAULT_LOG),
        };
        let mut tail = Tail::open(&folder)?;
        let mut left = self.lines_max.unwrap_or(u64::MAX);
        let mut out = std::io::stdout().lock();
        loop {
            let Some(batches) = tail.poll()? else {
                out.flush()?;
                tail.rest();
                continue;
            };
            for line in batches.iter().flat_map(|batch| lines(batch, &filter, self.format)) {
                writeln!(out, "{line}")?;
                left -= 1;
                if left == 0 {
                    return Ok(Ended::Well);
                }
            }
        }
    }

    fn filter(&self, registry: Option<&Registry>) -> anyhow::Result<Filter> {
        let mut filter = Filter { domain: String::new(), prefixes: Vec::new() };
        if let Some(name) = &self.connection {
            let connection = registry
                .and_then(|registry| registry.connection(registry.id_of(name)?))
                .ok_or_else(|| anyhow::anyhow!("no connection is named {name:?}"))?;
            filter.domain.clone_from(&connection.routing_domain);
            filter.prefixes.extend(connection.prefixes.iter().map(|one| one.prefix));
        }
        filter.prefixes.extend(self.prefix);
        Ok(filter)
    }
}

impl Filter {
    fn wants(&self, domain: &str, prefix: &Prefix) -> bool {
        let touches = |own: &Prefix| own.covers(prefix) || prefix.covers(own);
        (self.domain.is_empty() || self.domain == domain)
            && (self.prefixes.is_empty() || self.prefixes.iter().any(touches))
    }
}

/// The lines of a batch, in its order; each copy of an element once.
fn lines(batch: &EventBatch, filter: &Filter, format: Format) -> Vec<String> {
    let mut lines = Vec::new();
    for run in batch.runs() {
        for behind in 0..run.count {
            let line = match run.first {
                Content::Route(row) => route(batch, row + behind, filter, format),
                Content::Sample(row) => sample(batch, row + behind, filter, format),
                Content::Control(index) => batch
                    .controls
                    .get((index + behind) as usize)
                    .filter(|_| batch.partition == 0)
                    .and_then(|control| session(batch, control, format)),
            };
            lines.extend(line);
        }
    }
    lines
}

fn route(batch: &EventBatch, row: u32, filter: &Filter, format: Format) -> Option<String> {
    let route = batch.routes.get(row)?;
    let message = batch.message_of(&route)?;
    let peer = batch.peers.get(message.peer as usize)?;
    if !route.writes || !filter.wants(&peer.routing_domain, &route.prefix) {
        return None;
    }
    let announced = route.action == Action::Announce;
    let attributes = batch.attributes_of(&message).filter(|_| announced);
    let path = attributes.map(|attributes| attributes.as_path.to_string());
    let (time, action, view) = (message.event_time, route.action.as_str(), peer.rib_view.as_str());
    Some(match format {
        Format::Text => {
            let path = path.map_or_else(String::new, |path| format!(" via {path}"));
            format!("{time} {action} {} {} {} {view}{path}", route.prefix, peer.address, peer.asn)
        }
        Format::Json => json!({
            "time": time.to_string(), "kind": action, "prefix": route.prefix.to_string(),
            "path_id": route.path_id, "collector": &*peer.collector, "router": peer.router,
            "peer_ip": peer.address.to_string(), "peer_asn": peer.asn.0, "rib_view": view,
            "as_path": path, "next_hop": attributes.and_then(|one| one.next_hop),
            "routing_domain": &*peer.routing_domain,
        })
        .to_string(),
    })
}

fn sample(batch: &EventBatch, row: u32, filter: &Filter, format: Format) -> Option<String> {
    let sample = batch.samples.get(row)?;
    let series = batch.series.get(sample.series)?;
    let source = batch.sources.get(series.source as usize)?;
    if !filter.wants(&filter.domain, &series.prefix) {
        return None;
    }
    let (time, prefix) = (sample.event_time, series.prefix);
    Some(match (format, sample.rtt_us) {
        (Format::Text, Some(rtt_us)) => format!("{time} rtt {prefix} {source} {rtt_us} us"),
        (Format::Text, None) => format!("{time} lost {prefix} {source}"),
        (Format::Json, rtt_us) => json!({
            "time": time.to_string(), "kind": "rtt", "prefix": prefix.to_string(),
            "source": &**source, "rtt_us": rtt_us,
        })
        .to_string(),
    })
}

fn session(batch: &EventBatch, control: &Control, format: Format) -> Option<String> {
    let Control::Peer { peer, state, event_time, reason, .. } = control else { return None };
    let peer = batch.peers.get(*peer as usize)?;
    let (time, state, view): (&Timestamp, _, _) =
        (event_time, state.as_str(), peer.rib_view.as_str());
    Some(match format {
        Format::Text => {
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            format!("{time} session {state} {} {} {view}{reason}", peer.address, peer.asn)
        }
        Format::Json => json!({
            "time": time.to_string(), "kind": "session", "state": state,
            "collector": &*peer.collector, "router": peer.router,
            "peer_ip": peer.address.to_string(), "peer_asn": peer.asn.0, "rib_view": view,
            "reason": reason.as_deref(),
        })
        .to_string(),
    })
}
