//! The state of training on disk, as a safetensors file with what is no tensor as metadata.

use super::TrainingError;
use crate::execute::TorchNetwork;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use tch::{TchError, Tensor};

/// Largest checkpoint that is read.
const MAX_BYTES: u64 = 1 << 34;
/// Names of the metadata.
const STATE: &str = "state";
const DIGEST: &str = "digest";

/// Where the state of a run is kept.
pub(crate) struct Checkpoint {
    pub path: PathBuf,
    /// Of the settings and the network.
    pub digest: String,
}

impl Checkpoint {
    /// What is trained of a network, by name.
    pub fn stored(network: &TorchNetwork) -> Vec<(String, Tensor)> {
        let stored = network.parameters().chain(network.statistics()).enumerate();
        stored.map(|(i, (_, t))| (format!("stored.{i}"), t.shallow_clone())).collect()
    }

    /// Writes the state: `record` and `tensors`.
    pub fn save(
        &self,
        record: &impl Serialize,
        tensors: &[(String, Tensor)],
    ) -> Result<(), TrainingError> {
        let mut lists = Vec::new();
        for (name, tensor) in tensors {
            let bytes: Vec<u8> =
                crate::execute::list(tensor)?.into_iter().flat_map(f32::to_le_bytes).collect();
            lists.push((name, vec![bytes.len() / 4], bytes));
        }
        let fail = |problem: String| self.problem(problem);
        let views = lists.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            Ok((name, view.map_err(|e| fail(e.to_string()))?))
        });
        let views = views.collect::<Result<Vec<_>, TrainingError>>()?;
        let record = serde_json::to_string(record).map_err(|e| fail(e.to_string()))?;
        let metadata = [(STATE, record), (DIGEST, self.digest.clone())];
        let metadata: HashMap<String, String> =
            metadata.into_iter().map(|(name, text)| (name.into(), text)).collect();
        let bytes =
            safetensors::serialize(views, Some(metadata)).map_err(|e| fail(e.to_string()))?;
        let about =
            |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", self.path.display()));
        Ok(crate::files::write(&self.path, &bytes).map_err(about)?)
    }

    /// Reads the state that was written: the record, and what there is of tensors.
    pub fn load<R: DeserializeOwned>(&self) -> Result<(R, Kept<'_>), TrainingError> {
        let fail = |problem: String| self.problem(problem);
        let bytes = crate::files::read(&self.path, MAX_BYTES).map_err(|e| fail(e.to_string()))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| fail(e.to_string()))?;
        let get = |name| {
            let text = metadata.metadata().as_ref().and_then(|m| m.get(name));
            text.ok_or_else(|| fail("this is no checkpoint of training".into()))
        };
        if *get(DIGEST)? != self.digest {
            return Err(fail(
                "this is the checkpoint of another network, or of other settings".into(),
            ));
        }
        let record = serde_json::from_str(get(STATE)?).map_err(|e| fail(e.to_string()))?;
        Ok((record, Kept { file: self, bytes }))
    }

    pub fn problem(&self, problem: String) -> TrainingError {
        TrainingError::Checkpoint { path: self.path.clone(), problem }
    }
}

/// Tensors of a checkpoint.
pub(crate) struct Kept<'a> {
    file: &'a Checkpoint,
    bytes: Vec<u8>,
}

impl Kept<'_> {
    /// Copies what was kept under these names into tensors.
    pub fn copy_to(&self, tensors: &[(String, Tensor)]) -> Result<(), TrainingError> {
        let fail = |problem: String| self.file.problem(problem);
        let file = SafeTensors::deserialize(&self.bytes).map_err(|e| fail(e.to_string()))?;
        let _guard = tch::no_grad_guard();
        for (name, tensor) in tensors {
            let view = file.tensor(name).map_err(|e| fail(e.to_string()))?;
            let list: Vec<f32> = (view.data().chunks_exact(4))
                .filter_map(|b| Some(f32::from_le_bytes(b.try_into().ok()?)))
                .collect();
            if list.len() != tensor.numel() {
                return Err(fail(format!("'{name}' has {} elements", list.len())));
            }
            restore(tensor, &list)?;
        }
        Ok(())
    }
}

fn restore(tensor: &Tensor, list: &[f32]) -> Result<(), TchError> {
    let list = Tensor::f_from_slice(list)?.f_reshape(tensor.size())?;
    tensor.shallow_clone().f_copy_(&list.f_to(tensor.device())?.f_to_kind(tensor.kind())?)
}
