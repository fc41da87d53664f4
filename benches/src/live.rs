//! Messages of RIS Live to committed findings: the mixes in which BGPalerter was measured.
//!
//! Every message is an UPDATE with one prefix, as long as RIS Live writes it (about 355 bytes), from
//! one of 500 peers, 6,000 a second of event time. Ten thousand prefixes are registered; learning
//! ends after a minute, so that everything that judges is at work.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use crate::contest::{BenchError, Section, Truth, race};
use crate::job::{Job, Programs};
use crate::report::grouped;

/// Messages of each mix.
const MESSAGES: u64 = 2_000_000;
/// Registered prefixes.
const PREFIXES: u64 = 10_000;
/// Connections that share them.
const CONNECTIONS: u64 = 100;
/// Peers that tell.
const PEERS: u64 = 500;
/// Messages in a second of event time.
const RATE: u64 = 6_000;
/// Messages of the mix `hijack` before the first hijack: what is usual has to be learnt.
const QUIET: u64 = 90 * RATE;
/// 2026-03-04T00:00:00Z.
const START: u64 = 1_772_582_400;

/// Name of the configuration in the folder.
const CONFIG: &str = "peerscope.toml";
/// Name of the messages in the folder.
const INPUT: &str = "ris.jsonl";

/// What the messages are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mix {
    /// All of registered prefixes, 8 % withdrawals, one in a thousand a hijack.
    Sub,
    /// One in a hundred of a registered prefix, the rest foreign.
    Full,
    /// After a minute and a half of what is usual, every one a hijack.
    Hijack,
}

const MIXES: [Mix; 3] = [Mix::Sub, Mix::Full, Mix::Hijack];

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sub => "sub",
            Self::Full => "full",
            Self::Hijack => "hijack",
        })
    }
}

/// One contest a mix.
pub(crate) fn sections(programs: &Programs) -> Result<Vec<Section>, BenchError> {
    MIXES.iter().map(|mix| section(programs, *mix)).collect()
}

fn section(programs: &Programs, mix: Mix) -> Result<Section, BenchError> {
    let folder = tempfile::tempdir()?;
    let mut command = std::process::Command::new(&programs.benches);
    let made = command.arg("messages").arg(mix.to_string()).arg(folder.path()).status()?;
    if !made.success() {
        return Err(BenchError::NoInput("messages"));
    }
    let (config, input) = (folder.path().join(CONFIG), folder.path().join(INPUT));
    let bytes = fs::metadata(&input)?.len();
    let truth = Truth { is_cut: false, answer: Some(MESSAGES) };
    let rows = race(programs, &[Job::Live { input, config }], truth)?;
    Ok(Section {
        name: "live",
        input: format!(
            "mix `{mix}`: {} messages of RIS Live in {} bytes, {} registered prefixes, {PEERS} peers",
            grouped(MESSAGES),
            grouped(bytes),
            grouped(PREFIXES),
        ),
        unit: "messages",
        units: Some(MESSAGES),
        peers: Vec::new(),
        note: "From JSON lines to committed `route_updates`, `findings` and `evidence`. BGPalerter \
               2.0.1 on the same mixes, measured on another machine of two cores: 37.6, 40.0 and 24.3 \
               thousand messages a CPU second."
            .to_owned(),
        rows,
    })
}

/// Writes the configuration and the messages of one mix.
pub(crate) fn write(mix: Mix, folder: &Path) -> io::Result<()> {
    let mut config = BufWriter::new(File::create(folder.join(CONFIG))?);
    writeln!(config, "[detect]\nlearning_secs = 60\n")?;
    for connection in 0..CONNECTIONS {
        let each = PREFIXES / CONNECTIONS;
        let prefixes: Vec<String> = (connection * each..(connection + 1) * each)
            .map(|number| format!("\"{}\"", prefix(number)))
            .collect();
        writeln!(
            config,
            "[[connection]]\nname = \"c{connection}\"\norigin_asns = [{}]\nprefixes = [{}]\n",
            origin(connection * each),
            prefixes.join(", ")
        )?;
    }
    config.flush()?;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(folder.join(INPUT))?);
    let mut random = 1_u64;
    for number in 0..MESSAGES {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        message(mix, number, random >> 33, &mut out)?;
    }
    out.flush()
}

fn message(mix: Mix, number: u64, random: u64, out: &mut impl io::Write) -> io::Result<()> {
    let peer = random % PEERS;
    let ours = (random / PEERS) % PREFIXES;
    let (is_ours, is_hijack, is_withdrawal) = match mix {
        Mix::Sub => (true, number % 1_000 == 999, number % 100 < 8),
        Mix::Full => (number.is_multiple_of(100), false, number % 10 == 9),
        Mix::Hijack => (true, number >= QUIET, false),
    };
    let prefix = if is_ours { prefix(ours) } else { foreign(random) };
    let origin = if is_hijack { 64_511 } else { origin(ours) };
    let (asn, transit) = (3_000 + peer, 1_000 + random % 40);
    let (secs, micros) = (START + number / RATE, number % RATE * 160);
    write!(
        out,
        "{{\"type\":\"ris_message\",\"data\":{{\"timestamp\":{secs}.{micros:06},\"peer\":\"198.51.{}.{}\",\
         \"peer_asn\":\"{asn}\",\"id\":\"198.51.{}.{}-{number:016x}\",\"host\":\"rrc{:02}.ripe.net\",\
         \"type\":\"UPDATE\",",
        100 + peer / 250,
        peer % 250,
        100 + peer / 250,
        peer % 250,
        peer % 25,
    )?;
    if is_withdrawal {
        return writeln!(out, "\"announcements\":[],\"withdrawals\":[\"{prefix}\"]}}}}");
    }
    writeln!(
        out,
        "\"path\":[{asn},{transit},{},{origin}],\"community\":[[{asn},100],[{transit},2000]],\
         \"origin\":\"igp\",\"announcements\":[{{\"next_hop\":\"198.51.{}.{}\",\"prefixes\":[\"{prefix}\"]}}],\
         \"withdrawals\":[]}}}}",
        2_000 + random % 7,
        100 + peer / 250,
        peer % 250,
    )
}

/// A registered prefix.
fn prefix(number: u64) -> String {
    format!("10.{}.{}.0/24", number / 256, number % 256)
}

/// A prefix of somebody else.
fn foreign(random: u64) -> String {
    format!("{}.{}.{}.0/24", 11 + random % 80, (random >> 7) % 256, (random >> 15) % 256)
}

/// Who may originate a registered prefix.
const fn origin(number: u64) -> u64 {
    10_000 + number / (PREFIXES / CONNECTIONS)
}
