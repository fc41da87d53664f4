//! Edges: the catalogue of the cloud's edges, CSV with the columns `edge_id, metro, latitude, longitude,
//! communities, next_hops` in any order.
//!
//! Several communities or next hops in one field are parted by spaces, `;` or `|`. A field with a
//! comma stands in quotes (RFC 4180). Columns that are not ours are passed over.

use std::collections::HashMap;
use std::io::BufRead;
use std::net::IpAddr;

use schemas::tables::Text;

use super::distance::Point;
use crate::reference::ReferenceError;

/// One edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// Its name: `edge_id`.
    pub id: Text,
    /// Where it is, in words.
    pub metro: Text,
    /// Where it is.
    pub point: Point,
    /// Communities that say that a route was learnt there, as in the column `communities`.
    pub communities: Vec<Text>,
    /// Next hops that lead there.
    pub next_hops: Vec<IpAddr>,
}

/// The catalogue.
#[derive(Debug, Default)]
pub struct Edges {
    edges: Vec<Edge>,
    by_community: HashMap<Text, usize>,
    by_next_hop: HashMap<IpAddr, usize>,
}

const COLUMNS: [&str; 6] =
    ["edge_id", "metro", "latitude", "longitude", "communities", "next_hops"];
/// Columns without which there is no edge.
const NEEDED: usize = 4;

impl Edges {
    /// Reads a catalogue.
    ///
    /// # Errors
    /// [`ReferenceError`] at the first line that is no edge, or names one, a community or a next hop
    /// a second time.
    pub fn read(reader: impl BufRead) -> Result<Self, ReferenceError> {
        let mut edges = Self::default();
        let mut columns = None;
        for (number, line) in (1..).zip(reader.lines()) {
            let line = line?;
            let line = line.trim_start_matches('\u{feff}').trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let malformed =
                |wanted| ReferenceError::Malformed { line: number, text: line.to_owned(), wanted };
            let fields = fields(line).ok_or_else(|| malformed("a line of CSV: a quote is open"))?;
            match &columns {
                None => {
                    let found = COLUMNS.map(|name| fields.iter().position(|field| field == name));
                    if found.iter().take(NEEDED).any(Option::is_none) {
                        return Err(malformed(
                            "a header with edge_id, metro, latitude, longitude, communities, next_hops",
                        ));
                    }
                    columns = Some(found);
                }
                Some(columns) => {
                    let values = columns
                        .map(|at| at.and_then(|at| fields.get(at)).map_or("", String::as_str));
                    edges.add(edge(values).map_err(malformed)?).map_err(malformed)?;
                }
            }
        }
        Ok(edges)
    }

    fn add(&mut self, edge: Edge) -> Result<(), &'static str> {
        if self.get(&edge.id).is_some() {
            return Err("an edge of its own: the edge_id stands in an earlier line");
        }
        let number = self.edges.len();
        for community in &edge.communities {
            if self.by_community.insert(community.clone(), number).is_some() {
                return Err("an edge of its own: one of its communities stands in an earlier line");
            }
        }
        for next_hop in &edge.next_hops {
            if self.by_next_hop.insert(*next_hop, number).is_some() {
                return Err("an edge of its own: one of its next_hops stands in an earlier line");
            }
        }
        self.edges.push(edge);
        Ok(())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.edges.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// All edges, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Edge> {
        self.edges.iter()
    }

    /// The edge of this name.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Edge> {
        self.edges.iter().find(|edge| &*edge.id == id)
    }

    /// The edge nearest to a point, with the distance in kilometres; of equally near ones the first by
    /// name, so that the order of the file does not matter.
    #[must_use]
    pub fn nearest(&self, point: Point) -> Option<(&Edge, f64)> {
        let with_distance = self.edges.iter().map(|edge| (edge, point.distance_km(edge.point)));
        with_distance
            .min_by(|(a, near), (b, far)| near.total_cmp(far).then_with(|| a.id.cmp(&b.id)))
    }

    /// The edge at which a route enters: by the first of its communities that names one, else by its next
    /// hop.
    #[must_use]
    pub fn ingress(
        &self,
        communities: impl IntoIterator<Item = impl AsRef<str>>,
        next_hop: Option<IpAddr>,
    ) -> Option<&Edge> {
        let mut named = communities.into_iter();
        let by_community = named.find_map(|name| self.by_community.get(name.as_ref()));
        let number = by_community.or_else(|| self.by_next_hop.get(&next_hop?))?;
        self.edges.get(*number)
    }
}

