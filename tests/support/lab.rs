//! Two real routers in network namespaces: r1 sends BMP, r2 feeds it. `deploy/routers/routers` starts
//! them and tells them what to do. Needs root and the packages that `.ci/setup test` installs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where r1 sends its BMP, on its own loopback.
pub const PORT: u16 = 11019;

/// The routers; gone at the end.
pub struct Lab {
    folder: PathBuf,
    /// Begins the names of their namespaces: no other lab has it.
    name: String,
}

impl Lab {
    /// Starts them, unless something is missing: that fails a run for merging and skips any other.
    /// `kind` is what r1 is, `test` a letter of the test's own.
    pub fn start(kind: &str, test: char, folder: &Path) -> Option<Self> {
        let parts = ["/usr/lib/frr/bgpd", "/usr/bin/vtysh", "/usr/bin/gobgpd", "/sbin/ip"];
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        if !is_root || !parts.iter().all(|part| Path::new(part).exists()) {
            let told = "needs root and: apt-get install -y frr gobgpd iproute2";
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{told}");
            eprintln!("skipped: {told}");
            return None;
        }
        let name = format!("ps{}{test}", std::process::id());
        let lab = Self { folder: folder.to_owned(), name };
        lab.tell(&["up", kind]);
        Some(lab)
    }

    /// Tells them something, and insists that it is done.
    pub fn tell(&self, words: &[&str]) {
        let told = self.folder.join("told");
        let errors = fs::File::create(&told).unwrap();
        let done = self.script(words).stderr(errors).status().unwrap();
        assert!(done.success(), "{words:?}: {}", fs::read_to_string(told).unwrap());
    }

    /// A program where r1 is. Its process becomes the program, so that a signal reaches it.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        self.script(&[["exec", program].as_slice(), arguments].concat())
    }

    fn script(&self, words: &[&str]) -> Command {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = "deploy/routers/routers";
        let script = [here.join(script), here.join("..").join(script)];
        let mut command = Command::new(script.iter().find(|script| script.exists()).unwrap());
        command
            .args(words)
            .env("ROUTERS_DIR", self.folder.join("routers"))
            .env("ROUTERS_NAME", &self.name)
            .env("BMP_PORT", PORT.to_string())
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.script(&["down"]).status();
    }
}
