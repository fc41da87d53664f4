//! What is in the topics, how the service is told to read it, and what its lake must answer.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use ingest::encode::bgp::{Update, update};
use ingest::encode::bmp::{self, OpenBmp, Peer};
use schemas::bgp::{AsPath, Asn, Origin, PathAttributes, Prefix};
use schemas::time::Timestamp;

/// Connections of one prefix each.
const CONNECTIONS: u64 = 1_000;
/// Probes that measure each.
const PROBES: u64 = 10;
/// Minutes that samples spread over, and how long ago the first is.
const MINUTES: u64 = 5;
const AGO_SECS: i64 = 400;
/// `[lake] commit_secs`.
const COMMIT_SECS: u32 = 5;
/// Bytes of a sample as JSON.
const JSON_BYTES: usize = 200;
/// Samples of an Arrow message.
const ROWS: u64 = 10_000;
/// Samples in Arrow for one in JSON.
const MORE: u64 = 10;
/// Prefixes of an UPDATE.
const PREFIXES: u64 = 4;
/// One UPDATE of so many is of registered prefixes.
const OURS: u64 = 100;
/// BGP peers of a router; a router has a partition.
const PEERS: u64 = 40;
const ROUTERS: u64 = 12;

/// What a topic holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mix {
    /// Samples, one JSON object a message.
    Json,
    /// Samples, Arrow IPC streams.
    Arrow,
    /// Routes, OpenBMP messages.
    Routes,
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Arrow => "arrow",
            Self::Routes => "routes",
        })
    }
}

impl Mix {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Json, Self::Arrow, Self::Routes];

    /// What is counted.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Json | Self::Arrow => "samples",
            Self::Routes => "elements",
        }
    }

    /// What must be known of it.
    pub(crate) const fn note(self) -> &'static str {
        match self {
            Self::Json => {
                "A thousand connections, ten probes each, five minutes: 50,000 rows of `latency`. The \
                 consumer hands over messages and looks at none."
            }
            Self::Arrow => {
                "The same connections and probes, ten thousand samples a message, with dictionaries of \
                 addresses and sources."
            }
            Self::Routes => {
                "BMP Route Monitoring of twelve routers with forty peers each, four prefixes an UPDATE; \
                 one UPDATE in a hundred is of registered prefixes, and its rows are what is waited for."
            }
        }
    }
}

/// Makes the messages of a mix.
pub(crate) struct Maker {
    mix: Mix,
    /// Samples or elements.
    pub(crate) units: u64,
    /// When it was made.
    pub(crate) now: Timestamp,
}

impl Maker {
    pub(crate) fn new(mix: Mix, units: u64) -> Self {
        // Whole messages, and registered ones among them.
        let (units, each) = match mix {
            Mix::Json => (units, ROUTERS),
            Mix::Arrow => (units * MORE, ROWS * ROUTERS),
            Mix::Routes => (units, PREFIXES * OURS * ROUTERS),
        };
        let units = units.div_ceil(each) * each;
        Self { mix, units, now: ingest::source::live::wall_clock() }
    }

