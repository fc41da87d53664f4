//! Tokens: a request's `Authorization` in, who speaks and what they may out.
//!
//! A token is known by its SHA-256 only, and looked up by it, so that how long that takes says nothing
//! about a token. Each one has a rate of its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use analytics::lake::identity::sha256_hex;

use super::answer::Problem;
use super::config::{HttpConfig, Scope};

/// Longest token.
const TOKEN_BYTES_MAX: usize = 512;

/// Who speaks, and what they may.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    /// What the log calls them.
    pub(super) name: String,
    /// Whose connections they speak for; none: all.
    pub(super) tenant: Option<String>,
    scopes: BTreeSet<Scope>,
    index: usize,
}

/// Everybody who may speak.
pub(super) struct Tokens {
    grants: HashMap<String, Grant>,
    per_sec: f64,
    rates: Mutex<Vec<Rate>>,
}

/// Requests that one may still make, when that was so.
#[derive(Clone, Copy)]
struct Rate {
    left: f64,
    at: Instant,
}

impl Tokens {
    pub(super) fn new(config: &HttpConfig) -> Self {
        let mut grants = HashMap::new();
        for (index, token) in (1..).zip(&config.token) {
            let grant = Grant {
                name: token.name.clone(),
                tenant: token.tenant.clone(),
                scopes: token.scopes.clone(),
                index,
            };
            grants.insert(token.sha256.to_ascii_lowercase(), grant);
        }
        let per_sec = f64::from(config.requests_per_sec_max);
        let full = Rate { left: per_sec, at: Instant::now() };
        let rates = Mutex::new(vec![full; config.token.len() + 1]);
        Self { grants, per_sec, rates }
    }

    /// Who speaks, if they may do this. `authorization` is the header.
    pub(super) fn admit(
        &self,
        authorization: Option<&[u8]>,
        scope: Scope,
    ) -> Result<Grant, Problem> {
        let grant = self.known(authorization)?;
        if !grant.scopes.contains(&scope) {
            let name = &grant.name;
            return Err(Problem::forbidden(format!("token {name:?} has not the scope for this")));
        }
        if self.is_too_fast(grant.index) {
            return Err(Problem::too_many());
        }
        Ok(grant)
    }

    fn known(&self, authorization: Option<&[u8]>) -> Result<Grant, Problem> {
        if self.grants.is_empty() {
            let scopes = BTreeSet::from([Scope::Rtt, Scope::Metrics, Scope::Sql]);
            return Ok(Grant { name: "anybody".to_owned(), tenant: None, scopes, index: 0 });
        }
        let Some(header) = authorization else { return Err(Problem::unauthorized()) };
        let (scheme, token) = header.split_at_checked(7).unwrap_or((header, b""));
        let token = token.trim_ascii();
        if !scheme.eq_ignore_ascii_case(b"bearer ") || token.len() > TOKEN_BYTES_MAX {
            return Err(Problem::unauthorized());
        }
        self.grants.get(&sha256_hex(token)).cloned().ok_or_else(Problem::unauthorized)
    }

    /// Counts a request against a token's rate.
    fn is_too_fast(&self, index: usize) -> bool {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rate) = rates.get_mut(index) else { return false };
        let now = Instant::now();
        let more = now.duration_since(rate.at).as_secs_f64() * self.per_sec;
        *rate = Rate { left: (rate.left + more).min(self.per_sec), at: now };
        if rate.left < 1.0 {
            return true;
        }
        rate.left -= 1.0;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::HttpToken;
    use super::*;

    fn tokens(per_sec: u32) -> Tokens {
        let token = |name: &str, secret: &str, scopes: &[Scope]| HttpToken {
            name: name.to_owned(),
            sha256: sha256_hex(secret.as_bytes()).to_ascii_uppercase(),
            tenant: Some("contoso".to_owned()),
            scopes: scopes.iter().copied().collect(),
        };
        let token =
            vec![token("probe", "s3cret", &[Scope::Rtt]), token("both", "b", &[Scope::Metrics])];
        Tokens::new(&HttpConfig { token, requests_per_sec_max: per_sec, ..Default::default() })
    }

    #[test]
    fn a_token_is_known_by_its_hash_and_may_what_its_scopes_say() {
        let tokens = tokens(100);
        let admit = |header: &str, scope| {
            tokens.admit(Some(header.as_bytes()), scope).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(admit("Bearer s3cret", Scope::Rtt).unwrap().tenant.as_deref(), Some("contoso"));
        assert_eq!(admit("bearer s3cret", Scope::Rtt).unwrap().name, "probe");
        assert_eq!(admit("Bearer s3cret", Scope::Metrics).unwrap_err(), 403);
        for wrong in ["Bearer s3cre", "Bearer ", "Basic s3cret", "s3cret", ""] {
            assert_eq!(admit(wrong, Scope::Rtt).unwrap_err(), 401, "{wrong}");
        }
        let nobody = tokens.admit(None, Scope::Rtt).map_err(|problem| problem.status.as_u16());
        assert_eq!(nobody.unwrap_err(), 401);
        let open = Tokens::new(&HttpConfig::default());
        assert_eq!(open.admit(None, Scope::Metrics).unwrap().tenant, None, "no tokens at all");
    }

    #[test]
    fn a_token_that_is_too_fast_is_put_off_and_the_others_are_not() {
        let tokens = tokens(2);
        let admit = |header: &str, scope| tokens.admit(Some(header.as_bytes()), scope).is_ok();
        let admitted = (0..10).filter(|_| admit("Bearer s3cret", Scope::Rtt)).count();
        assert_eq!(admitted, 2);
        assert!(admit("Bearer b", Scope::Metrics));
    }
}
