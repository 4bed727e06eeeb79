//! Blocks that several search spaces are made of.

use crate::model_graph::{
    Attribute, Attributes, Builder, DataType, ModelGraph, OpType, Origin, TensorData, Value,
    ValueId, ints,
};
use smallvec::{SmallVec, smallvec};

/// Opset 17 is the newest that all of ONNX Runtime's releases since 2022 run.
const OPSET: i64 = 17;

/// Nodes and tensors that there is room for from the start, which most networks have.
const NODES: usize = 256;
const VALUES: usize = 640;

/// A network under construction, for images in the layout batch, channels, height, width.
pub(super) struct NetworkBuilder {
    builder: Builder,
    /// What names of weights begin with; where it is empty, they have none.
    scope: String,
    /// Weights in this scope.
    weights: usize,
}

impl NetworkBuilder {
    /// A network for one image of three channels and `resolution` rows and columns.
    pub fn new(name: String, resolution: usize) -> (Self, ValueId) {
        Self::for_images(name, [3, resolution, resolution])
    }

    /// A network for one image of these channels, rows and columns.
    pub fn for_images(name: String, [channels, rows, columns]: [usize; 3]) -> (Self, ValueId) {
        let mut builder = Builder::new(name, OPSET);
        builder.reserve(NODES, VALUES);
        let image = builder.input("input", DataType::Float, &[1, channels, rows, columns]);
        (Self { builder, scope: String::new(), weights: 0 }, image)
    }

    /// Weights from here on are named `scope.0`, `scope.1` and so on.
    pub fn scope(&mut self, scope: String) {
        (self.scope, self.weights) = (scope, 0);
    }

    fn weight(&mut self, shape: &[usize]) -> ValueId {
        let name = match self.scope.as_str() {
            "" => String::new(),
            scope => format!("{scope}.{}", self.weights),
        };
        self.weights += 1;
        self.builder.constant(&name, DataType::Float, shape, None)
    }

    fn node(&mut self, op: OpType, attributes: Attributes, inputs: &[ValueId]) -> ValueId {
        // An architecture is valid by construction, so an error here is a mistake in its space.
        self.builder.node(op, attributes, inputs).expect("spaces build valid networks")
    }

    /// Number of channels of a feature map.
    pub fn channels(&self, x: ValueId) -> usize {
        self.builder.value(x).shape[1]
    }

    /// Convolution to `channels` channels.
    pub fn convolution(&mut self, x: ValueId, channels: usize, spec: ConvSpec) -> ValueId {
        let [rows, columns] = spec.kernel.map(|k| k as usize);
        let weight = [channels, self.channels(x) / spec.groups, rows, columns];
        let mut inputs: SmallVec<[ValueId; 3]> = smallvec![x, self.weight(&weight)];
        if spec.bias {
            inputs.push(self.weight(&[channels]));
        }
        let pads = spec.kernel.map(|k| spec.dilation * (k - 1) / 2);
        let mut attributes = window(spec.kernel, spec.stride, pads);
        if spec.dilation != 1 {
            attributes.insert("dilations", ints(&[spec.dilation; 2]));
        }
        if spec.groups != 1 {
            attributes.insert("group", Attribute::Int(spec.groups as i64));
        }
        self.node(OpType::Conv, attributes, &inputs)
    }

    /// Square convolution without bias.
    pub fn conv(&mut self, x: ValueId, channels: usize, kernel: i64, stride: i64) -> ValueId {
        self.convolution(x, channels, ConvSpec::square(kernel, stride))
    }

    /// Batch normalisation, with ONNX's default epsilon of 1e-5.
    pub fn batch_norm(&mut self, x: ValueId) -> ValueId {
        let channels = [self.channels(x)];
        let [scale, bias, mean, variance] = [(); 4].map(|()| self.weight(&channels));
        let inputs = [x, scale, bias, mean, variance];
        self.node(OpType::BatchNormalization, Attributes::new(), &inputs)
    }

    /// Rectified linear unit.
    pub fn relu(&mut self, x: ValueId) -> ValueId {
        self.node(OpType::Relu, Attributes::new(), &[x])
    }

    /// An activation function.
    pub fn activation(&mut self, x: ValueId, activation: Activation) -> ValueId {
        let none = Attributes::new;
        match activation {
            Activation::Relu => self.relu(x),
            Activation::Relu6 => {
                let [low, high] = [0.0, 6.0].map(|bound| {
                    let bound = Some(TensorData::Floats(vec![bound]));
                    self.builder.literal("", DataType::Float, &[], bound)
                });
                self.node(OpType::Clip, none(), &[x, low, high])
            }
            Activation::Silu => {
                let gate = self.activation(x, Activation::Sigmoid);
                self.product(x, gate)
            }
            Activation::HardSwish => self.node(OpType::HardSwish, none(), &[x]),
            Activation::Sigmoid => self.node(OpType::Sigmoid, none(), &[x]),
            Activation::HardSigmoid => {
                let slope = none().with("alpha", Attribute::Float(1.0 / 6.0));
                self.node(OpType::HardSigmoid, slope, &[x])
            }
        }
    }

