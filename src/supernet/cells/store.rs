//! The weights that all sampled networks share.

use crate::execute::{ExecuteError, TorchNetwork};
use crate::model_graph::{ModelGraph, Value, ValueId};
use crate::training::{MOMENTUM, WEIGHT_DECAY};
use std::collections::BTreeMap;
use tch::{Device, Kind, TchError, Tensor};

/// Weights by their names, which say in which cell they are, between which nodes, and of which operation.
/// Weights of operations that were never drawn don't exist yet.
#[derive(Default)]
pub(super) struct Store {
    weights: BTreeMap<String, Tensor>,
    velocity: BTreeMap<String, Tensor>,
}

impl Store {
    /// A network with the weights of these names and shapes. Others start at random and are kept from now
    /// on.
    pub fn network(
        &mut self,
        graph: ModelGraph,
        seed: u64,
        device: Device,
    ) -> Result<TorchNetwork, ExecuteError> {
        let known = |_: ValueId, value: &Value| {
            let known = self.weights.get(&*value.name);
            let known = known.filter(|t| t.size() == crate::execute::sizes(&value.shape));
            Ok(known.map(Tensor::shallow_clone))
        };
        let network = TorchNetwork::with_tensors(graph, known, seed, device)?;
        for (id, tensor) in network.statistics() {
            let name = &network.graph().value(id).name;
            self.weights.insert(name.to_string(), tensor.shallow_clone());
        }
        for (id, tensor) in network.parameters() {
            let name = network.graph().value(id).name.to_string();
            if self.velocity.get(&name).is_none_or(|v| v.size() != tensor.size()) {
                self.velocity.insert(name.clone(), tensor.f_detach()?.f_zeros_like()?);
            }
            self.weights.insert(name, tensor.shallow_clone());
        }
        Ok(network)
    }

    /// One step of the weights that `network` uses, down the gradient of `loss`.
    pub fn step(&self, network: &TorchNetwork, loss: &Tensor, rate: f64) -> Result<(), TchError> {
        let tensors: Vec<Tensor> = network.parameters().map(|(_, t)| t.shallow_clone()).collect();
        let gradients = Tensor::f_run_backward(&[loss], &tensors, false, false)?;
        let _guard = tch::no_grad_guard();
        let mut length = 0.0;
        for gradient in &gradients {
            length += gradient.f_mul(gradient)?.f_sum(Kind::Float)?.f_double_value(&[])?;
        }
        let scale = (CLIP / length.sqrt().max(1e-12)).min(1.0);
        for ((id, tensor), gradient) in network.parameters().zip(&gradients) {
            let Some(velocity) = self.velocity.get(&*network.graph().value(id).name) else {
                continue;
            };
            let mut direction = gradient.f_mul_scalar(scale)?;
            if tensor.dim() > 1 {
                direction = direction.f_add(&tensor.f_mul_scalar(WEIGHT_DECAY)?)?;
            }
            let next = velocity.f_mul_scalar(MOMENTUM)?.f_add(&direction)?;
            velocity.shallow_clone().f_copy_(&next)?;
            let _ = tensor.shallow_clone().f_sub_(&next.f_mul_scalar(rate)?)?;
        }
        Ok(())
    }

    /// Velocities start anew.
    pub fn rest(&self) -> Result<(), TchError> {
        for velocity in self.velocity.values() {
            let _ = velocity.shallow_clone().f_zero_()?;
        }
        Ok(())
    }

    /// All tensors, by kind and name.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let named = |kind: &'static str| {
            move |(name, t): (&String, &Tensor)| (format!("{kind}{name}"), t.shallow_clone())
        };
        let velocity = self.velocity.iter().map(named("velocity:"));
        self.weights.iter().map(named("weight:")).chain(velocity).collect()
    }

    /// What there is.
    pub fn shapes(&self) -> Shapes {
        let of = |tensors: &BTreeMap<String, Tensor>| {
            tensors.iter().map(|(name, t)| (name.clone(), t.size())).collect()
        };
        [of(&self.weights), of(&self.velocity)]
    }

    /// As much with nothing in it.
    pub fn zeros(shapes: &Shapes, device: Device) -> Result<Self, TchError> {
        let of = |shapes: &BTreeMap<String, Vec<i64>>| {
            let zeros = |(name, shape): (&String, &Vec<i64>)| {
                Ok((name.clone(), Tensor::f_zeros(shape, (Kind::Float, device))?))
            };
            shapes.iter().map(zeros).collect::<Result<_, TchError>>()
        };
        let [weights, velocity] = shapes;
        Ok(Self { weights: of(weights)?, velocity: of(velocity)? })
    }
}

/// Shapes of weights and of velocities, by name.
pub(super) type Shapes = [BTreeMap<String, Vec<i64>>; 2];

/// Longest gradient.
const CLIP: f64 = 5.0;
