//! Capture files, pcap and pcapng: one packet at a time. The file format is read by `pcap-parser`.
//!
//! The time of what a packet says is the packet's. Packets without a TCP segment are passed over;
//! what the segments make up is [`crate::session::capture`].

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use pcap_parser::traits::{PcapNGPacketBlock as _, PcapReaderIterator};
use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader};
use schemas::time::{MICROS_PER_SEC, Timestamp};

use super::elements::StreamDamage;
use super::open::fill;
use crate::decode::packet::segment;
use crate::session::RouteSink;
use crate::session::bmp::BmpOptions;
use crate::session::capture::CaptureSession;

/// Bytes of the reader's buffer: it grows where a block takes more.
const BUFFER_BYTES: usize = 128 * 1024;
/// Bytes to which it may grow.
const BUFFER_BYTES_MAX: usize = 32 << 20;
/// Interfaces of a pcapng section kept apart.
const INTERFACES_MAX: usize = 4_096;

/// How the packets of an interface are to be read.
#[derive(Clone, Copy)]
struct Interface {
    link_type: i32,
    /// Ticks in a second.
    ticks: u64,
    offset_secs: i64,
}

/// A capture being read.
pub(super) struct CaptureFile {
    /// None for a file that ends before its first block does.
    reader: Option<Box<dyn PcapReaderIterator + Send>>,
    interfaces: Vec<Interface>,
    pub(super) session: CaptureSession,
    reached: Timestamp,
    /// The loaded packet, its link type and time.
    packet: Vec<u8>,
    link_type: i32,
    is_finished: bool,
    /// Packets without a TCP segment: other protocols, fragments, tunnels.
    pub(super) other_packets: u64,
}

impl CaptureFile {
    /// # Errors
    /// What the reader says, if it says so before the first block.
    pub(super) fn new(
        mut reader: Box<dyn Read + Send>,
        collector: Arc<str>,
        options: BmpOptions,
    ) -> io::Result<Self> {
        let mut head = vec![0; 64 * 1024];
        let bytes = fill(&mut reader, &mut head)?;
        head.truncate(bytes);
        let whole = Cursor::new(head).chain(reader);
        Ok(Self {
            reader: create_reader(BUFFER_BYTES, whole).ok(),
            interfaces: Vec::new(),
            session: CaptureSession::new(collector, options),
            reached: Timestamp::default(),
            packet: Vec::new(),
            link_type: 0,
            is_finished: false,
            other_packets: 0,
        })
    }

    pub(super) fn offset(&self) -> u64 {
        self.reader.as_ref().map_or(0, |reader| reader.consumed() as u64)
    }

    /// Loads the next packet with a TCP segment; its time. The end of the file is loaded too, for
    /// what waits in the streams.
    pub(super) fn load(&mut self) -> Result<Option<Timestamp>, StreamDamage> {
        self.packet.clear();
        while self.block()? {
            if segment(&self.packet, self.link_type).is_some() {
                return Ok(Some(self.reached));
            }
            self.other_packets += u64::from(!self.packet.is_empty());
        }
        let was_finished = std::mem::replace(&mut self.is_finished, true);
        self.packet.clear();
        Ok((!was_finished).then_some(self.reached))
    }

