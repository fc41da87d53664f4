//! SQL functions: columns of the lake in, one value a row out. Null in, null out.
//!
//! `hdr_quantile` and `hdr_count` read what [`super::hdr`] merged; the others read prefixes as text
//! and paths as lists. `rib_at`, which gives a table, is [`super::rib_at`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt8Array, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Float64Type, UInt32Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::prelude::SessionContext;
use schemas::bgp::Prefix;

use super::hdr::{HdrMerge, Pairs, buckets_type, is_list_of_integers, merged_type};

/// What a parameter takes.
#[derive(Clone, Copy)]
enum Takes {
    Merged,
    Quantile,
    Prefix,
    Path,
}

impl Takes {
    /// The type to which an argument is cast; none if it cannot stand here.
    fn cast(self, given: &DataType) -> Option<DataType> {
        match self {
            Self::Merged => match given {
                DataType::Struct(fields) => {
                    let lists = fields.iter().all(|field| is_list_of_integers(field.data_type()));
                    let names = ["bucket", "count"].iter().all(|name| fields.find(name).is_some());
                    (lists && names && fields.len() == 2).then(merged_type)
                }
                other => other.is_null().then(merged_type),
            },
            Self::Quantile => (given.is_numeric() || given.is_null()).then_some(DataType::Float64),
            Self::Prefix => (given.is_string() || given.is_null()).then_some(DataType::Utf8View),
            Self::Path => is_list_of_integers(given).then(buckets_type),
        }
    }
}

/// One function of a row.
struct Function {
    name: &'static str,
    /// How to call it, for the message that refuses another call.
    usage: &'static str,
    takes: &'static [Takes],
    returns: DataType,
    body: fn(&[ArrayRef]) -> Result<ArrayRef>,
    signature: Signature,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.usage)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let fit = given.len() == self.takes.len();
        let cast = self.takes.iter().zip(given).map(|(takes, given)| takes.cast(given));
        match cast.collect::<Option<Vec<_>>>().filter(|_| fit) {
            Some(types) => Ok(types),
            None => {
                let given: Vec<String> = given.iter().map(ToString::to_string).collect();
                plan_err!("called as {}({}), takes {}", self.name, given.join(", "), self.usage)
            }
        }
    }

    fn return_type(&self, _given: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        (self.body)(&arrays).map(ColumnarValue::Array)
    }
}

/// Makes our functions known to a session.
pub(super) fn register(context: &SessionContext) {
    context.register_udaf(AggregateUDF::from(HdrMerge::new()));
    for function in all() {
        context.register_udf(ScalarUDF::from(function));
    }
}

fn all() -> Vec<Function> {
    let function = |name, usage, takes, returns, body| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Function { name, usage, takes, returns, body, signature }
    };
    vec![
        function(
            "hdr_quantile",
            "hdr_quantile(hdr_merge(hist_bucket, hist_count), q)",
            &[Takes::Merged, Takes::Quantile],
            DataType::UInt32,
            hdr_quantile,
        ),
        function(
            "hdr_count",
            "hdr_count(hdr_merge(hist_bucket, hist_count))",
            &[Takes::Merged],
            DataType::UInt64,
            hdr_count,
        ),
        function(
            "prefix_covers",
            "prefix_covers(prefix, prefix), both as text",
            &[Takes::Prefix, Takes::Prefix],
            DataType::Boolean,
            prefix_covers,
        ),
        function(
            "prefix_length",
            "prefix_length(prefix), as text",
            &[Takes::Prefix],
            DataType::UInt8,
            prefix_length,
        ),
        function(
            "as_path_length",
            "as_path_length(as_path), a list of AS numbers",
            &[Takes::Path],
            DataType::UInt32,
            as_path_length,
        ),
    ]
}

/// A value of each row's merged histogram; null where there is none.
fn of_merged<T>(
    merged: &ArrayRef,
    mut value: impl FnMut(&Pairs<'_>, usize) -> Result<Option<T>>,
) -> Result<Vec<Option<T>>> {
    let merged = merged.as_struct();
    let (Some(buckets), Some(counts)) =
        (merged.column_by_name("bucket"), merged.column_by_name("count"))
    else {
        return exec_err!("merged histogram without its two lists");
    };
    let pairs = Pairs::new(buckets, counts)?;
    let of_row = |row| match merged.is_null(row) || pairs.is_null(row) {
        true => Ok(None),
        false => value(&pairs, row),
    };
    (0..merged.len()).map(of_row).collect()
}

fn hdr_quantile(args: &[ArrayRef]) -> Result<ArrayRef> {
    let [merged, quantiles] = args else { return exec_err!("hdr_quantile takes two arguments") };
    let quantiles = quantiles.as_primitive::<Float64Type>();
    if let Some(q) = quantiles.iter().flatten().find(|q| !(0.0..=1.0).contains(q)) {
        return exec_err!("hdr_quantile takes a quantile from 0 to 1, not {q}");
    }
    let values = of_merged(merged, |pairs, row| match quantiles.is_valid(row) {
        true => pairs.quantile(row, quantiles.value(row)),
        false => Ok(None),
    })?;
    Ok(Arc::new(UInt32Array::from(values)))
}

fn hdr_count(args: &[ArrayRef]) -> Result<ArrayRef> {
    let [merged] = args else { return exec_err!("hdr_count takes one argument") };
    Ok(Arc::new(UInt64Array::from(of_merged(merged, |pairs, row| pairs.total(row).map(Some))?)))
}

/// The prefix of each row, a run of equal texts read once; none where the text is not one.
fn prefixes(texts: &ArrayRef) -> impl Iterator<Item = Option<Prefix>> {
    let mut last: (&str, Option<Prefix>) = ("", None);
    texts.as_string_view().iter().map(move |text| {
        let text = text?;
        if text != last.0 {
            last = (text, text.parse().ok());
        }
        last.1
    })
}

fn prefix_covers(args: &[ArrayRef]) -> Result<ArrayRef> {
    let [outer, inner] = args else { return exec_err!("prefix_covers takes two prefixes") };
    let rows = prefixes(outer).zip(prefixes(inner));
    let covers = rows.map(|(outer, inner)| Some(outer?.covers(&inner?)));
    Ok(Arc::new(covers.collect::<BooleanArray>()))
}

fn prefix_length(args: &[ArrayRef]) -> Result<ArrayRef> {
    let [texts] = args else { return exec_err!("prefix_length takes one prefix") };
    let lengths = prefixes(texts).map(|prefix| Some(prefix?.length()));
    Ok(Arc::new(lengths.collect::<UInt8Array>()))
}

fn as_path_length(args: &[ArrayRef]) -> Result<ArrayRef> {
    let [paths] = args else { return exec_err!("as_path_length takes one path") };
    let lengths = paths.as_list::<i32>().iter().map(|path| {
        let path = path?;
        let mut hops: Vec<_> = path.as_primitive::<UInt32Type>().iter().collect();
        hops.dedup();
        u32::try_from(hops.len()).ok()
    });
    Ok(Arc::new(lengths.collect::<UInt32Array>()))
}