    /// Messages in order: partition and time of each in front.
    pub(crate) fn messages(&self) -> Box<dyn Iterator<Item = (i32, i64, Vec<u8>)> + '_> {
        let partition = |number: u64| i32::try_from(number % ROUTERS).unwrap_or(0);
        let now = self.now.micros();
        // What closes the last window.
        let last = (0..ROUTERS).map(move |at| (partition(at), now, line(at, now)));
        match self.mix {
            Mix::Json => {
                let samples = (0..self.units).map(move |number| {
                    (partition(number), self.time(number), line(number, self.time(number)))
                });
                Box::new(samples.chain(last))
            }
            Mix::Arrow => {
                let samples = (0..self.units / ROWS).map(move |number| {
                    let at = self.time((number + 1) * ROWS);
                    (partition(number), at, self.arrow(number).unwrap_or_default())
                });
                Box::new(samples.chain(last))
            }
            Mix::Routes => {
                let hello = (0..ROUTERS).map(move |router| {
                    let mut hello = Vec::new();
                    bmp::initiation(&mut hello, "", &format!("router-{router}"));
                    (partition(router), now, self.openbmp(router, &hello))
                });
                let routes = (0..self.units / PREFIXES)
                    .map(move |number| (partition(number), now, self.route(number)));
                Box::new(hello.chain(routes))
            }
        }
    }

    /// When a sample was taken, in microseconds.
    fn time(&self, number: u64) -> i64 {
        let span = u128::from(MINUTES) * 60_000_000;
        let into = u128::from(number) * span / u128::from(self.units);
        self.now.micros() - AGO_SECS * 1_000_000 + i64::try_from(into).unwrap_or(0)
    }

    fn arrow(&self, number: u64) -> Result<Vec<u8>, ArrowError> {
        let numbers = number * ROWS..(number + 1) * ROWS;
        let times: Int64Array = numbers.clone().map(|number| Some(self.time(number))).collect();
        let texts = |text: fn(u64) -> String| -> Result<_, ArrowError> {
            let texts = StringArray::from_iter_values(numbers.clone().map(text));
            let kind = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
            cast(&texts, &kind)
        };
        let rtt: UInt32Array = numbers.clone().map(|number| Some(rtt_us(number))).collect();
        let batch = RecordBatch::try_from_iter([
            ("time", Arc::new(times) as _),
            ("ip", texts(address)?),
            ("rtt_us", Arc::new(rtt) as _),
            ("source", texts(source)?),
        ])?;
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
        writer.write(&batch)?;
        writer.into_inner()
    }

    fn openbmp(&self, router: u64, message: &[u8]) -> Vec<u8> {
        let name = format!("router-{router}");
        let address = Ipv4Addr::from_bits(0xc000_0201 + u32::try_from(router).unwrap_or(0));
        let header = OpenBmp {
            time: self.now,
            admin_id: "bench",
            router: address.into(),
            router_group: &name,
        };
        let mut bytes = Vec::new();
        bmp::openbmp(&mut bytes, &header, message);
        bytes
    }

    fn route(&self, number: u64) -> Vec<u8> {
        // Peers, paths and prefixes are not in step with each other.
        let random = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17;
        let peer = random % PEERS;
        let asn = 3_000 + u32::try_from(peer).unwrap_or(0);
        let ours = (number / ROUTERS).is_multiple_of(OURS);
        let first = if ours { random / PEERS % (CONNECTIONS - PREFIXES) } else { random };
        let prefix = |at: u64| match ours {
            true => registered(first + at),
            false => format!(
                "{}.{}.{}.0/24",
                11 + first % 80,
                first / 80 % 256,
                (first / 20_480 + at) % 256
            ),
        };
        let announced: Vec<Prefix> =
            (0..PREFIXES).filter_map(|at| prefix(at).parse().ok()).collect();
        let address: IpAddr =
            Ipv4Addr::from_bits(0xc633_6400 + u32::try_from(peer).unwrap_or(0)).into();
        let transit = 1_000 + u32::try_from(random / 7 % 40).unwrap_or(0);
        let attributes = PathAttributes {
            origin: Some(Origin::Igp),
            as_path: AsPath::sequence([asn, transit, 2_000, ORIGIN]),
            next_hop: Some(address),
            ..PathAttributes::default()
        };
        let update = update(&Update {
            withdrawn: &[],
            announced: &announced,
            attributes: Some(&attributes),
        });
        let mut message = Vec::new();
        bmp::route_monitoring(&mut message, &Peer::global(address, Asn(asn), self.now), &update);
        self.openbmp(number % ROUTERS, &message)
    }

    /// A question to the lake, and the answer.
    pub(crate) fn truth(&self) -> (String, u64) {
        match self.mix {
            Mix::Json | Mix::Arrow => {
                // Without the samples that close the last window.
                let before = self.now.plus_secs(-60);
                let sql = "select sum(samples) as n from latency_final where window_start";
                (format!("{sql} < '{before}'"), self.units)
            }
            Mix::Routes => {
                ("select count(*) as n from route_updates".to_owned(), self.units / OURS)
            }
        }
    }

    /// The configuration of a service.
    pub(crate) fn config(&self, brokers: &str, name: &str, topic: &str) -> String {
        let format = if self.mix == Mix::Routes { "openbmp" } else { "rtt" };
        let mut text = format!(
            "[kafka]\nbrokers = [\"{brokers}\"]\nevents_topic = \"{name}.events\"\n\
             summaries_topic = \"{name}.summaries\"\nsources_topic = \"{name}.sources\"\n\
             control_topic = \"{name}.control\"\nprefix = \"{name}\"\n\
             [source.bench]\nkind = \"kafka\"\nbrokers = [\"{brokers}\"]\ntopics = [\"{topic}\"]\n\
             format = \"{format}\"\nstart = \"earliest\"\n[lake]\ncommit_secs = {COMMIT_SECS}\n"
        );
        for number in 0..CONNECTIONS {
            text += &format!(
                "[[connection]]\nname = \"c{number}\"\norigin_asns = [{ORIGIN}]\nprefixes = [\"{}\"]\n",
                registered(number)
            );
        }
        text
    }
}

/// Origin of all routes.
const ORIGIN: u32 = 64_510;

/// A registered prefix.
fn registered(number: u64) -> String {
    format!("10.{}.{}.0/24", number / 250, number % 250)
}

/// An address in the prefix of a sample's connection.
fn address(number: u64) -> String {
    let connection = number % CONNECTIONS;
    format!("10.{}.{}.{}", connection / 250, connection % 250, 1 + number % PROBES)
}

/// Who took a sample: another one in each round of the connections.
fn source(number: u64) -> String {
    format!("probe-{}", number / CONNECTIONS % PROBES)
}

fn rtt_us(number: u64) -> u32 {
    20_000 + u32::try_from(number.wrapping_mul(7_919) % 3_000).unwrap_or(0)
}

/// A sample as JSON.
fn line(number: u64, time: i64) -> Vec<u8> {
    let mut line = format!(
        r#"{{"time":{time},"ip":"{}","rtt_us":{},"source":"{}","note":""#,
        address(number),
        rtt_us(number),
        source(number)
    );
    while line.len() < JSON_BYTES - 2 {
        line.push('x');
    }
    line.push_str("\"}");
    line.into_bytes()
}
