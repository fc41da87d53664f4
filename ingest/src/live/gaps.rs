//! Gaps: spans in which an input was not heard, from the last word before to the first one after.

use std::collections::BTreeMap;

use schemas::batch::Control;
use schemas::log::LogError;
use schemas::tables::Text;
use schemas::time::Timestamp;

use crate::batcher::Outlet;
use crate::intake::Intake;

/// Gaps of one input remembered at most; further ones are told when they begin and not when they end.
const OPEN_MAX: usize = 4_096;

/// The open gaps of one input, by who is at the other end.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    open: BTreeMap<String, (Timestamp, Text)>,
}

/// What a gap's row says of its input.
pub(super) struct Heard<'h> {
    pub(super) source: &'h Text,
    pub(super) collector: Option<&'h Text>,
    pub(super) now: Timestamp,
}

impl Gaps {
    /// Somebody fell silent, who was last heard at `last`.
    pub(super) fn begin<O: Outlet>(
        &mut self,
        who: &str,
        last: Timestamp,
        reason: &str,
        heard: &Heard<'_>,
        intake: &mut Intake<O>,
    ) -> Result<(), LogError> {
        let reason: Text = format!("{who}: {reason}").into();
        tell((last, None), &reason, heard, intake)?;
        if self.open.len() < OPEN_MAX {
            self.open.insert(who.to_owned(), (last, reason));
        }
        Ok(())
    }

    /// Somebody is heard again.
    pub(super) fn end<O: Outlet>(
        &mut self,
        who: &str,
        heard: &Heard<'_>,
        intake: &mut Intake<O>,
    ) -> Result<(), LogError> {
        match self.open.remove(who) {
            Some((since, reason)) => tell((since, Some(heard.now)), &reason, heard, intake),
            None => Ok(()),
        }
    }
}

/// A row of `feed_gaps`: partition 0 writes what goes to all.
pub(super) fn tell<O: Outlet>(
    (started_at, ended_at): (Timestamp, Option<Timestamp>),
    reason: &Text,
    heard: &Heard<'_>,
    intake: &mut Intake<O>,
) -> Result<(), LogError> {
    intake.batcher.append(0, heard.now, |place| {
        let source = place.source(heard.source);
        place.control(Control::FeedGap {
            source,
            collector: heard.collector.cloned(),
            started_at,
            ended_at,
            reason: Text::clone(reason),
            lost: None,
        })
    })
}
