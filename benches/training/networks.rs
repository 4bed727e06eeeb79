//! The networks that are measured, without weights, for images of 28x28 pixels in 10 classes.

use gennape::model_graph::{
    Attribute, Attributes, BuildError, Builder, DataType, ModelGraph, OpType, ValueId, ints,
};
use gennape::pruning::{Budget, What};

pub struct Case {
    pub name: &'static str,
    pub what: What,
    pub budget: Budget,
    pub build: fn() -> Result<ModelGraph, BuildError>,
}

pub const ALL: [Case; 5] = [
    Case {
        name: "ResNet-8, width 8",
        what: What::Channels,
        budget: Budget::Macs(0.45),
        build: || residual(1),
    },
    Case {
        name: "parallel branches",
        what: What::Branches,
        budget: Budget::Macs(0.5),
        build: parallel,
    },
    Case {
        name: "after DemoSupNet",
        what: What::Both,
        budget: Budget::Macs(0.51),
        build: || demonstration(6),
    },
    Case {
        name: "ResNet-20, width 8",
        what: What::Channels,
        budget: Budget::Macs(0.45),
        build: || residual(3),
    },
    // In about the size that is published: 820 thousand parameters and 209 MFLOPs.
    Case {
        name: "as large as DemoSupNet",
        what: What::Both,
        budget: Budget::Macs(0.51),
        build: || demonstration(26),
    },
];

struct Net(Builder);

type Made = Result<ValueId, BuildError>;

impl Net {
    fn new(name: &str) -> (Self, ValueId) {
        let mut builder = Builder::new(name, 17);
        let x = builder.input("images", DataType::Float, &[1, 1, 28, 28]);
        (Self(builder), x)
    }

    fn node(&mut self, op: OpType, inputs: &[ValueId]) -> Made {
        self.0.node(op, Attributes::new(), inputs)
    }

    /// A convolution with batch normalisation.
    fn conv(&mut self, x: ValueId, filters: usize, kernel: usize, stride: i64) -> Made {
        let channels = self.0.value(x).shape[1];
        let weight = self.0.weight(&[filters, channels, kernel, kernel]);
        let attributes = Attributes::new()
            .with("kernel_shape", ints(&[kernel as i64; 2]))
            .with("pads", ints(&[(kernel / 2) as i64; 4]))
            .with("strides", ints(&[stride; 2]));
        let y = self.0.node(OpType::Conv, attributes, &[x, weight])?;
        let [scale, shift, mean, variance] = [(); 4].map(|()| self.0.weight(&[filters]));
        self.node(OpType::BatchNormalization, &[y, scale, shift, mean, variance])
    }

    fn relu(&mut self, x: ValueId) -> Made {
        self.node(OpType::Relu, &[x])
    }

    /// A convolution with batch normalisation and ReLU.
    fn layer(&mut self, x: ValueId, filters: usize, kernel: usize) -> Made {
        let y = self.conv(x, filters, kernel, 1)?;
        self.relu(y)
    }

    fn halved(&mut self, x: ValueId) -> Made {
        let attributes =
            Attributes::new().with("kernel_shape", ints(&[2; 2])).with("strides", ints(&[2; 2]));
        self.0.node(OpType::MaxPool, attributes, &[x])
    }

    fn classes(mut self, x: ValueId) -> Result<ModelGraph, BuildError> {
        let mean = self.node(OpType::GlobalAveragePool, &[x])?;
        let flat = self.node(OpType::Flatten, &[mean])?;
        let (weight, bias) =
            (self.0.weight(&[10, self.0.value(flat).shape[1]]), self.0.weight(&[10]));
        let attributes = Attributes::new().with("transB", Attribute::Int(1));
        let y = self.0.node(OpType::Gemm, attributes, &[flat, weight, bias])?;
        self.0.output(y);
        Ok(self.0.finish())
    }
}

/// He et al. 2016, section 4.2: 3 stages of so many blocks, of 8, 16 and 32 channels, half as many as there.
fn residual(blocks: usize) -> Result<ModelGraph, BuildError> {
    let (mut net, x) = Net::new("residual");
    let mut x = net.layer(x, 8, 3)?;
    for (stage, width) in [8, 16, 32].into_iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let a = net.conv(x, width, 3, stride)?;
            let a = net.relu(a)?;
            let a = net.conv(a, width, 3, 1)?;
            let short = if stride > 1 { net.conv(x, width, 1, stride)? } else { x };
            let sum = net.node(OpType::Add, &[a, short])?;
            x = net.relu(sum)?;
        }
    }
    net.classes(x)
}

/// Sums of four branches: 1x1, 3x3, 5x5, and 3x3 twice; 3 stages of two sums, of 4, 8 and 16 channels.
fn parallel() -> Result<ModelGraph, BuildError> {
    let (mut net, x) = Net::new("parallel");
    let mut x = net.layer(x, 4, 3)?;
    for (stage, width) in [4, 8, 16].into_iter().enumerate() {
        if stage > 0 {
            x = net.halved(x)?;
        }
        for _ in 0..2 {
            let a = net.conv(x, width, 1, 1)?;
            let b = net.conv(x, width, 3, 1)?;
            let c = net.conv(x, width, 5, 1)?;
            let d = net.layer(x, width, 3)?;
            let d = net.conv(d, width, 3, 1)?;
            let sum = net.node(OpType::Sum, &[a, b, c, d])?;
            x = net.relu(sum)?;
        }
    }
    net.classes(x)
}

/// After the demonstration of OTOv3, of which a drawing but no definition is public: in each of 3
/// stages, each twice as wide as the one before, two branches are added, two are concatenated with
/// the sum, and a convolution reads them.
fn demonstration(width: usize) -> Result<ModelGraph, BuildError> {
    let (mut net, x) = Net::new("demonstration");
    let mut x = net.layer(x, width, 3)?;
    for stage in 0..3 {
        let width = width << stage;
        if stage > 0 {
            x = net.halved(x)?;
        }
        let a = net.conv(x, width, 3, 1)?;
        let b = net.conv(x, width, 1, 1)?;
        let sum = net.node(OpType::Add, &[a, b])?;
        let sum = net.relu(sum)?;
        let c = net.layer(x, width, 3)?;
        let c = net.layer(c, width, 3)?;
        let d = net.layer(x, width, 5)?;
        let axis = Attributes::new().with("axis", Attribute::Int(1));
        let all = net.0.node(OpType::Concat, axis, &[sum, c, d])?;
        x = net.layer(all, 2 * width, 1)?;
    }
    net.classes(x)
}