    /// Product, element by element; a map of one pixel is spread over the other.
    pub fn product(&mut self, x: ValueId, factor: ValueId) -> ValueId {
        self.node(OpType::Mul, Attributes::new(), &[x, factor])
    }

    /// Rectified linear unit with results up to 6.
    pub fn relu6(&mut self, x: ValueId) -> ValueId {
        self.activation(x, Activation::Relu6)
    }

    /// Convolution, batch normalisation.
    pub fn conv_bn(&mut self, x: ValueId, channels: usize, kernel: i64, stride: i64) -> ValueId {
        let x = self.conv(x, channels, kernel, stride);
        self.batch_norm(x)
    }

    /// Convolution, batch normalisation, ReLU6.
    pub fn conv_bn_relu6(
        &mut self,
        x: ValueId,
        channels: usize,
        kernel: i64,
        stride: i64,
    ) -> ValueId {
        let x = self.conv_bn(x, channels, kernel, stride);
        self.relu6(x)
    }

    /// Convolution, batch normalisation, ReLU.
    pub fn conv_bn_relu(&mut self, x: ValueId, channels: usize, kernel: i64) -> ValueId {
        let x = self.conv(x, channels, kernel, 1);
        let x = self.batch_norm(x);
        self.relu(x)
    }

    /// ReLU, convolution, batch normalisation.
    pub fn relu_conv_bn(
        &mut self,
        x: ValueId,
        channels: usize,
        kernel: i64,
        stride: i64,
    ) -> ValueId {
        let x = self.relu(x);
        let x = self.conv(x, channels, kernel, stride);
        self.batch_norm(x)
    }

    /// Maximum over windows.
    pub fn max_pool(&mut self, x: ValueId, kernel: i64, stride: i64, pad: i64) -> ValueId {
        self.node(OpType::MaxPool, window([kernel; 2], [stride; 2], [pad; 2]), &[x])
    }

    /// Mean over windows, not counting padding.
    pub fn average_pool(&mut self, x: ValueId, kernel: i64, stride: i64, pad: i64) -> ValueId {
        self.node(OpType::AveragePool, window([kernel; 2], [stride; 2], [pad; 2]), &[x])
    }

    /// Mean over windows of `side` rows and columns next to each other; what is left over at the
    /// end makes a smaller window.
    pub fn average_pool_to_ceiling(&mut self, x: ValueId, side: i64) -> ValueId {
        let mut attributes = window([side; 2], [side; 2], [0; 2]);
        if self.builder.value(x).shape[2..].iter().any(|&d| d % side as usize != 0) {
            attributes.insert("ceil_mode", Attribute::Int(1));
        }
        self.node(OpType::AveragePool, attributes, &[x])
    }

    /// Sum, added up in order; `None` of nothing.
    pub fn sum(&mut self, terms: impl IntoIterator<Item = ValueId>) -> Option<ValueId> {
        terms.into_iter().reduce(|a, b| self.add(a, b))
    }

    /// Sum of two maps.
    pub fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.node(OpType::Add, Attributes::new(), &[a, b])
    }

    /// A map of zeros in the shape of `x`.
    pub fn zeros_like(&mut self, x: ValueId) -> ValueId {
        let zero =
            self.builder.literal("", DataType::Float, &[], Some(TensorData::Floats(vec![0.0])));
        self.node(OpType::Mul, Attributes::new(), &[x, zero])
    }

    /// Concatenation along the channels.
    pub fn concat(&mut self, maps: &[ValueId]) -> ValueId {
        match maps {
            [one] => *one,
            _ => self.node(OpType::Concat, Attributes::new().with("axis", Attribute::Int(1)), maps),
        }
    }

    /// The first `channels` channels.
    pub fn truncate(&mut self, x: ValueId, channels: usize) -> ValueId {
        if self.channels(x) == channels {
            return x;
        }
        let [start, end, axis] = [0, channels as i64, 1].map(|i| self.builder.int_vector(&[i]));
        self.node(OpType::Slice, Attributes::new(), &[x, start, end, axis])
    }

    /// Mean of each channel, as a map of one pixel.
    pub fn global_average_pool(&mut self, x: ValueId) -> ValueId {
        self.node(OpType::GlobalAveragePool, Attributes::new(), &[x])
    }

    /// Fully connected layer with bias; a feature map is flattened first.
    pub fn linear(&mut self, x: ValueId, features: usize) -> ValueId {
        let x = match self.builder.value(x).shape.len() {
            2 => x,
            _ => self.node(OpType::Flatten, Attributes::new(), &[x]),
        };
        let weight = self.weight(&[features, self.channels(x)]);
        let bias = self.weight(&[features]);
        let transposed = Attributes::new().with("transB", Attribute::Int(1));
        self.node(OpType::Gemm, transposed, &[x, weight, bias])
    }

    /// The map one row lower and one column further right.
    pub fn without_first_row_and_column(&mut self, x: ValueId) -> ValueId {
        let [rows, columns] = [2, 3].map(|axis| self.builder.value(x).shape[axis] as i64);
        let range = [[1, 1], [rows, columns], [2, 3]].map(|v| self.builder.int_vector(&v));
        self.node(OpType::Slice, Attributes::new(), &[x, range[0], range[1], range[2]])
    }

    /// What `block` makes of `x`, then of that, and so on, so many times. From where it leaves the
    /// shape as it is, it is built once and copied.
    pub fn stack(
        &mut self,
        mut x: ValueId,
        times: usize,
        mut block: impl FnMut(&mut Self, ValueId) -> ValueId,
    ) -> ValueId {
        for left in (0..times).rev() {
            let start = self.builder.position();
            let y = block(self, x);
            let [before, after] = [x, y].map(|id| &self.builder.value(id).shape);
            // Weights with names have one each.
            if before == after && self.scope.is_empty() {
                let section = self.builder.since(start);
                return (0..left).fold(y, |last, _| self.builder.copy(&section, x, last, y));
            }
            x = y;
        }
        x
    }

    /// Ends the network with global average pooling and a linear classifier.
    pub fn classify(mut self, x: ValueId, classes: usize) -> ModelGraph {
        let x = self.global_average_pool(x);
        let logits = self.linear(x, classes);
        self.finish(logits)
    }

    /// Ends the network.
    pub fn finish(mut self, output: ValueId) -> ModelGraph {
        self.builder.output(output);
        self.builder.finish()
    }
}

