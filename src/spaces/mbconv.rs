//! The inverted residual block of MobileNetV2 (MBConv), which most mobile spaces are made of.

use super::blocks::{Activation, ConvSpec, NetworkBuilder};
use crate::model_graph::ValueId;

/// A 1×1 convolution that expands the channels, a depthwise convolution, and a 1×1 convolution
/// that projects them, each with batch normalisation and all but the last with an activation.
///
/// There is no expansion where the number of channels stays. The input is added to the output
/// where the block changes neither the channels nor the resolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct MbConv {
    pub kernel: i64,
    pub stride: i64,
    /// Channels after the expansion.
    pub expanded: usize,
    /// Channels of the output.
    pub channels: usize,
    pub activation: Activation,
    pub squeeze: Option<SqueezeExcitation>,
}

/// Weights a map's channels by what two 1×1 convolutions, with bias, make of their means.
#[derive(Debug, Clone, Copy)]
pub(super) struct SqueezeExcitation {
    /// Channels between the two convolutions.
    pub channels: usize,
    /// What follows the first.
    pub activation: Activation,
    /// What follows the second.
    pub gate: Activation,
}

impl MbConv {
    pub fn build(self, network: &mut NetworkBuilder, input: ValueId) -> ValueId {
        let channels = network.channels(input);
        let mut x = input;
        if self.expanded != channels {
            x = network.conv(x, self.expanded, 1, 1);
            x = network.batch_norm(x);
            x = network.activation(x, self.activation);
        }
        let depthwise =
            ConvSpec { groups: self.expanded, ..ConvSpec::square(self.kernel, self.stride) };
        x = network.convolution(x, self.expanded, depthwise);
        x = network.batch_norm(x);
        x = network.activation(x, self.activation);
        if let Some(squeeze) = self.squeeze {
            x = squeeze.build(network, x);
        }
        x = network.conv(x, self.channels, 1, 1);
        x = network.batch_norm(x);
        if self.stride == 1 && self.channels == channels { network.add(x, input) } else { x }
    }
}

impl SqueezeExcitation {
    fn build(self, network: &mut NetworkBuilder, x: ValueId) -> ValueId {
        let biased = ConvSpec { bias: true, ..ConvSpec::square(1, 1) };
        let weights = network.global_average_pool(x);
        let weights = network.convolution(weights, self.channels, biased);
        let weights = network.activation(weights, self.activation);
        let weights = network.convolution(weights, network.channels(x), biased);
        let weights = network.activation(weights, self.gate);
        network.product(x, weights)
    }
}
