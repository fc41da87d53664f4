//! The disk of the proof: segmented logs of fixed frames, files put if their name is free, and the
//! points at which a process kills itself.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use crate::Again;

/// A record: numbers whose meaning its reader knows.
pub(crate) type Frame = [u64; 8];

const FRAME_BYTES: u64 = 64;
/// Frames at which a segment is closed.
const SEGMENT_FRAMES_MAX: u64 = 256;
/// Frames read at once.
const READ_FRAMES_MAX: u64 = 32;

/// One process: where its files are, which rule it breaks, where it dies.
pub(crate) struct World {
    root: PathBuf,
    /// How many processes were started before it; none for the one that nobody disturbs.
    starts: Option<u64>,
    pub(crate) broken: String,
    point: String,
    nth: u64,
    hits: Cell<u64>,
}

impl World {
    pub(crate) fn child(root: PathBuf, starts: u64, broken: &str, point: &str, nth: u64) -> Self {
        let (point, hits) = (point.to_owned(), Cell::default());
        Self {
            root,
            starts: Some(starts),
            broken: broken.trim_matches('-').to_owned(),
            point,
            nth,
            hits,
        }
    }

    /// The one that nobody disturbs; it keeps every snapshot and segment.
    pub(crate) fn calm(root: PathBuf) -> Self {
        Self { starts: None, ..Self::child(root, 0, "", "", 0) }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn keeps_all(&self) -> bool {
        self.starts.is_none()
    }

    /// Two builds write other bytes under the same name, and close files elsewhere.
    pub(crate) fn build(&self) -> u64 {
        let starts = self.starts.unwrap_or_default();
        if ["two_builds", "tables_not_muted"].contains(&self.broken.as_str()) {
            starts % 2
        } else {
            0
        }
    }

    pub(crate) fn file_rows_max(&self) -> usize {
        if self.build() == 0 { 24 } else { 17 }
    }

    /// Dies here if told to: counted, then killed with SIGKILL.
    pub(crate) fn point(&self, kind: &str, name: &str) {
        if self.point.strip_prefix(kind).and_then(|rest| rest.strip_prefix('.')) == Some(name) {
            self.hits.set(self.hits.get() + 1);
            if self.hits.get() == self.nth {
                self.tell(&format!("killed-{kind}.{name}"));
                signal(process::id(), "-KILL");
                std::thread::park();
            }
        }
    }

    /// Counts something across all processes.
    pub(crate) fn tell(&self, what: &str) {
        let path = self.root.join("told").join(what);
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(b".")).expect("the count can be written");
    }

    /// Puts a file if its name is free; equal bytes there are this very commit. False: other bytes.
    pub(crate) fn put(&self, kind: &str, what: &str, key: &str, bytes: &[u8]) -> bool {
        let target = self.root.join(key);
        let folder = target.parent().expect("a key has a folder");
        let staged =
            self.root.join("staging").join(format!("{}-{}", process::id(), key.replace('/', "-")));
        fs::create_dir_all(folder).expect("a folder can be made");
        let mut file = File::create(&staged).expect("a file can be staged");
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        file.write_all(first).expect("the disk takes it");
        self.point(kind, &format!("{what}.mid_write"));
        file.write_all(rest).and_then(|()| file.sync_all()).expect("the disk takes it");
        self.point(kind, &format!("{what}.before_link"));
        let is_ours = match fs::hard_link(&staged, &target) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::read(&target).is_ok_and(|there| there == bytes)
            }
            linked => linked.map(|()| true).expect("a file can be linked"),
        };
        self.point(kind, &format!("{what}.after_link"));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .expect("a name can be made durable");
        fs::remove_file(&staged).expect("what is staged can be removed");
        is_ours
    }

    /// Files of a table's chain with their bytes, by key.
    pub(crate) fn chain(&self, table: &str, name: &str) -> Vec<(String, Vec<u8>)> {
        let mut keys = Vec::new();
        for day in names(&self.root.join(table)) {
            let files = names(&self.root.join(table).join(&day)).into_iter();
            let ours = files
                .filter(|file| file.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')));
            keys.extend(ours.map(|file| format!("{table}/{day}/{file}")));
        }
        let read = |key: String| Some((key.clone(), fs::read(self.root.join(key)).ok()?));
        keys.into_iter().filter_map(read).collect()
    }

    /// END of a chain's newest file.
    pub(crate) fn head(&self, table: &str, name: &str) -> u64 {
        let spans = self.chain(table, name).into_iter().map(|(_, bytes)| {
            let span: (u64, u64) = postcard::take_from_bytes(&bytes).expect("a file is whole").0;
            span.1
        });
        spans.max().unwrap_or(0)
    }

    /// The readable snapshots of a fold, oldest first.
    pub(crate) fn snapshots(&self, name: &str) -> Vec<(u64, Vec<u8>)> {
        let folder = self.root.join("snapshots").join(name);
        let read = |file: String| {
            let bytes = fs::read(folder.join(&file)).ok()?;
            let (state, sum) = bytes.split_at_checked(bytes.len().checked_sub(8)?)?;
            (sum == checksum(state)).then(|| (file.parse().expect("its offset"), state.to_vec()))
        };
        names(&folder).into_iter().filter_map(read).collect()
    }

    /// Puts a snapshot. A competitor's, readable, stands; a damaged one is replaced.
    pub(crate) fn put_snapshot(&self, kind: &str, name: &str, at: u64, state: &[u8]) {
        let key = format!("snapshots/{name}/{at:012}");
        let bytes = [state, &checksum(state)].concat();
        if !self.put(kind, "snapshot", &key, &bytes)
            && !self.snapshots(name).iter().any(|(there, _)| *there == at)
        {
            let staged = self.root.join("staging").join(format!("{}-over", process::id()));
            fs::write(&staged, bytes)
                .and_then(|()| fs::rename(staged, self.root.join(key)))
                .expect("replaced");
            self.tell("snapshot-replaced");
        }
    }

    pub(crate) fn drop_snapshots(&self, name: &str, before: u64) {
        let folder = self.root.join("snapshots").join(name);
        for file in names(&folder).into_iter().filter(|file| *file < format!("{before:012}")) {
            let _ = fs::remove_file(folder.join(file)); // a competitor may have been quicker
        }
    }
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish().to_le_bytes()
}

