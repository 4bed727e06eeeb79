//! The accuracy of an ONNX file's network, from its bytes.

use gennape::{estimator::Estimator, lower::lower, onnx};
use std::error::Error;

pub fn main() -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::read("data/examples/resnet18.onnx")?;
    let model = onnx::read_bytes(&bytes, "resnet18", &onnx::ReadOptions::default())?;
    let estimate = Estimator::embedded().estimate(&[lower(&model)?])?[0];
    println!("{:.1} % in {:.1?}", estimate.accuracy, estimate.interval);
    Ok(())
}
