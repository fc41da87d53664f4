//! `peerscope http`: what the HTTP listener needs.

use std::fs::File;
use std::io::{Read as _, Write as _};

use analytics::lake::identity::sha256_hex;
use anyhow::Context as _;

use super::Ended;
use crate::http::config::Scope;

/// Where the system gives randomness.
const RANDOMNESS: &str = "/dev/urandom";
/// Bytes of a new token.
const TOKEN_BYTES: usize = 32;

/// What the HTTP listener needs
#[derive(Debug, clap::Args)]
pub struct Http {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a token: its hash for the configuration, the token itself for the client
    Token(Token),
}

/// A new token
#[derive(Debug, clap::Args)]
struct Token {
    /// What the log calls it
    name: String,

    /// Samples on connections of this tenant, and rows of this tenant only
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,

    /// What it may do; may be given again. To bring samples unless told
    #[arg(long = "scope", value_name = "SCOPE", value_enum)]
    scopes: Vec<Scope>,
}

impl Http {
    /// Runs the command.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn run(self) -> anyhow::Result<Ended> {
        let Action::Token(Token { name, tenant, scopes }) = self.action;
        let mut random = [0; TOKEN_BYTES];
        File::open(RANDOMNESS)
            .and_then(|mut file| file.read_exact(&mut random))
            .context(RANDOMNESS)?;
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut out = std::io::stdout().lock();
        writeln!(out, "# for the client, shown once; it is kept nowhere: {token}")?;
        writeln!(out, "[[http.token]]")?;
        writeln!(out, "name = {}", toml::Value::from(name))?;
        writeln!(out, "sha256 = \"{}\"", sha256_hex(token.as_bytes()))?;
        if let Some(tenant) = tenant {
            writeln!(out, "tenant = {}", toml::Value::from(tenant))?;
        }
        if !scopes.is_empty() {
            let scopes = scopes.iter().map(|scope| toml::Value::from(scope.as_str())).collect();
            writeln!(out, "scopes = {}", toml::Value::Array(scopes))?;
        }
        Ok(Ended::Well)
    }
}
