//! Moves: what becomes of what is known when another version of the registry begins. Connections have
//! other numbers then; some are new, some are gone, some mean something else.

use schemas::registry::{Owner, Registry};

/// From one version to the next.
#[derive(Clone, Copy)]
pub(crate) struct Moves<'a> {
    pub(crate) before: &'a Registry,
    pub(crate) after: &'a Registry,
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// It stands as it did, under this number.
    Same(Owner),
    /// It stands, and its connection was edited: what was concluded of it is outdated.
    Changed(Owner),
    /// It is registered no more.
    Gone,
}

impl Moves<'_> {
    pub(crate) fn of(&self, owner: Owner) -> Moved {
        let found = self.before.connection(owner.connection).and_then(|before| {
            let connection = self.after.id_of(&before.name)?;
            let after = self.after.connection(connection)?;
            let owner = Owner { connection, ..owner };
            let is_there = after.routing_domain == before.routing_domain
                && self.after.registration(&owner).is_some();
            is_there
                .then(|| if before == after { Moved::Same(owner) } else { Moved::Changed(owner) })
        });
        found.unwrap_or(Moved::Gone)
    }

    /// Registrations that the version before did not have.
    pub(crate) fn added(&self) -> Vec<Owner> {
        let mut added = Vec::new();
        for (connection, after) in (0..).zip(self.after.connections()) {
            let before = self.before.id_of(&after.name).and_then(|id| self.before.connection(id));
            let before = before.filter(|before| before.routing_domain == after.routing_domain);
            for registered in &after.prefixes {
                let prefix = registered.prefix;
                let had = before.is_some_and(|b| b.prefixes.iter().any(|r| r.prefix == prefix));
                if !had {
                    added.push(Owner { connection, prefix });
                }
            }
        }
        added
    }
}

impl Moved {
    /// Where it stands now, whatever is said of it.
    pub(crate) const fn owner(self) -> Option<Owner> {
        match self {
            Self::Same(owner) | Self::Changed(owner) => Some(owner),
            Self::Gone => None,
        }
    }
}