/// What follows a convolution or gates a feature map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    Relu,
    Relu6,
    /// x · sigmoid(x).
    Silu,
    HardSwish,
    Sigmoid,
    HardSigmoid,
}

/// What kind of convolution. An odd kernel is padded to keep the resolution at stride 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvSpec {
    /// Rows and columns.
    pub kernel: [i64; 2],
    /// Along rows and columns.
    pub stride: [i64; 2],
    pub dilation: i64,
    /// Equal to the number of input channels in a depthwise convolution.
    pub groups: usize,
    pub bias: bool,
}

impl ConvSpec {
    /// Neither dilated nor grouped, without bias.
    pub fn square(kernel: i64, stride: i64) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], dilation: 1, groups: 1, bias: false }
    }
}

/// Attributes of a window; ONNX's defaults are left out.
fn window(kernel: [i64; 2], stride: [i64; 2], [rows, columns]: [i64; 2]) -> Attributes {
    let mut attributes = Attributes::new().with("kernel_shape", ints(&kernel));
    if stride != [1; 2] {
        attributes.insert("strides", ints(&stride));
    }
    if [rows, columns] != [0; 2] {
        attributes.insert("pads", ints(&[rows, columns, rows, columns]));
    }
    attributes
}

/// Trainable parameters of a square convolution without bias, followed by batch normalisation.
pub(super) fn conv_bn_parameters(inputs: usize, outputs: usize, kernel: usize) -> u64 {
    ((kernel * kernel * inputs + 2) * outputs) as u64
}

/// Trainable parameters of a built network: all stored numbers but the running statistics of
/// batch normalisation.
pub(super) fn trainable_parameters(graph: &ModelGraph) -> u64 {
    let stored = |v: &&Value| v.constant.as_ref().is_some_and(|c| c.origin == Origin::Stored);
    let all: u64 = graph.values().iter().filter(stored).map(Value::elements).sum();
    let normalisations = graph.nodes().iter().filter(|n| n.op == OpType::BatchNormalization);
    let statistics = normalisations.flat_map(|n| n.inputs.iter().flatten().skip(3));
    all - statistics.map(|&id| graph.value(id).elements()).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a block does with the shape, with constants and with what it is given.
    #[test]
    fn a_stack_is_its_blocks_one_after_the_other() {
        type Block = fn(&mut NetworkBuilder, ValueId) -> ValueId;
        let blocks: [Block; 5] = [
            |_, x| x,
            |network, x| network.conv(x, 4, 3, 2),
            |network, x| network.conv_bn_relu6(x, 8, 3, 1),
            |network, x| {
                let inner = network.relu_conv_bn(x, 5, 3, 1);
                let inner = network.truncate(inner, 3);
                let pooled = network.average_pool(x, 3, 1, 1);
                network.sum([inner, x, pooled]).unwrap()
            },
            |network, x| {
                let zeros = network.zeros_like(x);
                network.relu6(x);
                zeros
            },
        ];
        for block in blocks {
            for (times, scope) in (0..5).flat_map(|times| [(times, ""), (times, "scope")]) {
                let built = |stacked: bool| {
                    let (mut network, image) = NetworkBuilder::new("name".into(), 32);
                    network.scope(scope.into());
                    let output = match stacked {
                        true => network.stack(image, times, block),
                        false => (0..times).fold(image, |x, _| block(&mut network, x)),
                    };
                    network.finish(output)
                };
                assert_eq!(built(true), built(false));
            }
        }
    }
}
