//! Kill points, armed by the environment: for tests that count what is left after a kill.
//!
//! `PEERSCOPE_KILL_AT=POINT:N` kills the process, as `kill -9` does, when it comes to a point for the
//! N-th time; `POINT:N:half` when half of what is written there is written. `PEERSCOPE_KILL_LOG=FILE`
//! gets a line `POINT` or `POINT:half` before. `PEERSCOPE_CLOCK_BEHIND_SECS=SECS` sets the clock of the log
//! back, so that a lake has days that are over. Without the first nothing of this happens.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rustix::process::Signal;
use schemas::killpoint::{self, KillPoint, Killer};

/// Seconds that the clock of the log is set back.
static BEHIND_SECS: AtomicI64 = AtomicI64::new(0);

/// When to die.
#[derive(Debug)]
struct Plan {
    point: KillPoint,
    name: &'static str,
    /// Times left until then.
    left: AtomicU64,
    at_half: bool,
    log: Option<PathBuf>,
}

/// Arms the points if the environment says so.
///
/// # Errors
/// What is wrong with what it says.
pub(crate) fn arm() -> Result<(), String> {
    let Ok(text) = std::env::var("PEERSCOPE_KILL_AT") else { return Ok(()) };
    let log = std::env::var_os("PEERSCOPE_KILL_LOG").map(PathBuf::from);
    let plan = Plan::parse(&text, log)
        .ok_or_else(|| format!("PEERSCOPE_KILL_AT is {text:?}: POINT:N or POINT:N:half"))?;
    killpoint::arm(Box::new(plan));
    if let Ok(text) = std::env::var("PEERSCOPE_CLOCK_BEHIND_SECS") {
        let secs = text.parse().map_err(|_| format!("PEERSCOPE_CLOCK_BEHIND_SECS is {text:?}"))?;
        BEHIND_SECS.store(secs, Ordering::Relaxed);
    }
    Ok(())
}

/// Seconds that the clock of the log is set back.
pub(crate) fn clock_behind_secs() -> i64 {
    BEHIND_SECS.load(Ordering::Relaxed)
}

impl Plan {
    fn parse(text: &str, log: Option<PathBuf>) -> Option<Self> {
        let mut parts = text.split(':');
        let named = parts.next()?;
        let (point, name) = KillPoint::ALL.into_iter().find(|(_, name)| *name == named)?;
        let left = parts.next()?.parse().ok().filter(|left| *left > 0)?;
        let at_half = match parts.next() {
            None => false,
            Some("half") => true,
            Some(_) => return None,
        };
        let left = AtomicU64::new(left);
        parts.next().is_none().then_some(Self { point, name, left, at_half, log })
    }

    fn die(&self) -> ! {
        if let Some(path) = &self.log {
            let half = if self.at_half { ":half" } else { "" };
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            // The line counts the kill; a test that finds none says so.
            let _ = file
                .and_then(|mut file| file.write_all(format!("{}{half}\n", self.name).as_bytes()));
        }
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
        std::process::abort()
    }

    /// Whether this is the time.
    fn is_now(&self) -> bool {
        self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

impl Killer for Plan {
    fn at(&self, point: KillPoint) {
        // In the middle of a write `cut` has counted already.
        let is_cut = self.at_half && self.left.load(Ordering::Relaxed) == 0;
        if point == self.point && (is_cut || (!self.at_half && self.is_now())) {
            self.die();
        }
    }

    fn cut(&self, point: KillPoint, bytes: usize) -> Option<usize> {
        (point == self.point && self.at_half && self.is_now()).then_some(bytes / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_point_a_count_and_perhaps_half() {
        let plan = Plan::parse("put:3:half", None).unwrap();
        assert_eq!((plan.point, plan.at_half), (KillPoint::Put, true));
        assert_eq!(plan.cut(KillPoint::Put, 10), None);
        assert_eq!(plan.cut(KillPoint::Encode, 10), None, "another point does not count");
        assert_eq!(plan.cut(KillPoint::Put, 10), None);
        assert_eq!(plan.cut(KillPoint::Put, 10), Some(5));
        for wrong in ["", "put", "put:0", "elsewhere:1", "put:1:third", "put:1:half:x"] {
            assert!(Plan::parse(wrong, None).is_none(), "{wrong}");
        }
    }
}
