//! Cells: how a Rust value stands in an Arrow column, one trait for all tables.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int32Builder,
    ListBuilder, StringBuilder, TimestampMicrosecondBuilder, UInt8Builder, UInt16Builder,
    UInt32Builder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::bgp::{Asn, Prefix};
use crate::time::Timestamp;

/// Text shared between rows.
pub type Text = Arc<str>;

/// A value that can stand in a column.
pub trait Cell {
    /// The builder of its column.
    type Builder: ArrayBuilder;
    /// Whether the column may hold null.
    const NULLABLE: bool = false;
    /// The column's type.
    fn data_type() -> DataType;
    /// An empty builder for `rows` rows.
    fn builder(rows: usize) -> Self::Builder;
    /// Appends this value.
    fn append(&self, builder: &mut Self::Builder);
    /// Appends a null.
    fn append_null(builder: &mut Self::Builder);
}

impl<C: Cell> Cell for Option<C> {
    type Builder = C::Builder;
    const NULLABLE: bool = true;

    fn data_type() -> DataType {
        C::data_type()
    }

    fn builder(rows: usize) -> Self::Builder {
        C::builder(rows)
    }

    fn append(&self, builder: &mut Self::Builder) {
        match self {
            Some(value) => value.append(builder),
            None => C::append_null(builder),
        }
    }

    fn append_null(builder: &mut Self::Builder) {
        C::append_null(builder);
    }
}

macro_rules! plain_cell {
    ($($type:ty, $builder:ty, $data_type:expr, $value:expr;)+) => {$(
        impl Cell for $type {
            type Builder = $builder;

            fn data_type() -> DataType {
                $data_type
            }

            fn builder(rows: usize) -> Self::Builder {
                <$builder>::with_capacity(rows)
            }

            fn append(&self, builder: &mut Self::Builder) {
                let value: fn(&Self) -> _ = $value;
                builder.append_value(value(self));
            }

            fn append_null(builder: &mut Self::Builder) {
                builder.append_null();
            }
        }
    )+};
}

plain_cell! {
    bool, BooleanBuilder, DataType::Boolean, |v| *v;
    u8, UInt8Builder, DataType::UInt8, |v| *v;
    u16, UInt16Builder, DataType::UInt16, |v| *v;
    i32, Int32Builder, DataType::Int32, |v| *v;
    u32, UInt32Builder, DataType::UInt32, |v| *v;
    u64, UInt64Builder, DataType::UInt64, |v| *v;
    f64, Float64Builder, DataType::Float64, |v| *v;
    Asn, UInt32Builder, DataType::UInt32, |v| v.0;
}

macro_rules! text_cell {
    ($($type:ty, $append:expr;)+) => {$(
        impl Cell for $type {
            type Builder = StringBuilder;

            fn data_type() -> DataType {
                DataType::Utf8
            }

            fn builder(rows: usize) -> StringBuilder {
                StringBuilder::with_capacity(rows, rows * 16)
            }

            fn append(&self, builder: &mut StringBuilder) {
                let append: fn(&Self, &mut StringBuilder) = $append;
                append(self, builder);
            }

            fn append_null(builder: &mut StringBuilder) {
                builder.append_null();
            }
        }
    )+};
}

text_cell! {
    Text, |v, b| b.append_value(v);
    String, |v, b| b.append_value(v);
    &'static str, |v, b| b.append_value(v);
    Prefix, |v, b| append_display(v, b);
    IpAddr, |v, b| append_display(v, b);
}

#[expect(clippy::expect_used, reason = "a builder takes every text")]
fn append_display(value: &impl fmt::Display, builder: &mut StringBuilder) {
    write!(builder, "{value}").expect("the builder takes it");
    builder.append_value("");
}

impl Cell for Timestamp {
    type Builder = TimestampMicrosecondBuilder;

    fn data_type() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }

    fn builder(rows: usize) -> Self::Builder {
        TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(Self::data_type())
    }

    fn append(&self, builder: &mut Self::Builder) {
        builder.append_value(self.micros());
    }

    fn append_null(builder: &mut Self::Builder) {
        builder.append_null();
    }
}

/// Sixteen octets: an address on the axis of both families.
impl Cell for [u8; 16] {
    type Builder = FixedSizeBinaryBuilder;

    fn data_type() -> DataType {
        DataType::FixedSizeBinary(16)
    }

    fn builder(rows: usize) -> Self::Builder {
        FixedSizeBinaryBuilder::with_capacity(rows, 16)
    }

    #[expect(clippy::expect_used, reason = "sixteen octets always fit a column of sixteen")]
    fn append(&self, builder: &mut Self::Builder) {
        builder.append_value(self).expect("sixteen octets");
    }

    fn append_null(builder: &mut Self::Builder) {
        builder.append_null();
    }
}

impl<C: Cell> Cell for Vec<C> {
    type Builder = ListBuilder<C::Builder>;

    fn data_type() -> DataType {
        DataType::List(Arc::new(Field::new_list_field(C::data_type(), true)))
    }

    fn builder(rows: usize) -> Self::Builder {
        ListBuilder::with_capacity(C::builder(rows * 4), rows)
    }

    fn append(&self, builder: &mut Self::Builder) {
        append_list(self, builder);
    }

    fn append_null(builder: &mut Self::Builder) {
        builder.append(false);
    }
}

/// A list shared between rows.
impl<C: Cell> Cell for Arc<[C]> {
    type Builder = ListBuilder<C::Builder>;

    fn data_type() -> DataType {
        Vec::<C>::data_type()
    }

    fn builder(rows: usize) -> Self::Builder {
        Vec::<C>::builder(rows)
    }

    fn append(&self, builder: &mut Self::Builder) {
        append_list(self, builder);
    }

    fn append_null(builder: &mut Self::Builder) {
        builder.append(false);
    }
}

fn append_list<C: Cell>(list: &[C], builder: &mut ListBuilder<C::Builder>) {
    for value in list {
        value.append(builder.values());
    }
    builder.append(true);
}
