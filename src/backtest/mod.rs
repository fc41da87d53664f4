//! Backtests: what the detectors said of an incident beside what is known of it.
//!
//! - [`label`]: what is known: who did what to whom.
//! - [`naive`]: a table of routes without any detection: when the incident could be told, who held a
//!   bad route, and when nobody held one any more.
//! - [`judge`]: the verdict on one incident.
//! - [`totals`]: verdicts and alarms as figures, with their bounds.
//!
//! Pure: `crate::command::backtest` replays the archives and reads the lake.

pub mod judge;
pub mod label;
pub mod naive;
pub mod totals;
