//! `hdr_merge`: many pairs of `hist_bucket` and `hist_count` in, one histogram by group out.
//!
//! The histogram stands as `Struct{bucket: List<UInt32>, count: List<UInt64>}`, ascending, so that a
//! merged one can be merged again: `hdr_merge(m.bucket, m.count)`. Counts go from the lists straight
//! into dense [`Counts`]; no histogram is built for a row. Quantiles are read off by
//! [`super::functions`].

use std::mem::size_of;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, ListBuilder, StructArray, UInt32Builder,
    UInt64Builder,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, UInt32Type, UInt64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use crate::latency::histogram::{BUCKET_MAX_US, Counts, highest_equivalent, target};

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

/// Whether it is a list of this; how a file names the item, and whether it may be null, is all one.
fn is_list_of(data_type: &DataType, item: &DataType) -> bool {
    matches!(data_type, DataType::List(field) if field.data_type() == item)
}

/// The two lists of each row, borrowed.
pub(super) struct Pairs<'a> {
    nulls: Option<NullBuffer>,
    /// Whether a list holds a null, if only in a row that is not ours.
    has_null_inside: bool,
    bucket_lists: &'a ListArray,
    count_lists: &'a ListArray,
    buckets: &'a [u32],
    counts: Numbers<'a>,
}

