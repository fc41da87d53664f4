//! Latency: samples in, exact percentiles and mergeable histograms by window out.
//!
//! - [`window`]: which samples belong together, and when a window closes; [`source`] what one source
//!   has open.
//! - [`rollup`]: windows added up to longer ones.
//! - [`summary`]: one window's figures.
//! - [`interval`]: how sure a percentile is.
//! - [`baseline`]: what is usual at that hour of the week.
//! - [`change`]: whether one set of round trips is slower than another.
//! - [`histogram`]: the buckets in which `hist_bucket` and `hist_count` are kept.

pub mod baseline;
pub mod change;
pub mod histogram;
pub mod interval;
pub mod rollup;
mod source;
pub mod summary;
pub mod window;