    /// Reads one block; false at the end. A packet block leaves its packet, another one nothing.
    fn block(&mut self) -> Result<bool, StreamDamage> {
        let offset = self.offset();
        let damage = |what| StreamDamage::Capture { offset, what };
        loop {
            let Some(reader) = self.reader.as_mut() else {
                return match std::mem::replace(&mut self.is_finished, true) {
                    true => Ok(false),
                    false => Err(damage("the first block is not whole")),
                };
            };
            match reader.next() {
                Ok((bytes, block)) => {
                    self.packet.clear();
                    let taken = take(&block, &mut self.interfaces, &mut self.packet);
                    if let Some((link_type, time)) = taken {
                        self.link_type = link_type;
                        self.reached = time.unwrap_or(self.reached);
                    }
                    reader.consume(bytes);
                    return Ok(true);
                }
                Err(PcapError::Eof) => return Ok(false),
                Err(PcapError::Incomplete(_) | PcapError::BufferTooSmall) => {}
                Err(PcapError::UnexpectedEof) => {
                    return self.give_up(damage("the last block is cut off"));
                }
                Err(PcapError::ReadError) => {
                    return self.give_up(damage("the compressed data is damaged"));
                }
                Err(_) => return self.give_up(damage("a block does not hold together")),
            }
            if !more(reader.as_mut()) {
                return match reader.data().is_empty() {
                    true => Ok(false),
                    false => self.give_up(damage("the last block is cut off, or too large")),
                };
            }
        }
    }

    /// The file ends here; what was whole is told first.
    fn give_up(&mut self, damage: StreamDamage) -> Result<bool, StreamDamage> {
        self.reader = None;
        self.is_finished = true;
        Err(damage)
    }

    /// Hands over the loaded packet; why something in it was refused.
    pub(super) fn hand_over(&mut self, sink: &mut impl RouteSink) -> Option<String> {
        match segment(&self.packet, self.link_type) {
            Some(segment) => self.session.segment(&segment, self.reached, sink),
            None => self.session.finish(self.reached, sink),
        }
        self.session.take_refusal().map(|error| error.to_string())
    }
}

/// Gets more bytes into the buffer; false if there are none, or no room.
fn more(reader: &mut (dyn PcapReaderIterator + Send)) -> bool {
    let had = reader.data().len();
    if had >= BUFFER_BYTES {
        let goal = had.saturating_mul(2);
        if goal > BUFFER_BYTES_MAX || !reader.grow(goal) {
            return false;
        }
    }
    reader.refill().is_ok() && reader.data().len() > had
}

/// Takes a block: interfaces are kept, of a packet its bytes, link type and time are given.
fn take(
    block: &PcapBlockOwned<'_>,
    interfaces: &mut Vec<Interface>,
    packet: &mut Vec<u8>,
) -> Option<(i32, Option<Timestamp>)> {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let ticks = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
            let interface = Interface { link_type: header.network.0, ticks, offset_secs: 0 };
            *interfaces = vec![interface];
            None
        }
        PcapBlockOwned::Legacy(found) => {
            let interface = interfaces.first()?;
            packet.extend_from_slice(found.data);
            let secs = u64::from(found.ts_sec).saturating_mul(interface.ticks);
            let ticks = secs.saturating_add(found.ts_usec.into());
            Some((interface.link_type, time(ticks, interface)))
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            None
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(found)) => {
            if interfaces.len() < INTERFACES_MAX {
                interfaces.push(Interface {
                    link_type: found.linktype.0,
                    ticks: found.ts_resolution().unwrap_or(1_000_000),
                    offset_secs: found.if_tsoffset,
                });
            }
            None
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(found)) => {
            let interface = interfaces.get(usize::try_from(found.if_id).ok()?)?;
            packet.extend_from_slice(found.packet_data());
            let ticks = u64::from(found.ts_high) << 32 | u64::from(found.ts_low);
            Some((interface.link_type, time(ticks, interface)))
        }
        PcapBlockOwned::NG(Block::SimplePacket(found)) => {
            let interface = interfaces.first()?;
            packet.extend_from_slice(found.packet_data());
            Some((interface.link_type, None))
        }
        PcapBlockOwned::NG(_) => None,
    }
}

fn time(ticks: u64, interface: &Interface) -> Option<Timestamp> {
    let micros_per_sec = MICROS_PER_SEC.unsigned_abs();
    let micros =
        u128::from(ticks) * u128::from(micros_per_sec) / u128::from(interface.ticks.max(1));
    let time = Timestamp(i64::try_from(micros).ok()?);
    Some(time.plus_secs(interface.offset_secs))
}
