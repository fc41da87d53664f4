//! The pool: threads that decode blocks, as many as there are cores, for all files of the process.
//!
//! A file may always have one block under way; to read ahead it needs a permit, and permits are
//! few. So memory is bounded by them and by the files that are open, not by the size of any.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::segment::{Decoded, Segment};

/// Blocks under way, or decoded and not yet read, for each thread.
const BLOCKS_AHEAD_PER_THREAD: usize = 2;

struct Task {
    segment: Segment,
    done: SyncSender<Done>,
}

/// A segment, and what became of it.
pub(super) type Done = (Segment, Decoded);

/// The threads, and the way to them.
pub(super) struct Pool {
    tasks: Sender<Task>,
    ahead: AtomicUsize,
    ahead_max: usize,
}

/// Room for one block more; given back when dropped.
pub(super) struct Permit(&'static Pool);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.ahead.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// The pool of this process; none on a machine of one core, where it would gain nothing.
    pub(super) fn shared() -> Option<&'static Self> {
        static POOL: OnceLock<Option<Pool>> = OnceLock::new();
        POOL.get_or_init(Self::start).as_ref()
    }

    fn start() -> Option<Self> {
        static TASKS: OnceLock<Mutex<Receiver<Task>>> = OnceLock::new();
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        if threads < 2 {
            return None;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a task waits only with a permit, see `permit`"
        )]
        let (tasks, receiver) = channel();
        let queue = TASKS.get_or_init(|| Mutex::new(receiver));
        let started = (0..threads)
            .filter(|number| {
                let thread = std::thread::Builder::new().name(format!("bzip2-{number}"));
                thread.spawn(|| work(queue)).is_ok()
            })
            .count();
        let ahead_max = started * BLOCKS_AHEAD_PER_THREAD;
        (started > 0).then(|| Self { tasks, ahead: AtomicUsize::new(0), ahead_max })
    }

    /// Room to read one block ahead, if there is any.
    pub(super) fn permit(&'static self) -> Option<Permit> {
        let more = |ahead| (ahead < self.ahead_max).then_some(ahead + 1);
        let taken = self.ahead.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|_| Permit(self))
    }

    /// Has a segment decoded; the answer comes once.
    pub(super) fn decode(&self, segment: Segment) -> Receiver<Done> {
        let (done, receiver) = sync_channel(1);
        // Threads that are gone drop the task, and the receiver says so.
        let _ = self.tasks.send(Task { segment, done });
        receiver
    }
}

fn work(queue: &Mutex<Receiver<Task>>) {
    loop {
        let task = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Task { segment, done }) = task else { return };
        let decoded = segment.decode(true);
        // Nobody waits for it any more: the file was closed.
        let _ = done.send((segment, decoded));
    }
}
