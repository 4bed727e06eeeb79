//! A sub-network of a network, as an ONNX file with its weights.

use gennape::onnx::{Original, ReadOptions};
use gennape::subnetworks::{Change, Share, SuperNetwork};
use std::error::Error;
use std::fs::File;

pub fn main() -> Result<(), Box<dyn Error>> {
    let path = "data/examples/resnet18.onnx".as_ref();
    let (model, mut original) = Original::open(path, &ReadOptions::default())?;
    let space = SuperNetwork::new(model);
    println!("10^{:.0} sub-networks", space.log10_size());
    let sub = space.choose([
        Change::Width { group: 0, share: Share::Half },
        Change::Without { branch: 4 },
        Change::Kernel { site: 0, extent: 5 },
    ])?;
    println!("{sub}\n{}", space.describe(&sub).join("\n"));
    let out = std::env::temp_dir().join("small.onnx");
    space.shrink(&sub, &mut original, File::create(&out)?, None)?;
    println!("wrote {}", out.display());
    Ok(())
}
