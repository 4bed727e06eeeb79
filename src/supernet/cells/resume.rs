//! The state of a search on disk.

use super::alpha::{Alpha, Baseline};
use super::store::{Shapes, Store};
use super::{CellsError, Epoch, Run, State};

#[derive(serde::Serialize, serde::Deserialize)]
struct Record {
    stage: usize,
    alpha: Vec<Vec<u64>>,
    baseline: Baseline,
    shapes: Shapes,
    history: Vec<Epoch>,
}

impl Run<'_> {
    /// Writes the state.
    pub(super) fn save(&self, state: &State) -> Result<(), CellsError> {
        let record = Record {
            stage: state.stage,
            alpha: state.alpha.bits(),
            baseline: state.baseline.clone(),
            shapes: state.store.shapes(),
            history: state.history.clone(),
        };
        Ok(self.checkpoint.save(&record, &state.store.tensors())?)
    }

    /// Takes up the state that was written.
    pub(super) fn resume(&self, state: &mut State) -> Result<(), CellsError> {
        // Which weights there are depends on what was drawn.
        let record: Record = self.checkpoint.load(&[])?;
        state.store = Store::zeros(&record.shapes, self.options.training.device)?;
        let record: Record = self.checkpoint.load(&state.store.tensors())?;
        let alpha = Alpha::from_bits(&record.alpha);
        state.alpha =
            alpha.ok_or_else(|| self.checkpoint.problem("it is of another space".into()))?;
        state.baseline = record.baseline;
        state.stage = record.stage;
        state.history = record.history;
        Ok(())
    }
}