/// Samples in each bucket: as the lake has them, or merged.
#[derive(Clone, Copy)]
enum Numbers<'a> {
    Narrow(&'a [u32]),
    Wide(&'a [u64]),
}

impl<'a> Numbers<'a> {
    fn get(self, range: Range<usize>) -> Option<Self> {
        match self {
            Self::Narrow(values) => values.get(range).map(Self::Narrow),
            Self::Wide(values) => values.get(range).map(Self::Wide),
        }
    }

    fn each(self) -> impl Iterator<Item = u64> {
        let (narrow, wide): (&'a [u32], &'a [u64]) = match self {
            Self::Narrow(values) => (values, &[]),
            Self::Wide(values) => (&[], values),
        };
        narrow.iter().map(|count| u64::from(*count)).chain(wide.iter().copied())
    }
}

/// The range of a row's items among those of all rows.
fn range(lists: &ListArray, row: usize) -> Option<Range<usize>> {
    let (start, end) = (lists.offsets().get(row)?, lists.offsets().get(row + 1)?);
    Some(usize::try_from(*start).ok()?..usize::try_from(*end).ok()?)
}

impl<'a> Pairs<'a> {
    pub(super) fn new(buckets: &'a ArrayRef, counts: &'a ArrayRef) -> Result<Self> {
        let (bucket_lists, count_lists) = (buckets.as_list::<i32>(), counts.as_list::<i32>());
        let (items, numbers) = (bucket_lists.values(), count_lists.values());
        let counts = match numbers.as_primitive_opt::<UInt64Type>() {
            Some(wide) => Numbers::Wide(wide.values()),
            None => Numbers::Narrow(numbers.as_primitive::<UInt32Type>().values()),
        };
        if bucket_lists.len() != count_lists.len() {
            return exec_err!(
                "{} lists of buckets and {} of counts",
                buckets.len(),
                count_lists.len()
            );
        }
        Ok(Self {
            nulls: NullBuffer::union(bucket_lists.nulls(), count_lists.nulls()),
            has_null_inside: items.null_count() + numbers.null_count() > 0,
            bucket_lists,
            count_lists,
            buckets: items.as_primitive::<UInt32Type>().values(),
            counts,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.bucket_lists.len()
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Adds the samples of all rows that are not null.
    fn add_all_to(&self, histogram: &mut Option<Counts>) -> Result<()> {
        // Without nulls and with lists of the same lengths they are one long list.
        let offsets = (self.bucket_lists.offsets(), self.count_lists.offsets());
        let is_whole = self.nulls.is_none() && !self.has_null_inside && offsets.0 == offsets.1;
        if let (true, Some(first), Some(last)) = (is_whole, offsets.0.first(), offsets.0.last()) {
            if self.len() > 0 {
                let all = usize::try_from(*first).ok().zip(usize::try_from(*last).ok());
                let (start, end) = all.unwrap_or_default();
                return self.add(start..end, start..end, histogram.get_or_insert_default());
            }
            return Ok(());
        }
        for row in (0..self.len()).filter(|row| !self.is_null(*row)) {
            self.add_to(row, histogram.get_or_insert_default())?;
        }
        Ok(())
    }

    /// Adds one row's samples.
    fn add_to(&self, row: usize, histogram: &mut Counts) -> Result<()> {
        let (buckets, counts) = self.ranges(row)?;
        self.add(buckets, counts, histogram)
    }

    fn add(
        &self,
        buckets: Range<usize>,
        counts: Range<usize>,
        histogram: &mut Counts,
    ) -> Result<()> {
        let buckets = self.buckets.get(buckets).unwrap_or_default();
        let largest = match self.counts.get(counts) {
            Some(Numbers::Narrow(counts)) => histogram.add_all(buckets, counts),
            Some(Numbers::Wide(counts)) => histogram.add_all(buckets, counts),
            None => 0,
        };
        if largest > BUCKET_MAX_US { too_high(largest) } else { Ok(()) }
    }

    /// Where a row's buckets and counts are: as many of the one as of the other, and no null among them.
    fn ranges(&self, row: usize) -> Result<(Range<usize>, Range<usize>)> {
        let ranges = range(self.bucket_lists, row).zip(range(self.count_lists, row));
        let (buckets, counts) = ranges.unwrap_or_default();
        if buckets.len() != counts.len() {
            return exec_err!("histogram of {} buckets and {} counts", buckets.len(), counts.len());
        }
        if self.has_null_inside {
            let inside = [self.bucket_lists.value(row), self.count_lists.value(row)];
            if inside.iter().any(|list| list.null_count() > 0) {
                return exec_err!("histogram with a null in its lists");
            }
        }
        Ok((buckets, counts))
    }

    /// Number of samples of a row.
    pub(super) fn total(&self, row: usize) -> Result<u64> {
        let (buckets, counts) = self.ranges(row)?;
        if let Some(high) = self.buckets.get(buckets).unwrap_or_default().iter().max()
            && *high > BUCKET_MAX_US
        {
            return too_high(*high);
        }
        Ok(self.counts.get(counts).map_or(0, |counts| counts.each().fold(0, u64::saturating_add)))
    }

    /// The nearest-rank quantile of a row, without a histogram of its own where the buckets ascend.
    pub(super) fn quantile(&self, row: usize, q: f64) -> Result<Option<u32>> {
        let (buckets, counts) = self.ranges(row)?;
        let total = self.total(row)?;
        let of_row = self.buckets.get(buckets).unwrap_or_default();
        let Some(counts) = self.counts.get(counts) else { return Ok(None) };
        if !of_row.is_sorted() {
            let mut histogram = Counts::default();
            self.add_to(row, &mut histogram)?;
            return Ok(histogram.quantile(q));
        }
        // A rank of 0 is that of the first sample, not of an empty bucket before it.
        let target = target(q, total).max(1.0);
        let mut up_to = 0_u64;
        let mut pairs = of_row.iter().zip(counts.each());
        let found = pairs.find(|(_, count)| {
            up_to = up_to.saturating_add(*count);
            up_to as f64 >= target
        });
        Ok(found.map(|(bucket, _)| highest_equivalent(*bucket)))
    }
}

fn too_high<T>(high: u32) -> Result<T> {
    exec_err!("histogram bucket {high} us is above the largest, {BUCKET_MAX_US} us")
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
                let narrow = is_list_of(counts, &DataType::UInt32);
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
        Pairs::new(buckets, counts)?.add_all_to(&mut self.0)
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
        let pairs = Pairs::new(buckets, counts)?;
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
        let [buckets, counts] = values else { return exec_err!("hdr_merge takes two lists") };
        // A row that is not counted is a null. What is wrong in it is told where it is merged.
        let nulls = NullBuffer::union(buckets.nulls(), counts.nulls());
        let counted = opt_filter.map(|filter| match filter.nulls() {
            Some(nulls) => NullBuffer::new(filter.values() & nulls.inner()),
            None => NullBuffer::new(filter.values().clone()),
        });
        let nulls = NullBuffer::union(nulls.as_ref(), counted.as_ref());
        let counts = cast(counts, &counts_type())?;
        let with_nulls = |lists: &ArrayRef| -> Result<ArrayRef> {
            let lists = lists.as_list::<i32>().clone();
            let (field, offsets, items, _) = lists.into_parts();
            Ok(Arc::new(ListArray::try_new(field, offsets, items, nulls.clone())?))
        };
        Ok(vec![with_nulls(buckets)?, with_nulls(&counts)?])
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Option<Counts>>() + self.heap_bytes
    }
}
