//! Real object stores on loopback: MinIO and Azurite, started by `deploy/stores/stores`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use analytics::lake::place::Access;
use analytics::lake::{LakeRoot, Store};
use tempfile::TempDir;

/// Ports taken by this test binary: three each.
static STARTED: AtomicU16 = AtomicU16::new(0);

/// Both stores, gone at the end.
pub struct Stores {
    folder: TempDir,
    port: u16,
    environment: Vec<(String, String)>,
}

/// The schemes that are served.
pub const SCHEMES: [&str; 2] = ["s3", "az"];

impl Stores {
    /// Starts them; none where they are not installed, which in CI is a failure.
    pub fn up() -> Option<Self> {
        if installed().is_none() {
            let missing = "MinIO and Azurite are not installed, run .ci/stores";
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{missing}");
            eprintln!("skipped: {missing}");
            return None;
        }
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let process = u16::try_from(std::process::id() % 900).unwrap();
        let port = 21_000 + process * 12 + number * 3;
        let folder = TempDir::new().unwrap();
        let mut stores = Self { folder, port, environment: Vec::new() };
        let said = stores.script("up");
        let text = String::from_utf8(said.stdout).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        stores.environment = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        Some(stores)
    }

    fn script(&self, what: &str) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/stores/stores");
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let done = Command::new(script)
            .arg(what)
            .env("STORES_DIR", installed().unwrap())
            .env("STORES_DATA", self.folder.path())
            .env("S3_PORT", self.port.to_string())
            .env("BLOB_PORT", (self.port + 2).to_string())
            .stdin(Stdio::null())
            .stderr(log)
            .output()
            .unwrap();
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        assert!(done.status.success(), "stores {what}: {log}");
        done
    }

    /// What a command needs to reach them.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A lake in one of them, for this process: its environment is not touched.
    pub fn root(&self, url: &str) -> LakeRoot {
        let file = self.folder.path().join("clients.env");
        let is_client = |name: &str| name.starts_with("AWS_") || name.starts_with("AZURE_");
        let lines = self.environment().filter(|(name, _)| is_client(name));
        let lines: String = lines.map(|(name, value)| format!("{name}={value}\n")).collect();
        std::fs::write(&file, lines).unwrap();
        let access = Access { credentials_file: Some(file), ..Access::default() };
        LakeRoot::parse(url).unwrap().with_access(access)
    }

    /// Every file of a lake with its bytes.
    pub fn files(&self, url: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
        let store = Store::read_at(&self.root(url)).unwrap();
        let entries = store.list_all("").unwrap().into_iter();
        let read = |key: String| {
            let bytes = store.get(&key).unwrap().unwrap();
            (key, bytes)
        };
        entries.map(|entry| read(entry.key)).collect()
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        self.script("down");
    }
}

/// Where `.ci/stores` put them: `$STORES_DIR`, else `stores` in `$PEERSCOPE_TOOLS`, else in `tools`
/// of cargo's target folder.
fn installed() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let tools = std::env::var_os("PEERSCOPE_TOOLS").map(PathBuf::from);
    let tools = tools.or(target.map(|target| target.join("tools")));
    let named = std::env::var_os("STORES_DIR").map(PathBuf::from);
    let folder = named.or(tools.map(|tools| tools.join("stores")))?;
    let parts = ["minio", "node_modules/.bin/azurite-blob"];
    parts.iter().all(|part| folder.join(part).exists()).then_some(folder)
}