/// Sends a signal to a process, which may have ended by then.
pub(crate) fn signal(process: u32, signal: &str) {
    let sent =
        Command::new("kill").args([signal, &process.to_string()]).stderr(Stdio::null()).status();
    sent.expect("kill is there");
}

/// Names in a folder, sorted; none if there is no folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A log on disk: segments named by the position of their first frame. Appends take a lock, as the
/// one writer of the embedded log or a broker would order them.
pub(crate) struct Log {
    folder: PathBuf,
    released: PathBuf,
}

impl Log {
    pub(crate) fn new(world: &World, name: &str) -> Self {
        let log = Self {
            folder: world.root.join(name),
            released: world.root.join(format!("{name}.released")),
        };
        fs::create_dir_all(&log.folder).expect("a folder can be made");
        fs::create_dir_all(&log.released).expect("a folder can be made");
        log
    }

    fn segments(&self) -> Vec<u64> {
        names(&self.folder).iter().filter_map(|name| name.parse().ok()).collect()
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.folder.join(format!("{segment:012}"))
    }

    /// Frames from a position on; none at the head. A frame that is cut off is not there yet.
    pub(crate) fn read(&self, at: u64) -> Result<Vec<Frame>, Again> {
        let segments = self.segments();
        let Some(segment) = segments.iter().rev().find(|start| **start <= at) else {
            return if segments.is_empty() { Ok(Vec::new()) } else { Err(Again::Released) };
        };
        let Ok(mut file) = File::open(self.path(*segment)) else {
            return Err(Again::Released);
        };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start((at - segment) * FRAME_BYTES)).expect("a file can be read");
        file.take(READ_FRAMES_MAX * FRAME_BYTES)
            .read_to_end(&mut bytes)
            .expect("a file can be read");
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let frame = |bytes: &[u8]| std::array::from_fn(|at| number(&bytes[at * 8..at * 8 + 8]));
        Ok(bytes.chunks_exact(FRAME_BYTES as usize).map(frame).collect())
    }

    /// Appends durably. What a killed writer left of a frame is cut away first.
    pub(crate) fn append(&self, world: &World, kind: &str, frames: &[Frame]) {
        let lock = File::create(self.folder.join("lock")).expect("the lock can be made");
        lock.lock().expect("the lock is waited for");
        let mut segment = self.segments().pop().unwrap_or(0);
        let length = |segment| fs::metadata(self.path(segment)).map_or(0, |data| data.len());
        if length(segment) >= SEGMENT_FRAMES_MAX * FRAME_BYTES {
            segment += length(segment) / FRAME_BYTES;
            File::create_new(self.path(segment)).expect("a segment can be made");
            world.point(kind, "log.roll");
        }
        let open = OpenOptions::new().create(true).append(true).open(self.path(segment));
        let mut file = open.expect("a segment can be opened");
        let torn_bytes = length(segment) % FRAME_BYTES;
        if torn_bytes > 0 {
            file.set_len(length(segment) - torn_bytes).expect("a segment can be cut");
            world.tell("torn-frame");
        }
        let bytes: Vec<u8> =
            frames.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
        let (first, rest) = bytes.split_at(bytes.len() * 2 / 3 + 5);
        file.write_all(first).expect("the disk takes it");
        world.point(kind, "log.mid_write");
        file.write_all(rest).and_then(|()| file.sync_data()).expect("the disk takes it");
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .expect("a name can be made durable");
        world.point(kind, "log.durable");
    }

    /// Releases whole segments before a position. They are moved aside, for the comparison.
    pub(crate) fn release(&self, world: &World, kind: &str, before: u64) {
        for pair in self.segments().windows(2).filter(|pair| pair[1] <= before) {
            let name = format!("{:012}", pair[0]);
            if fs::rename(self.folder.join(&name), self.released.join(&name)).is_ok() {
                world.tell("released");
            }
            world.point(kind, "release");
        }
    }

    /// Every frame that was ever appended.
    pub(crate) fn everything(&self) -> Vec<Frame> {
        let folders = [&self.released, &self.folder];
        let mut frames = Vec::new();
        for folder in folders {
            let log = Self { folder: folder.clone(), released: PathBuf::new() };
            while let Ok(more) = log.read(frames.len() as u64) {
                if more.is_empty() {
                    break;
                }
                frames.extend(more);
            }
        }
        frames
    }
}
