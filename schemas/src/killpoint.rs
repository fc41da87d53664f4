//! Kill points: named places at which a process may be made to die, so that a test can show what is
//! left behind. Nothing happens unless the program arms them; a place then costs one look at a word.
//!
//! What dying means (a signal, a count, half of a write) is the business of whoever arms.

use std::sync::OnceLock;

/// A place where a kill would hurt most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KillPoint {
    /// A frame goes into the log.
    LogAppend,
    /// The log begins a segment.
    LogRoll,
    /// Segments of the log are let go.
    LogRelease,
    /// An entry goes into `summaries`.
    Summary,
    /// Rows wait for their file.
    Buffer,
    /// Rows become the bytes of a file.
    Encode,
    /// A file is put.
    Put,
    /// The end of a chain is read.
    FooterRead,
    /// A snapshot is put.
    Snapshot,
    /// How far a fold is becomes known.
    OffsetPublish,
    /// A compacted file is put.
    CompactionCreate,
    /// What was compacted is deleted.
    CompactionDelete,
    /// Rows of `findings` are put.
    FindingsCommit,
}

impl KillPoint {
    /// All of them with the names that arm them.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::LogAppend, "log_append"),
        (Self::LogRoll, "log_roll"),
        (Self::LogRelease, "log_release"),
        (Self::Summary, "summary"),
        (Self::Buffer, "buffer"),
        (Self::Encode, "encode"),
        (Self::Put, "put"),
        (Self::FooterRead, "footer_read"),
        (Self::Snapshot, "snapshot"),
        (Self::OffsetPublish, "offset_publish"),
        (Self::CompactionCreate, "compaction_create"),
        (Self::CompactionDelete, "compaction_delete"),
        (Self::FindingsCommit, "findings_commit"),
    ];

    /// The point of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, other)| *other == name).map(|(point, _)| *point)
    }
}

/// What is done at a point.
pub trait Killer: Send + Sync {
    /// The process is at a point; it may not return.
    fn at(&self, point: KillPoint);

    /// The process is about to write `bytes` at a point: how many of them to write before
    /// [`Killer::at`] is asked; none to write them all.
    fn cut(&self, point: KillPoint, bytes: usize) -> Option<usize>;
}

static KILLER: OnceLock<Box<dyn Killer>> = OnceLock::new();

/// Arms the points for the rest of the process; the first one to do so counts.
pub fn arm(killer: Box<dyn Killer>) {
    // Whoever comes second would change what a test counts.
    let _ = KILLER.set(killer);
}

/// The process is at a point.
#[inline]
pub fn reach(point: KillPoint) {
    if let Some(killer) = KILLER.get() {
        killer.at(point);
    }
}

/// Writes bytes at a point, all of them unless the process is to die in the middle.
///
/// # Errors
/// Those of `write`.
pub fn write<E>(
    point: KillPoint,
    bytes: &[u8],
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let cut = KILLER.get().and_then(|killer| killer.cut(point, bytes.len()));
    if let Some((part, _)) = cut.and_then(|cut| bytes.split_at_checked(cut)) {
        write(part)?;
        reach(point);
    }
    write(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_one_name_and_is_found_by_it() {
        for (point, name) in KillPoint::ALL {
            assert_eq!(KillPoint::named(name), Some(point));
        }
        assert_eq!(KillPoint::named("elsewhere"), None);
    }

    #[test]
    fn nothing_is_cut_while_nobody_armed() {
        let mut written = Vec::new();
        write(KillPoint::Put, b"whole", |bytes| {
            written.extend_from_slice(bytes);
            Ok::<(), ()>(())
        })
        .unwrap();
        assert_eq!(written, b"whole");
    }
}
