//! The state of training on disk, as a safetensors file with its history as metadata.

use super::{Epoch, PruneError, Run, State};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use tch::{TchError, Tensor};

/// Largest checkpoint that is read.
const MAX_BYTES: u64 = 1 << 34;
const STATE: &str = "state";

#[derive(serde::Serialize, serde::Deserialize)]
struct Record {
    /// Of the settings and the network.
    digest: String,
    kept: Vec<bool>,
    history: Vec<Epoch>,
}

impl Run<'_> {
    /// The tensors of the state, by name.
    fn named(&self, state: &State) -> Vec<(String, Tensor)> {
        let network = self.network;
        let stored = network.parameters().chain(network.statistics()).enumerate();
        let mut all: Vec<(String, Tensor)> =
            stored.map(|(i, (_, t))| (format!("stored.{i}"), t.shallow_clone())).collect();
        let velocity = state.velocity.iter().enumerate();
        all.extend(velocity.map(|(i, t)| (format!("velocity.{i}"), t.shallow_clone())));
        all.push(("redundancy".into(), state.redundancy.shallow_clone()));
        all.push(("zero".into(), state.zero.shallow_clone()));
        all
    }

    /// Writes the state.
    pub(super) fn save(&self, state: &State) -> Result<(), PruneError> {
        let record = Record {
            digest: self.digest.clone(),
            kept: state.kept.clone(),
            history: state.history.clone(),
        };
        let mut lists = Vec::new();
        for (name, tensor) in self.named(state) {
            let bytes: Vec<u8> =
                crate::execute::list(&tensor)?.into_iter().flat_map(f32::to_le_bytes).collect();
            lists.push((name, vec![bytes.len() / 4], bytes));
        }
        let fail = |problem: String| self.problem(problem);
        let views = lists.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            Ok((name, view.map_err(|e| fail(e.to_string()))?))
        });
        let views = views.collect::<Result<Vec<_>, PruneError>>()?;
        let record = serde_json::to_string(&record).map_err(|e| fail(e.to_string()))?;
        let metadata = HashMap::from([(STATE.to_string(), record)]);
        let bytes =
            safetensors::serialize(views, Some(metadata)).map_err(|e| fail(e.to_string()))?;
        Ok(crate::files::write(&self.options.checkpoint, &bytes)?)
    }

    /// Takes up the state that was written.
    pub(super) fn resume(&self, state: &mut State) -> Result<(), PruneError> {
        let fail = |problem: String| self.problem(problem);
        let bytes = crate::files::read(&self.options.checkpoint, MAX_BYTES)
            .map_err(|e| fail(e.to_string()))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| fail(e.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| fail(e.to_string()))?;
        let record = metadata.metadata().as_ref().and_then(|m| m.get(STATE));
        let record = record.ok_or_else(|| fail("this is no checkpoint of pruning".into()))?;
        let record: Record = serde_json::from_str(record).map_err(|e| fail(e.to_string()))?;
        if record.digest != self.digest {
            return Err(fail(
                "this is the checkpoint of another network, or of other settings".into(),
            ));
        }
        if record.kept.len() != state.kept.len() {
            return Err(fail("it has another number of units".into()));
        }
        let _guard = tch::no_grad_guard();
        for (name, tensor) in self.named(state) {
            let view = file.tensor(&name).map_err(|e| fail(e.to_string()))?;
            let list: Vec<f32> = (view.data().chunks_exact(4))
                .filter_map(|b| Some(f32::from_le_bytes(b.try_into().ok()?)))
                .collect();
            if list.len() != tensor.numel() {
                return Err(fail(format!("'{name}' has {} elements", list.len())));
            }
            restore(&tensor, &list)?;
        }
        self.set_kept(state, record.kept)?;
        state.history = record.history;
        Ok(())
    }

    fn problem(&self, problem: String) -> PruneError {
        PruneError::Checkpoint { path: self.options.checkpoint.clone(), problem }
    }
}

fn restore(tensor: &Tensor, list: &[f32]) -> Result<(), TchError> {
    let list = Tensor::f_from_slice(list)?.f_reshape(tensor.size())?;
    tensor.shallow_clone().f_copy_(&list.f_to(tensor.device())?.f_to_kind(tensor.kind())?)
}
