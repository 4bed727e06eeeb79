//! The accuracy of an ONNX file's network, from its bytes.

use gennape::estimator::{Estimator, Question};
use gennape::onnx::ReadOptions;
use std::error::Error;

pub fn main() -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::read("data/examples/resnet18.onnx")?;
    let (read, question) = (ReadOptions::default(), Question::default());
    let estimate = gennape::predict(&Estimator::embedded(), &bytes, &read, &question)?.estimate;
    println!("{:.1} % in {:.1?}", estimate.accuracy, estimate.interval);
    Ok(())
}
