//! A page for each task that the README lists.

#[doc = include_str!("adapt.md")]
pub mod adapt {}
#[doc = include_str!("evaluate.md")]
pub mod evaluate {}
#[doc = include_str!("files.md")]
pub mod files {}
#[doc = include_str!("python.md")]
pub mod python {}
#[doc = include_str!("rank.md")]
pub mod rank {}
#[doc = include_str!("search.md")]
pub mod search {}
#[doc = include_str!("shrink.md")]
pub mod shrink {}
#[doc = include_str!("train.md")]
pub mod train {}
