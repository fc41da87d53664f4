//! After a restart: who told of routers before is not known to have told all.

use schemas::batch::Control;
use schemas::log::LogError;
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::super::LiveIntake;
use super::super::gaps::{Heard, tell};
use super::super::settings::InputSettings;
use super::super::stream::Format;
use super::{Input, Inputs};

impl Inputs {
    /// The peers that listeners told of before the restart are stale.
    pub(in super::super) fn stale(
        &mut self,
        now: Timestamp,
        intake: &mut LiveIntake,
    ) -> Result<(), LogError> {
        self.0.iter().filter(|input| input.is_ours).try_for_each(|input| input.stale(now, intake))
    }
}

impl Input {
    /// The peers that it told of before are stale, if it is a listener that was heard.
    pub(super) fn stale(&self, now: Timestamp, intake: &mut LiveIntake) -> Result<(), LogError> {
        let InputSettings { name, collector, format, .. } = &self.settings;
        let is_listener = matches!(format, Format::Bmp(_) | Format::RisLive);
        if !is_listener || !self.positions.contains_key(&self.key("")) {
            return Ok(());
        }
        intake.batcher.broadcast(now, |_| Control::Stale {
            collector: Text::clone(collector),
            event_time: now,
        })?;
        let heard = Heard { source: name, collector: Some(collector), now };
        let reason = "the service was restarted; what was said meanwhile is not known".into();
        tell((now, Some(now)), &reason, &heard, intake)
    }
}
