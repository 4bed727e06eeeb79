//! LSTM, GRU and RNN.

use super::{Context, Fact, Facts, Result, dim, invalid};
use crate::model_graph::{DisplayShape, OpType, Shape};
use smallvec::{SmallVec, smallvec};

/// Matrices that a cell multiplies by.
fn gates(op: &OpType) -> usize {
    match op {
        OpType::GRU => 3,
        OpType::RNN => 1,
        _ => 4,
    }
}

/// The shape of a weight of these cells: directions, rows, columns. Those that are quantised while
/// running have it the other way round.
pub(crate) fn weight_shape(op: &OpType, stored: &[usize]) -> [usize; 3] {
    match *stored {
        [directions, columns, rows] if *op == OpType::DynamicQuantizeLSTM => {
            [directions, rows, columns]
        }
        [directions, rows, columns] => [directions, rows, columns],
        _ => [0; 3],
    }
}

pub(super) fn recurrent(ctx: &Context) -> Result<Facts> {
    let (x, weight, recurrence) = (ctx.ranked(0, 3)?, ctx.ranked(1, 3)?, ctx.ranked(2, 3)?);
    let [directions, rows, hidden] = weight_shape(ctx.op, &recurrence.shape);
    let given = ctx.attributes.get_int("hidden_size").map(dim).transpose()?;
    let both = ctx.attributes.str("direction") == Some("bidirectional");
    if Some(rows) != hidden.checked_mul(gates(ctx.op))
        || weight_shape(ctx.op, &weight.shape) != [directions, rows, x.shape[2]]
        || given.is_some_and(|given| given != hidden)
        || directions != 1 + usize::from(both)
        || hidden == 0
    {
        return invalid(format!(
            "weights of {} and {} do not fit an input of {}",
            DisplayShape(&weight.shape),
            DisplayShape(&recurrence.shape),
            DisplayShape(&x.shape)
        ));
    }
    if let Some(bias) = ctx.optional(3)
        && (bias.shape.len() != 2
            || bias.shape[0] != directions
            || Some(bias.shape[1]) != rows.checked_mul(2))
    {
        return invalid(format!("a bias of {}", DisplayShape(&bias.shape)));
    }
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
