//! `peerscope check`: is the configuration right, and the reference data it names?

use std::io::Write as _;

use super::{Ended, Global};
use crate::reference::FileError;
use crate::replay::load_reference;

/// Validate configuration and reference data
#[derive(Debug, clap::Args)]
pub struct Check {}

impl Check {
    /// Runs the command.
    ///
    /// # Errors
    /// [`crate::config::ConfigError`] or a reference file that is refused.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let config = global.load()?;
        let reference = load_reference(&config.reference)?;
        let registry = &config.registry;
        let prefixes: usize = registry.connections().iter().map(|c| c.prefixes.len()).sum();
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "configuration is valid: {} connections, {prefixes} prefixes, {} watched ASes",
            registry.connections().len(),
            registry.watched().len(),
        )?;
        if !reference.relationships.is_empty() {
            writeln!(out, "as_relationships: {} pairs", reference.relationships.len())?;
        }
        if !reference.organisations.is_empty() {
            writeln!(out, "organisations: {} AS numbers", reference.organisations.len())?;
        }
        if !reference.vrps.is_empty() {
            writeln!(out, "vrps: {} VRPs", reference.vrps.len())?;
        }
        if !reference.aspas.is_empty() {
            writeln!(out, "aspas: {} customers", reference.aspas.len())?;
        }
        for database in reference.geo.databases() {
            database.verify().map_err(|error| FileError {
                path: config.reference.geoip.clone().unwrap_or_default(),
                error: error.into(),
            })?;
            writeln!(out, "geoip: {}, whole", database.name())?;
        }
        if !reference.geo.edges.is_empty() {
            writeln!(out, "edges: {} edges", reference.geo.edges.len())?;
        }
        if reference.relationships.is_empty() && prefixes > 0 {
            writeln!(
                out,
                "note: without [reference] as_relationships no path is judged: of a made-up one an innocent \
                 AS can be named"
            )?;
        }
        for connection in registry.connections() {
            let name = &connection.name;
            if connection.prefixes.is_empty() {
                writeln!(out, "note: {name} registers no prefix, nothing will be seen of it")?;
            }
            if connection.origin_asns.is_none() && !connection.prefixes.is_empty() {
                writeln!(
                    out,
                    "note: {name} names no origin_asns, they are learned from a table dump"
                )?;
            }
        }
        for token in &config.http.token {
            let Some(tenant) = &token.tenant else { continue };
            if !registry.connections().iter().any(|connection| connection.tenant == *tenant) {
                let name = &token.name;
                writeln!(out, "note: token {name} is of tenant {tenant}, which has no connection")?;
            }
        }
        Ok(Ended::Well)
    }
}