fn edge(
    [id, metro, latitude, longitude, communities, hops]: [&str; 6],
) -> Result<Edge, &'static str> {
    let degrees = |text: &str| text.parse::<f64>().ok();
    let point = degrees(latitude).zip(degrees(longitude));
    let point = point.and_then(|(latitude, longitude)| Point::new(latitude, longitude));
    let list = |text: &str| -> Vec<String> {
        let parts = text.split([' ', ';', '|']).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    if id.is_empty() {
        return Err("an edge: edge_id is empty");
    }
    let communities = list(communities);
    if communities.iter().any(|community| !is_community(community)) {
        return Err("an edge: a community is written 64500:100, 64500:1:2 or ext:0002...");
    }
    let next_hops: Result<Vec<IpAddr>, _> = list(hops).iter().map(|hop| hop.parse()).collect();
    Ok(Edge {
        id: id.into(),
        metro: metro.into(),
        point: point.ok_or("an edge: latitude is -90 to 90, longitude -180 to 180")?,
        communities: communities.into_iter().map(Text::from).collect(),
        next_hops: next_hops.map_err(|_| "an edge: next_hops are addresses")?,
    })
}

fn is_community(text: &str) -> bool {
    if let Some(octets) = text.strip_prefix("ext:").or_else(|| text.strip_prefix("ext6:")) {
        return matches!(octets.len(), 16 | 40)
            && octets.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    let parts: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([high, low]) => (high | low) >> 16 == 0,
        Some([_, _, _]) => true,
        _ => false,
    }
}

/// The fields of a line; none if a quote is left open.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let field = fields.last_mut()?;
        match letter {
            '"' if is_quoted && letters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    fields.iter_mut().for_each(|field| *field = field.trim().to_owned());
    (!is_quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "\u{feff}edge_id, metro, latitude, longitude, communities, next_hops\n\
        # the west\n\
        sea01,\"Seattle, WA\",47.6,-122.3,64500:101;64500:1:2,192.0.2.1 2001:db8::1\n\
        \n\
        lon01,London,51.5,-0.1,64500:102,\n";

    fn refused(text: &str) -> String {
        Edges::read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_catalogue_is_read_and_answers_by_place_community_and_next_hop() {
        let edges = Edges::read(TWO.as_bytes()).unwrap();
        assert_eq!((edges.len(), &*edges.get("sea01").unwrap().metro), (2, "Seattle, WA"));
        let (nearest, km) = edges.nearest(Point::new(48.8, 2.3).unwrap()).unwrap();
        assert_eq!((&*nearest.id, km.round()), ("lon01", 345.0));
        let id = |edge: Option<&Edge>| edge.map(|edge| edge.id.to_string());
        let hop = |text: &str| Some(text.parse().unwrap());
        let none: [&str; 0] = [];
        assert_eq!(id(edges.ingress(["64500:9", "64500:1:2"], None)).as_deref(), Some("sea01"));
        assert_eq!(id(edges.ingress(none, hop("2001:db8::1"))).as_deref(), Some("sea01"));
        let both = edges.ingress(["64500:102"], hop("192.0.2.1"));
        assert_eq!(id(both).as_deref(), Some("lon01"), "a community says it itself");
        assert_eq!(edges.ingress(none, None), None);
        assert!(Edges::default().nearest(Point::new(0.0, 0.0).unwrap()).is_none());
    }

    #[test]
    fn columns_stand_in_any_order_and_lists_may_be_missing() {
        let text = "longitude,country,latitude,metro,edge_id\n-0.1,GB,51.5,London,lon01\n";
        let edges = Edges::read(text.as_bytes()).unwrap();
        assert!(edges.get("lon01").unwrap().communities.is_empty());
    }

    #[test]
    fn what_is_no_edge_is_refused_with_its_line_and_what_is_wanted() {
        let head = "edge_id,metro,latitude,longitude,communities,next_hops\n";
        assert!(refused("sea01,Seattle,47.6,-122.3,,\n").contains("line 1: \"sea01"), "no header");
        for (line, wanted) in [
            ("a,A,91,0,,", "latitude is -90 to 90"),
            ("a,A,x,0,,", "latitude is -90 to 90"),
            ("a,A,1", "longitude -180 to 180"),
            (",A,1,1,,", "edge_id is empty"),
            ("a,A,1,1,64500,", "64500:100"),
            ("a,A,1,1,65536:1,", "64500:100"),
            ("a,A,1,1,,here", "next_hops are addresses"),
            ("a,\"A,1,1,,", "a quote is open"),
        ] {
            let told = refused(&format!("{head}{line}\n"));
            assert!(told.starts_with("line 2: ") && told.contains(wanted), "{line}: {told}");
        }
        for (second, wanted) in [
            ("a,B,2,2,,", "edge_id stands in an earlier line"),
            ("b,B,2,2,64500:1,", "communities stands in an earlier line"),
            ("b,B,2,2,,192.0.2.1", "next_hops stands in an earlier line"),
        ] {
            let told = refused(&format!("{head}a,A,1,1,64500:1,192.0.2.1\n{second}\n"));
            assert!(told.starts_with("line 3: ") && told.contains(wanted), "{second}: {told}");
        }
    }
}
