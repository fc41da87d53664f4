//! The fold of the summaries as bytes, and back.

use schemas::time::Timestamp;

use super::Correlate;
use crate::state::sorted::Sorted;
use crate::state::{Kind, Reader, StateError, Writer};

impl Correlate {
    /// All that it holds, as bytes: equal for equal folds.
    ///
    /// # Errors
    /// [`StateError::Waiting`] while numbered rows wait for the lake.
    pub fn save(&self) -> Result<Vec<u8>, StateError> {
        let Self {
            marks,
            waiting,
            arrived,
            tallies_waiting,
            tallies,
            blames,
            sequences,
            groups,
            live,
            hour,
            offset,
            numbered,
            passed: _,
        } = self;
        if !numbered.is_empty() {
            return Err(StateError::Waiting { what: "numbered findings" });
        }
        let mut writer = Writer::new(Kind::Correlate, 64 * sequences.len());
        writer.put("marks", &(marks, arrived, offset))?;
        writer.put("transitions", waiting)?;
        writer.put("tallies", &(tallies_waiting, tallies))?;
        writer.put("blames", &Sorted(blames))?;
        writer.put("sequences", &Sorted(sequences))?;
        writer.put("groups", groups)?;
        writer.put("live", &(live, hour))?;
        Ok(writer.finish())
    }

    /// The fold goes on with another log, whose shards have told nothing yet.
    pub fn go_on(&mut self) {
        self.marks.fill(Timestamp::MIN);
        self.passed = Timestamp::MIN;
        self.offset = 0;
    }

    /// The fold over the summaries of that many shards that these bytes are of.
    ///
    /// # Errors
    /// [`StateError`] if they are of none, or of another number of shards.
    pub fn restore(bytes: &[u8], partitions: u32) -> Result<Self, StateError> {
        let mut reader = Reader::open(Kind::Correlate, bytes)?;
        let (marks, arrived, offset): (Vec<Timestamp>, _, _) = reader.take("marks")?;
        if marks.len() != partitions as usize {
            return Err(StateError::Another {
                found: format!("that of {} shards", marks.len()),
                wanted: format!("that of {partitions}"),
            });
        }
        let waiting = reader.take("transitions")?;
        let (tallies_waiting, tallies) = reader.take("tallies")?;
        let Sorted(blames) = reader.take("blames")?;
        let Sorted(sequences) = reader.take("sequences")?;
        let groups = reader.take("groups")?;
        let (live, hour) = reader.take("live")?;
        reader.finish()?;
        let passed = marks.iter().min().copied().unwrap_or(Timestamp::MIN);
        let numbered = Vec::new();
        Ok(Self {
            marks,
            waiting,
            arrived,
            tallies_waiting,
            tallies,
            blames,
            sequences,
            groups,
            live,
            hour,
            offset,
            numbered,
            passed,
        })
    }
}
