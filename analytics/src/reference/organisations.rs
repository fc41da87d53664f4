//! Organisations: which ASes belong to one company. CSV with the AS number and the organisation in
//! columns `asn` and `organisation`, or RIR rows `registry,organisation,asn` without a header.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;

use schemas::bgp::Asn;

use super::ReferenceError;

/// Organisation by AS number.
#[derive(Debug, Default)]
pub struct Organisations {
    of: HashMap<Asn, Arc<str>>,
}

impl Organisations {
    /// Reads either form.
    ///
    /// # Errors
    /// [`ReferenceError`] at the first line that is of neither form.
    pub fn read(reader: impl BufRead) -> Result<Self, ReferenceError> {
        let mut of = HashMap::new();
        let mut names: HashMap<String, Arc<str>> = HashMap::new();
        for (number, line) in (1..).zip(reader.lines()) {
            let line = line?;
            if line.starts_with('#') || line.trim().is_empty() || line.starts_with("asn,") {
                continue;
            }
            let Some((asn, organisation)) = parse(&line) else {
                return Err(ReferenceError::Malformed {
                    line: number,
                    text: line,
                    wanted: "asn,organisation or registry,organisation,asn",
                });
            };
            let name = names
                .entry(organisation)
                .or_insert_with_key(|organisation| organisation.as_str().into());
            of.insert(asn, Arc::clone(name));
        }
        Ok(Self { of })
    }

    /// How many AS numbers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The organisation that both belong to, if one does.
    #[must_use]
    pub fn shared_by(&self, a: Asn, b: Asn) -> Option<&str> {
        let (of_a, of_b) = (self.of.get(&a)?, self.of.get(&b)?);
        (of_a == of_b).then_some(of_a)
    }
}

fn parse(line: &str) -> Option<(Asn, String)> {
    let mut fields = line.split(',').map(str::trim);
    let (first, second, third) = (fields.next()?, fields.next()?, fields.next());
    let number = |text: &str| text.trim_start_matches("AS").parse().ok().map(Asn);
    match (number(first), third.and_then(number)) {
        (Some(asn), _) => Some((asn, second.to_owned())),
        (None, Some(asn)) => Some((asn, format!("{first}/{second}"))),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_are_told_in_both_forms() {
        let text = "asn,organisation\n64510,Contoso\nAS64511,Contoso\nripe,ORG-X,64500\n";
        let known = Organisations::read(text.as_bytes()).unwrap();
        assert_eq!(known.shared_by(Asn(64_510), Asn(64_511)), Some("Contoso"));
        assert_eq!(known.shared_by(Asn(64_510), Asn(64_500)), None);
        assert!(Organisations::read("x,y\n".as_bytes()).is_err());
    }
}
