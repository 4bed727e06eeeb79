//! LSTM, GRU and RNN.

use super::{Context, Fact, Facts, Result, dim};
use crate::model_graph::Shape;
use smallvec::{SmallVec, smallvec};

pub(super) fn recurrent(ctx: &Context) -> Result<Facts> {
    let x = ctx.ranked(0, 3)?;
    let recurrence = ctx.ranked(2, 3)?;
    let directions = recurrence.shape[0];
    let hidden = match ctx.attributes.get_int("hidden_size") {
        Some(h) => dim(h)?,
        None => recurrence.shape[2],
    };
    let batch_first = ctx.attributes.int("layout", 0) == 1;
    let (all, last): (Shape, Shape) = if batch_first {
        let (batch, steps) = (x.shape[0], x.shape[1]);
        (smallvec![batch, steps, directions, hidden], smallvec![batch, directions, hidden])
    } else {
        let (steps, batch) = (x.shape[0], x.shape[1]);
        (smallvec![steps, directions, batch, hidden], smallvec![directions, batch, hidden])
    };
    let shapes: SmallVec<[Shape; 3]> = smallvec![all, last.clone(), last];
    Ok(shapes.into_iter().map(|s| Fact::new(x.dtype, s)).collect())
}
