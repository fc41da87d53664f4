//! Room: a full disk is waited for. Whoever has something to say waits with it, and goes on as soon as
//! somebody has made room.

use std::time::Duration;

use schemas::log::LogError;

/// How long a full disk is waited for before the next try.
const RETRY: Duration = Duration::from_secs(1);
/// Tries between two words about it.
const TOLD_EVERY: u64 = 10;

/// Writes, again and again while the disk is full. Nothing of a try that failed may be left.
pub(crate) fn with_room<T>(mut write: impl FnMut() -> Result<T, LogError>) -> Result<T, LogError> {
    let mut tries: u64 = 0;
    loop {
        match write() {
            Err(LogError::Disk { path, error }) if is_passing(&error) => {
                if tries.is_multiple_of(TOLD_EVERY) {
                    let path = path.display();
                    tracing::error!(%path, %error, "log not written, sources wait; make room");
                }
                tries += 1;
                std::thread::sleep(RETRY);
            }
            done => return done,
        }
    }
}

/// Whether an error of the disk may go away when somebody makes room.
fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}
