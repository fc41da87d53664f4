//! Closed words: enumerations of which each value is one word, in a column, in the log and in a state
//! that is saved.
//!
//! They are written as their words and not as numbers, so that a later version may put one between
//! two others. A word that this version does not know is an error of the reader.

use serde::de::{Deserializer, Error, Visitor};

/// Declares one.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $text:literal, )+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[doc = $doc])+ $variant, )+ }

        impl $name {
            /// All of them with word and meaning, in order.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$( (Self::$variant, $text, concat!($($doc),+)) ),+];

            /// The word in the column.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::words::one_of(deserializer, stringify!($name), |word| {
                    let known = Self::ALL.iter().find(|known| known.1 == word);
                    known.map(|known| known.0)
                })
            }
        }
    };
}
pub(crate) use words;

/// Reads a word, and finds out which it is.
pub(crate) fn one_of<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    what: &'static str,
    known: impl Fn(&str) -> Option<T>,
) -> Result<T, D::Error> {
    struct Word<F>(&'static str, F);

    impl<T, F: Fn(&str) -> Option<T>> Visitor<'_> for Word<F> {
        type Value = T;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a word of {}", self.0)
        }

        fn visit_str<E: Error>(self, word: &str) -> Result<T, E> {
            (self.1)(word).ok_or_else(|| E::custom(format!("{word:?} is no {}", self.0)))
        }
    }

    deserializer.deserialize_str(Word(what, known))
}

#[cfg(test)]
mod tests {
    use crate::finding::Rule;

    #[test]
    fn a_word_is_written_as_it_stands_in_a_column_and_a_strange_one_is_refused() {
        for (rule, word, _) in Rule::ALL {
            let json = serde_json::to_string(rule).unwrap();
            assert_eq!(json, format!("\"{word}\""));
            assert_eq!(serde_json::from_str::<Rule>(&json).unwrap(), *rule);
            let bytes = postcard::to_stdvec(rule).unwrap();
            assert_eq!(postcard::from_bytes::<Rule>(&bytes).unwrap(), *rule);
        }
        let strange = serde_json::from_str::<Rule>("\"hijack_of_tomorrow\"").unwrap_err();
        assert!(strange.to_string().contains("is no Rule"), "{strange}");
    }
}
