//! Geography: where a registered prefix is, how far that is from the cloud, and how soon light is there.
//!
//! A [`Geo`] is one snapshot of MMDB files and of the edge catalogue, swapped whole. It is asked once for
//! each registered prefix when a version of the registry or of the reference data begins, never for
//! a sample: [`Geo::enrich`] gives the [`GeoTable`] that a fold keeps.
//!
//! - [`database`]: one MMDB in memory, recognised by its metadata.
//! - [`edges`] reads `edges.csv`.
//! - [`distance`]: great circles and light in fibre, pure.
//!
//! The registered location counts first. Without one it is the database's, and its accuracy radius is
//! subtracted from every distance, so that a bound stays a bound.

pub mod database;
pub mod distance;
pub mod edges;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use schemas::bgp::{Asn, Prefix};
use schemas::connection::{Connection, PUBLIC_ROUTING_DOMAIN};
use schemas::registry::{ConnectionId, Owner, Registry};
use schemas::tables::Text;

use database::{Database, Kind, Place};
use distance::{Point, is_mismatch, rtt_floor_us};
use edges::Edges;

/// MMDB files and the edge catalogue. Empty where nothing is configured.
#[derive(Debug, Default)]
pub struct Geo {
    /// At most one of each kind.
    databases: Vec<Arc<Database>>,
    /// The edge catalogue.
    pub edges: Arc<Edges>,
}

/// What is known of one registered prefix of one connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GeoFacts {
    /// Country of the prefix: `geo_country`.
    pub country: Option<Text>,
    /// Its largest subdivision: `geo_subdivision`.
    pub subdivision: Option<Text>,
    /// AS that announces it, by the database: `geo_asn`.
    pub asn: Option<Asn>,
    /// The nearest edge: `edge_nearest`.
    pub edge_nearest: Option<Text>,
    /// Distance to it, at least: `edge_distance_km`.
    pub edge_distance_km: Option<u32>,
    /// No round trip to any edge is shorter than this: light in fibre over that distance and back.
    pub rtt_floor_us: Option<u32>,
}

impl GeoFacts {
    /// Whether a smallest round trip is too short for the registered place: `geo_mismatch`. None without
    /// a distance or an answer.
    #[must_use]
    pub fn mismatch(&self, rtt_min_us: Option<u32>) -> Option<bool> {
        Some(is_mismatch(rtt_min_us?, self.rtt_floor_us?))
    }
}

/// The facts of all registrations of one version of the registry.
#[derive(Debug, Default)]
pub struct GeoTable {
    of: BTreeMap<Owner, GeoFacts>,
    /// Prefixes of which a database could not be read, with the first reason.
    pub damaged: Option<(u64, String)>,
}

impl GeoTable {
    /// What is known of a registration; none if it was not registered, or no geography is configured.
    #[must_use]
    pub fn of(&self, connection: ConnectionId, prefix: Prefix) -> Option<&GeoFacts> {
        self.of.get(&Owner { connection, prefix })
    }
}

impl Geo {
    /// Adds a database. One of its kind that is there already is replaced.
    pub fn add(&mut self, database: Arc<Database>) {
        self.databases.retain(|other| other.kind != database.kind);
        self.databases.push(database);
    }

    /// The databases.
    #[must_use]
    pub fn databases(&self) -> &[Arc<Database>] {
        &self.databases
    }

    /// Whether nothing is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.edges.is_empty()
    }

    /// Looks up every registered prefix, once.
    #[must_use]
    pub fn enrich(&self, registry: &Registry) -> GeoTable {
        let mut table = GeoTable::default();
        if self.is_empty() {
            return table;
        }
        let mut words = HashSet::new();
        for (id, connection) in (0..).zip(registry.connections()) {
            for registered in &connection.prefixes {
                let prefix = registered.prefix;
                let facts = self.facts(connection, &prefix, &mut words, &mut table.damaged);
                table.of.insert(Owner { connection: id, prefix }, facts);
            }
        }
        table
    }

    fn facts(
        &self,
        connection: &Connection,
        prefix: &Prefix,
        words: &mut HashSet<Text>,
        damaged: &mut Option<(u64, String)>,
    ) -> GeoFacts {
        // The databases know the public Internet; the same address elsewhere is another place.
        let is_public = connection.routing_domain == PUBLIC_ROUTING_DOMAIN;
        let mut place = Place::default();
        // A City database knows all that a Country one does: the richer ones come first.
        for kind in Kind::ALL.into_iter().filter(|_| is_public) {
            let Some(database) = self.databases.iter().find(|d| d.kind == kind) else { continue };
            match database.place(prefix) {
                Ok(found) => place = place.or(found),
                Err(error) => damaged.get_or_insert_with(|| (0, error.to_string())).0 += 1,
            }
        }
        let at = Point::registered(&connection.location).map(|point| (point, 0.0)).or(place.at);
        let nearest = at.and_then(|(point, off_km)| {
            let (edge, km) = self.edges.nearest(point)?;
            Some((edge.id.clone(), (km - off_km).max(0.0)))
        });
        let mut shared = |word: String| match words.get(word.as_str()) {
            Some(known) => known.clone(),
            None => {
                let word = Text::from(word);
                words.insert(word.clone());
                word
            }
        };
        GeoFacts {
            country: place.country.map(&mut shared),
            subdivision: place.subdivision.map(&mut shared),
            asn: place.asn,
            edge_distance_km: nearest.as_ref().map(|(_, km)| whole(*km)),
            rtt_floor_us: nearest.as_ref().map(|(_, km)| rtt_floor_us(*km)),
            edge_nearest: nearest.map(|(edge, _)| edge),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 20,016 km")]
fn whole(km: f64) -> u32 {
    km.round() as u32
}

#[cfg(test)]
mod tests;
