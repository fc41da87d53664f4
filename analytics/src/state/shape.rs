//! Shapes: what serde tells of values in, the layout of their types as text out.
//!
//! Postcard says nothing of names and types: bytes of another layout may be read as something else. So the
//! layout is kept (`shape.txt`) and compared: a change of it is a change of [`super::FORMAT`]. Names
//! stand for types, so two types of one name stand in one line.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// What is not known of a value that is not there.
const UNKNOWN: &str = "_";

/// Fields or variants of each named type, by their place, and parts by their names.
type Types = BTreeMap<String, BTreeMap<(usize, String), String>>;

thread_local! {
    static TYPES: RefCell<Option<Types>> = const { RefCell::new(None) };
}

/// Notes a part, if somebody records.
pub(super) fn note<T: Serialize + ?Sized>(part: &str, value: &T) {
    if TYPES.with_borrow(Option::is_none) {
        return;
    }
    let shape = value.serialize(Shape).unwrap();
    keep("parts", 0, part, shape);
}

/// The layout of everything that is written meanwhile.
pub(crate) fn of(writes: impl FnOnce()) -> String {
    TYPES.set(Some(Types::new()));
    writes();
    let mut text = String::new();
    for (name, fields) in TYPES.take().unwrap_or_default() {
        let _ = writeln!(text, "{name}");
        for ((_, field), shape) in fields {
            let _ = writeln!(text, "    {field}: {shape}");
        }
    }
    text
}

fn keep(name: &str, place: usize, field: &str, shape: String) {
    TYPES.with_borrow_mut(|types| {
        let fields = types.get_or_insert_default().entry(name.to_owned()).or_default();
        let known = fields.entry((place, field.to_owned())).or_insert_with(|| UNKNOWN.to_owned());
        *known = better(std::mem::take(known), shape);
    });
}

/// The one that knows more.
fn better(a: String, b: String) -> String {
    let unknown =
        |text: &str| (text == UNKNOWN, text.matches(UNKNOWN).count(), usize::MAX - text.len());
    if unknown(&b) < unknown(&a) { b } else { a }
}

struct Shape;

/// The parts of a value as they come.
struct Parts {
    name: &'static str,
    variant: Option<(u32, &'static str)>,
    shapes: Vec<String>,
    place: usize,
}

impl Parts {
    fn new(name: &'static str, variant: Option<(u32, &'static str)>) -> Self {
        Self { name, variant, shapes: Vec::new(), place: 0 }
    }

    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), std::fmt::Error> {
        self.shapes.push(value.serialize(Shape)?);
        Ok(())
    }

    fn tuple(self) -> String {
        let shape = format!("({})", self.shapes.join(", "));
        match self.variant {
            Some((number, variant)) => {
                keep(self.name, number as usize, variant, shape);
                self.name.to_owned()
            }
            None => shape,
        }
    }
}

macro_rules! plain {
    ($($method:ident: $type:ty),+ $(,)?) => {$(
        fn $method(self, _: $type) -> Result<String, std::fmt::Error> {
            Ok(stringify!($type).to_owned())
        }
    )+};
}

type Told = Result<String, std::fmt::Error>;

impl Serializer for Shape {
    type Ok = String;
    type Error = std::fmt::Error;
    type SerializeSeq = Parts;
    type SerializeTuple = Parts;
    type SerializeTupleStruct = Parts;
    type SerializeTupleVariant = Parts;
    type SerializeMap = Parts;
    type SerializeStruct = Parts;
    type SerializeStructVariant = Parts;

    plain! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_i64: i64, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
        serialize_u64: u64, serialize_f32: f32, serialize_f64: f64, serialize_char: char,
        serialize_str: &str, serialize_bytes: &[u8],
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_none(self) -> Told {
        Ok(UNKNOWN.to_owned())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Told {
        Ok(format!("{}?", value.serialize(self)?))
    }

    fn serialize_unit(self) -> Told {
        Ok("()".to_owned())
    }

    fn serialize_unit_struct(self, name: &'static str) -> Told {
        Ok(name.to_owned())
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        number: u32,
        variant: &'static str,
    ) -> Told {
        keep(name, number as usize, variant, String::new());
        Ok(name.to_owned())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Told {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        number: u32,
        variant: &'static str,
        value: &T,
    ) -> Told {
        keep(name, number as usize, variant, value.serialize(Self)?);
        Ok(name.to_owned())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts, std::fmt::Error> {
        Ok(Parts::new("", None))
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts, std::fmt::Error> {
        Ok(Parts::new("", None))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts, std::fmt::Error> {
        Ok(Parts::new("", None))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        number: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts, std::fmt::Error> {
        Ok(Parts::new(name, Some((number, variant))))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts, std::fmt::Error> {
        Ok(Parts::new("", None))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Parts, std::fmt::Error> {
        Ok(Parts::new(name, None))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts, std::fmt::Error> {
        Err(std::fmt::Error::custom(format!("{name}::{variant}: none has fields with names")))
    }
}

impl SerializeSeq for Parts {
    type Ok = String;
    type Error = std::fmt::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Self::Error> {
        self.add(value)
    }

    fn end(self) -> Told {
        let best = self.shapes.into_iter().fold(UNKNOWN.to_owned(), better);
        Ok(format!("[{best}]"))
    }
}

macro_rules! tuple {
    ($($trait:ident: $method:ident),+) => {$(
        impl $trait for Parts {
            type Ok = String;
            type Error = std::fmt::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Self::Error> {
                self.add(value)
            }

            fn end(self) -> Told {
                Ok(self.tuple())
            }
        }
    )+};
}

tuple!(
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
);

impl SerializeMap for Parts {
    type Ok = String;
    type Error = std::fmt::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Self::Error> {
        self.add(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Self::Error> {
        self.add(value)
    }

    fn end(self) -> Told {
        let pairs = self.shapes.chunks(2).map(|pair| pair.join(": "));
        let best = pairs.fold(UNKNOWN.to_owned(), better);
        Ok(format!("{{{best}}}"))
    }
}

impl SerializeStruct for Parts {
    type Ok = String;
    type Error = std::fmt::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        field: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        keep(self.name, self.place, field, value.serialize(Shape)?);
        self.place += 1;
        Ok(())
    }

    fn end(self) -> Told {
        Ok(self.name.to_owned())
    }
}

impl SerializeStructVariant for Parts {
    type Ok = String;
    type Error = std::fmt::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        _: &'static str,
        _: &T,
    ) -> Result<(), Self::Error> {
        Err(std::fmt::Error)
    }

    fn end(self) -> Told {
        Err(std::fmt::Error)
    }
}
