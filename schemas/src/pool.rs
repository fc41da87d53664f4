//! Pools: texts that are read again and again lie once.
//!
//! The texts of a fold are shared: thousands of series name one connection. As bytes each of them
//! stands by itself. While a [`Pool`] is open on a thread, whatever is read there by [`text`] and its
//! like shares equal texts again; without one each text is its own. It saves memory, and nothing
//! else depends on it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::tables::Text;

thread_local! {
    static TEXTS: RefCell<Option<HashSet<Text>>> = const { RefCell::new(None) };
}

/// An open pool of this thread; closed when it is dropped.
#[derive(Debug)]
pub struct Pool(PhantomData<*const ()>);

impl Pool {
    /// Opens an empty one. A pool that is open already is closed by it.
    #[must_use]
    pub fn open() -> Self {
        TEXTS.set(Some(HashSet::new()));
        Self(PhantomData)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        TEXTS.set(None);
    }
}

/// A text that is read by way of the pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pooled(pub Text);

impl<'de> Deserialize<'de> for Pooled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Pooled;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Pooled, E> {
                Ok(Pooled(shared(text)))
            }
        }

        deserializer.deserialize_str(Reader)
    }
}

fn shared(text: &str) -> Text {
    TEXTS.with_borrow_mut(|texts| {
        let Some(texts) = texts else { return text.into() };
        if let Some(known) = texts.get(text) {
            return Text::clone(known);
        }
        let new = Text::from(text);
        texts.insert(Text::clone(&new));
        new
    })
}

/// Reads a text; for `#[serde(deserialize_with)]`.
///
/// # Errors
/// What the deserializer says.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
    Pooled::deserialize(deserializer).map(|pooled| pooled.0)
}

/// Reads a text or none; for `#[serde(deserialize_with)]`.
///
/// # Errors
/// What the deserializer says.
pub fn text_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Text>, D::Error> {
    let pooled = Option::<Pooled>::deserialize(deserializer)?;
    Ok(pooled.map(|pooled| pooled.0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn equal_texts_lie_once_while_a_pool_is_open_and_apart_without_one() {
        let bytes = postcard::to_stdvec(&["seattle", "seattle", "portland"]).unwrap();
        let read = || postcard::from_bytes::<[Pooled; 3]>(&bytes).unwrap();
        let [a, b, c] = read();
        assert_eq!((&*a.0, &*b.0, &*c.0), ("seattle", "seattle", "portland"));
        assert!(!Arc::ptr_eq(&a.0, &b.0));
        let pool = Pool::open();
        let ([a, b, c], [d, ..]) = (read(), read());
        assert!(Arc::ptr_eq(&a.0, &b.0) && Arc::ptr_eq(&a.0, &d.0) && !Arc::ptr_eq(&a.0, &c.0));
        drop(pool);
        assert!(!Arc::ptr_eq(&a.0, &read()[0].0));
        assert_eq!(Arc::strong_count(&a.0), 3, "the pool keeps none");
    }
}
