//! The examples for Rust run.

#[path = "../../data/examples/rust/estimate.rs"]
mod estimate;
#[path = "../../data/examples/rust/evolve.rs"]
mod evolve;
#[path = "../../data/examples/rust/measure.rs"]
mod measure;
#[path = "../../data/examples/rust/shrink.rs"]
mod shrink;
#[path = "../../data/examples/rust/space.rs"]
mod space;

#[test]
fn examples_run() {
    estimate::main().unwrap();
    evolve::main().unwrap();
    measure::main().unwrap();
    shrink::main().unwrap();
    space::main().unwrap();
}
