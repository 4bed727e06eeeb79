//! All integration tests, in one binary because linking is what takes long.

mod cases;
mod cli;
mod data;
mod evaluate;
mod examples;
mod exports;
mod finetune;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod growth;
mod kills;
mod latency;
mod malformed;
mod operators;
mod outputs;
mod real;
mod round_trip;
mod search;
mod shapes;
mod spaces;
mod subnetworks;
mod telling;
mod zoo;
