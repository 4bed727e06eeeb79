//! The network that is measured.

use gennape::model_graph::{
    Attributes, BuildError, Builder, DataType, ModelGraph, OpType, ValueId, ints,
};

/// A residual network of 8 layers for images of 28x28 (He et al. 2016, section 4.2), whose first stage has
/// `width` channels.
pub fn residual(width: usize) -> Result<ModelGraph, BuildError> {
    let mut net = Net(Builder::new("residual", 17));
    let x = net.0.input("x", DataType::Float, &[1, 1, 28, 28]);
    let mut x = net.conv(x, [1, width], 3, 1)?;
    x = net.node(OpType::Relu, Attributes::new(), &[x])?;
    let mut before = width;
    for stage in 0..3 {
        let width = width << stage;
        let stride = if stage == 0 { 1 } else { 2 };
        let inner = net.conv(x, [before, width], 3, stride)?;
        let inner = net.node(OpType::Relu, Attributes::new(), &[inner])?;
        let inner = net.conv(inner, [width, width], 3, 1)?;
        let short = if before == width { x } else { net.conv(x, [before, width], 1, stride)? };
        let sum = net.node(OpType::Add, Attributes::new(), &[inner, short])?;
        x = net.node(OpType::Relu, Attributes::new(), &[sum])?;
        before = width;
    }
    let x = net.node(OpType::GlobalAveragePool, Attributes::new(), &[x])?;
    let x = net.node(OpType::Flatten, Attributes::new(), &[x])?;
    let (weight, bias) = (net.0.weight(&[10, before]), net.0.weight(&[10]));
    let transposed = Attributes::new().with("transB", gennape::model_graph::Attribute::Int(1));
    let y = net.node(OpType::Gemm, transposed, &[x, weight, bias])?;
    net.0.output(y);
    Ok(net.0.finish())
}

struct Net(Builder);

impl Net {
    fn node(
        &mut self,
        op: OpType,
        attributes: Attributes,
        inputs: &[ValueId],
    ) -> Result<ValueId, BuildError> {
        self.0.node(op, attributes, inputs)
    }

    /// A convolution with its batch normalisation.
    fn conv(
        &mut self,
        x: ValueId,
        [from, to]: [usize; 2],
        kernel: usize,
        stride: i64,
    ) -> Result<ValueId, BuildError> {
        let weight = self.0.weight(&[to, from, kernel, kernel]);
        let (side, pad) = (kernel as i64, kernel as i64 / 2);
        let attributes = Attributes::new()
            .with("kernel_shape", ints(&[side, side]))
            .with("strides", ints(&[stride, stride]))
            .with("pads", ints(&[pad; 4]));
        let x = self.node(OpType::Conv, attributes, &[x, weight])?;
        let [scale, shift, mean, variance] = [(); 4].map(|()| self.0.weight(&[to]));
        let inputs = [x, scale, shift, mean, variance];
        self.node(OpType::BatchNormalization, Attributes::new(), &inputs)
    }
}
