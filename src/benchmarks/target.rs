//! What is estimated of a network.

use crate::graph::ComputationGraph;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! targets {
    ($($(#[$doc:meta])* $target:ident = $name:literal, $data_set:literal, $classes:literal;)*) => {
        /// The accuracy that a network reaches when it is trained on this data set, in per cent.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize
        )]
        #[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
        pub enum Target {
            $($(#[$doc])* #[serde(rename = $name)] $target,)*
        }

        impl Target {
            /// Every target.
            pub const ALL: &[Self] = &[$(Self::$target,)*];

            /// The name it goes by.
            pub fn name(self) -> &'static str {
                match self { $(Self::$target => $name,)* }
            }

            /// What tables of labels call its data set.
            pub fn data_set(self) -> &'static str {
                match self { $(Self::$target => $data_set,)* }
            }

            /// Number of classes of its images.
            pub fn classes(self) -> u64 {
                match self { $(Self::$target => $classes,)* }
            }
        }
    };
}

targets! {
    /// ImageNet-1k, top 1.
    ImageNet1k = "imagenet1k", "ImageNet-1k", 1000;
    /// CIFAR-10.
    Cifar10 = "cifar10", "CIFAR-10", 10;
    /// CIFAR-100.
    Cifar100 = "cifar100", "CIFAR-100", 100;
    /// Street View House Numbers.
    Svhn = "svhn", "SVHN", 10;
}

impl Target {
    /// The target of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|target| target.name() == name)
    }

    /// The target that a network's input and output speak for, and which of these that is: by the
    /// size of its images and, of small ones, by the number of its classes.
    pub fn for_network(graph: &ComputationGraph) -> (Self, String) {
        let Some([height, width]) = graph.image() else {
            return (Self::ImageNet1k, "it takes no images, and no target fits".into());
        };
        let (target, by) = match graph.classes() {
            _ if graph.takes_large_images() => (Self::ImageNet1k, String::new()),
            100 => (Self::Cifar100, " and 100 outputs".into()),
            classes => (Self::Cifar10, format!(" and {classes} outputs")),
        };
        (target, format!("images of {height}x{width}{by}"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Extent, Node, Operation, Window};

    fn network(input: Extent, classes: u64) -> ComputationGraph {
        let node = |operation, input, output| Node {
            operation,
            input,
            output,
            window: Window::default(),
            bias: false,
            parameters: 0,
            macs: 0,
            name: "".into(),
        };
        let output = Extent::new(classes, 1, 1);
        let nodes =
            vec![node(Operation::Input, input, input), node(Operation::Linear, input, output)];
        ComputationGraph::new(nodes, &[(0, 1)]).unwrap()
    }

    #[test]
    fn input_and_output_decide() {
        let square = |size| Extent::new(3, size, size);
        for (input, classes, target) in [
            (square(224), 1000, Target::ImageNet1k),
            (square(64), 10, Target::ImageNet1k),
            (square(32), 10, Target::Cifar10),
            (square(32), 100, Target::Cifar100),
            (square(16), 120, Target::Cifar10),
            (Extent::new(1, 28, 28), 10, Target::Cifar10),
        ] {
            assert_eq!(
                Target::for_network(&network(input, classes)).0,
                target,
                "{input} {classes}"
            );
        }
        // 128 tokens are no image.
        assert!(Target::for_network(&network(Extent::new(1, 128, 1), 2)).1.contains("no images"));
    }

    #[test]
    fn names_are_understood() {
        for &target in Target::ALL {
            assert_eq!(Target::from_name(target.name()), Some(target));
            let json = serde_json::to_string(&target).unwrap();
            assert_eq!(json, format!("\"{target}\""));
        }
    }
}
