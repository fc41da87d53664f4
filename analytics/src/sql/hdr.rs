//! `hdr_merge`: many pairs of `hist_bucket` and `hist_count` in, one histogram by group out.
//!
//! The histogram stands as `Struct{bucket: List<UInt32>, count: List<UInt64>}`, ascending, so that a
//! merged one can be merged again: `hdr_merge(m.bucket, m.count)`. Counts go from the lists straight
//! into dense [`Counts`]; no histogram is built for a row. Quantiles are read off by
//! [`super::functions`].

use std::mem::{size_of, take};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, ListBuilder, StructArray, UInt32Builder,
    UInt64Builder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, UInt32Type, UInt64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use crate::latency::histogram::{BUCKET_MAX_US, Counts};

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// `List<UInt32>`.
pub(super) fn buckets_type() -> DataType {
    list_of(DataType::UInt32)
}

/// `List<UInt64>`.
fn counts_type() -> DataType {
    list_of(DataType::UInt64)
}

fn merged_fields() -> Fields {
    Fields::from(vec![
        Field::new("bucket", buckets_type(), true),
        Field::new("count", counts_type(), true),
    ])
}

/// The type of a merged histogram.
pub(super) fn merged_type() -> DataType {
    DataType::Struct(merged_fields())
}

/// Whether it is a list of whole numbers, or a null that may become one.
pub(super) fn is_list_of_integers(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::FixedSizeList(item, _) => {
            item.data_type().is_integer() || item.data_type().is_null()
        }
        other => other.is_null(),
    }
}

/// The two lists of each row, borrowed.
pub(super) struct Pairs<'a> {
    buckets: &'a ListArray,
    counts: &'a ListArray,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(buckets: &'a ArrayRef, counts: &'a ArrayRef) -> Self {
        Self { buckets: buckets.as_list(), counts: counts.as_list() }
    }

    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        self.buckets.is_null(row) || self.counts.is_null(row)
    }

    /// Adds one row's samples.
    pub(super) fn add_to(&self, row: usize, histogram: &mut Counts) -> Result<()> {
        let (buckets, counts) = (self.buckets.value(row), self.counts.value(row));
        if buckets.len() != counts.len() {
            return exec_err!("histogram of {} buckets and {} counts", buckets.len(), counts.len());
        }
        if buckets.null_count() + counts.null_count() > 0 {
            return exec_err!("histogram with a null in its lists");
        }
        let buckets = buckets.as_primitive::<UInt32Type>().values();
        if let Some(high) = buckets.iter().find(|bucket| **bucket > BUCKET_MAX_US) {
            return exec_err!(
                "histogram bucket {high} us is above the largest, {BUCKET_MAX_US} us"
            );
        }
        if let Some(counts) = counts.as_primitive_opt::<UInt64Type>() {
            buckets.iter().zip(counts.values()).for_each(|(at, n)| histogram.add(*at, *n));
        } else {
            let counts = counts.as_primitive::<UInt32Type>().values();
            buckets.iter().zip(counts).for_each(|(at, n)| histogram.add(*at, u64::from(*n)));
        }
        Ok(())
    }
}

/// Histograms as the two lists; null where there is none.
fn lists<'a>(histograms: impl Iterator<Item = &'a Option<Counts>>) -> (ArrayRef, ArrayRef) {
    let mut buckets = ListBuilder::new(UInt32Builder::new());
    let mut counts = ListBuilder::new(UInt64Builder::new());
    for histogram in histograms {
        for (bucket, count) in histogram.iter().flat_map(Counts::iter) {
            buckets.values().append_value(bucket);
            counts.values().append_value(count);
        }
        buckets.append(histogram.is_some());
        counts.append(histogram.is_some());
    }
    (Arc::new(buckets.finish()), Arc::new(counts.finish()))
}

/// Histograms as the struct that the aggregate returns.
fn merged((buckets, counts): (ArrayRef, ArrayRef)) -> Result<ArrayRef> {
    let nulls: Option<NullBuffer> = buckets.nulls().cloned();
    Ok(Arc::new(StructArray::try_new(merged_fields(), vec![buckets, counts], nulls)?))
}

/// The aggregate `hdr_merge(hist_bucket, hist_count)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct HdrMerge {
    signature: Signature,
}

impl HdrMerge {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for HdrMerge {
    fn name(&self) -> &str {
        "hdr_merge"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [buckets, counts] if is_list_of_integers(buckets) && is_list_of_integers(counts) => {
                let narrow = *counts == buckets_type();
                Ok(vec![buckets_type(), if narrow { buckets_type() } else { counts_type() }])
            }
            _ => plan_err!("hdr_merge takes two lists of whole numbers: hist_bucket, hist_count"),
        }
    }

    fn return_type(&self, _given: &[DataType]) -> Result<DataType> {
        Ok(merged_type())
    }

    fn state_fields(&self, _args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(merged_fields().iter().cloned().collect())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("hdr_merge(DISTINCT ...) would lose samples");
        }
        Ok(Box::new(One(None)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        _args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Many::default()))
    }
}

/// One histogram, for a query without groups and for windows.
#[derive(Debug)]
struct One(Option<Counts>);

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [buckets, counts] = values else { return exec_err!("hdr_merge takes two lists") };
        let pairs = Pairs::new(buckets, counts);
        for row in (0..pairs.len()).filter(|row| !pairs.is_null(*row)) {
            pairs.add_to(row, self.0.get_or_insert_default())?;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (buckets, counts) = lists(std::iter::once(&self.0));
        Ok(vec![
            ScalarValue::try_from_array(&buckets, 0)?,
            ScalarValue::try_from_array(&counts, 0)?,
        ])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&merged(lists(std::iter::once(&self.0)))?, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.0.as_ref().map_or(0, Counts::heap_bytes)
    }
}

/// One histogram for each group.
#[derive(Default)]
struct Many {
    groups: Vec<Option<Counts>>,
    /// Sum over the groups, kept because it is asked for after each batch.
    heap_bytes: usize,
}

impl Many {
    fn emit(&mut self, emit_to: EmitTo) -> (ArrayRef, ArrayRef) {
        let emitted = emit_to.take_needed(&mut self.groups);
        let freed: usize = emitted.iter().flatten().map(Counts::heap_bytes).sum();
        self.heap_bytes = self.heap_bytes.saturating_sub(freed);
        lists(emitted.iter())
    }
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let [buckets, counts] = values else { return exec_err!("hdr_merge takes two lists") };
        let pairs = Pairs::new(buckets, counts);
        self.groups.resize(total_num_groups.max(self.groups.len()), None);
        for (row, group) in group_indices.iter().enumerate() {
            let counted = opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if !counted || pairs.is_null(row) {
                continue;
            }
            if let Some(group) = self.groups.get_mut(*group) {
                let histogram = group.get_or_insert_default();
                let before = histogram.heap_bytes();
                pairs.add_to(row, histogram)?;
                self.heap_bytes += histogram.heap_bytes() - before;
            }
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.update_batch(states, group_indices, None, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        merged(self.emit(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (buckets, counts) = self.emit(emit_to);
        Ok(vec![buckets, counts])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut rows = Self::default();
        let each: Vec<usize> = (0..values.first().map_or(0, Array::len)).collect();
        rows.update_batch(values, &each, opt_filter, each.len())?;
        let (buckets, counts) = lists(take(&mut rows.groups).iter());
        Ok(vec![buckets, counts])
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Option<Counts>>() + self.heap_bytes
    }
}
