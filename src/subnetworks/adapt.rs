//! What a node says about its channels in numbers, when some of them are cut.

use crate::model_graph::infer::{self, Context, InferError, layout};
use crate::model_graph::{
    Attribute, Attributes, Builder, ModelGraph, Node, OpType, TensorData, Value, ValueId, ints,
};
use crate::onnx::{Cut, cut_shape};
use smallvec::SmallVec;

/// A node of which the first input and the first output are cut.
pub(super) struct Adapted<'a> {
    pub graph: &'a ModelGraph,
    pub builder: &'a mut Builder,
    pub node: &'a Node,
    /// The tensors that it reads, before anything is cut.
    pub old: &'a [Option<ValueId>],
    /// What is kept of its first input.
    pub before: &'a Cut,
    /// What is kept of its first output.
    pub after: &'a Cut,
    /// Shape of the output once it is cut.
    pub target: Vec<i64>,
    pub attributes: &'a mut Attributes,
    /// The tensors that it reads from now on.
    pub inputs: &'a mut SmallVec<[Option<ValueId>; 5]>,
}

impl Adapted<'_> {
    /// Changes attributes and lists; `from` is the first input before it is cut.
    ///
    /// # Errors
    /// When the node's numbers make no sense.
    pub fn adapt(&mut self, from: &Value) -> Result<(), InferError> {
        use OpType::*;
        match self.node.op {
            Conv | ConvTranspose => self.scale("group", from),
            GroupNormalization => self.scale("num_groups", from),
            Squeeze => self.squeeze(from),
            Reshape => self.reshape(from),
            Expand => self.expand(),
            Resize if self.has(3) => self.resize()?,
            Split => self.split()?,
            Slice => self.slice()?,
            Gather => self.gather(from)?,
            _ => {}
        }
        Ok(())
    }

    /// Whether there is an input at this place.
    fn has(&self, input: usize) -> bool {
        self.inputs.get(input).is_some_and(Option::is_some)
    }

    /// A list that the node gives as an attribute or as an input. It is known: tensors are not cut
    /// where it is not.
    fn list(&self, name: &str, input: usize) -> Vec<i64> {
        self.node.context(self.graph, |ctx| {
            ctx.ints_either(name, input).ok().flatten().unwrap_or_default().to_vec()
        })
    }

    /// Sets a list that older operator sets give as an attribute and newer ones as an input.
    fn set_list(&mut self, name: &'static str, input: usize, list: &[i64]) {
        if self.attributes.ints(name).is_some() {
            self.attributes.insert(name, ints(list));
        } else if let Some(Some(slot)) = self.inputs.get_mut(input) {
            let dtype = self.builder.value(*slot).dtype;
            let data = Some(TensorData::Ints(list.to_vec()));
            *slot = self.builder.constant("", dtype, &[list.len()], data);
        }
    }

    /// Gives a list that the node had not, as its second input where the operator set has that.
    fn add_list(&mut self, name: &'static str, list: &[i64]) {
        if self.graph.opset() < 13 {
            self.attributes.insert(name, ints(list));
        } else {
            self.inputs.truncate(1);
            self.inputs.push(Some(self.builder.int_vector(list)));
        }
    }

    /// Scales a number of groups with the channels of the input.
    fn scale(&mut self, name: &'static str, from: &Value) {
        let groups = usize::try_from(self.attributes.int(name, 1)).unwrap_or(1);
        if let (Some(Some(kept)), Some(&channels)) = (self.before.get(1), from.shape.get(1))
            && groups > 1
            && channels > 0
        {
            let groups = (kept.len() * groups / channels) as i64;
            self.attributes.insert(name, Attribute::Int(groups));
        }
    }

    /// Without a list it would drop every axis of which one position is left, too.
    fn squeeze(&mut self, from: &Value) {
        let listed = self.attributes.ints("axes").is_some() || self.has(1);
        if !listed && self.before.iter().flatten().any(|kept| kept.len() == 1) {
            let ones = from.shape.iter().enumerate().filter(|(_, d)| **d == 1);
            let axes: Vec<i64> = ones.map(|(axis, _)| axis as i64).collect();
            self.add_list("axes", &axes);
        }
    }

    /// Only what was cut changes: what else stands there may hold for other batches and sizes too.
    fn reshape(&mut self, from: &Value) {
        let list = self.list("shape", 1);
        let zeros = self.attributes.int("allowzero", 0) == 0;
        let from = cut_shape(&from.shape, self.before);
        let entry = |(i, &e): (usize, &i64)| match e {
            -1 => -1,
            0 if zeros && from.get(i).map(|&d| d as i64) == self.target.get(i).copied() => 0,
            _ if self.after.get(i).is_some_and(Option::is_some) || e == 0 => {
                self.target.get(i).copied().unwrap_or(e)
            }
            e => e,
        };
        let list: Vec<i64> = list.iter().enumerate().map(entry).collect();
        self.set_list("shape", 1, &list);
    }

    fn expand(&mut self) {
        let mut list = self.list("shape", 1);
        let skip = self.target.len().saturating_sub(list.len());
        for (e, (cut, &d)) in list.iter_mut().zip(self.after.iter().zip(&self.target).skip(skip)) {
            // 1 leaves what is there.
            *e = if cut.is_some() && *e != 1 { d } else { *e };
        }
        self.set_list("shape", 1, &list);
    }

    fn resize(&mut self) -> Result<(), InferError> {
        let mut list = self.list("sizes", 3);
        let axes = self.attributes.ints("axes");
        for (i, size) in list.iter_mut().enumerate() {
            let axis = match axes {
                Some(axes) => infer::axis(axes.get(i).copied().unwrap_or(0), self.target.len())?,
                None => i,
            };
            if let (Some(Some(_)), Some(&d)) = (self.after.get(axis), self.target.get(axis)) {
                *size = d;
            }
        }
        self.set_list("sizes", 3, &list);
        Ok(())
    }

    fn split(&mut self) -> Result<(), InferError> {
        let (at, sizes) = self.node.context(self.graph, layout::split_sizes)?;
        let Some(kept) = &self.before[at] else { return Ok(()) };
        let mut start = 0;
        let sizes = sizes.iter().map(|size| {
            let piece = start..start + size;
            start += size;
            count(kept, piece)
        });
        let sizes: Vec<i64> = sizes.collect();
        // Equal parts of less are equal still.
        let part = kept.len().div_ceil(sizes.len().max(1)) as i64;
        let explicit = self.attributes.ints("split").is_some() || self.has(1);
        if explicit || sizes.iter().any(|&size| size != part) {
            *self.attributes = without(self.attributes, "num_outputs");
            self.add_list("split", &sizes);
        }
        Ok(())
    }

    fn slice(&mut self) -> Result<(), InferError> {
        let ranges = self.node.context(self.graph, layout::slice_ranges)?;
        let lists = |ctx: &Context| {
            let own = |name, i| Ok(ctx.ints_either(name, i)?.map(<[i64]>::to_vec));
            Ok((own("starts", 1)?, own("ends", 2)?, own("axes", 3)?))
        };
        let (starts, ends, axes) = self.node.context(self.graph, lists)?;
        let (Some(mut starts), Some(mut ends)) = (starts, ends) else { return Ok(()) };
        for (i, (start, end)) in starts.iter_mut().zip(&mut ends).enumerate() {
            let axis = axes.as_ref().and_then(|a| a.get(i).copied()).unwrap_or(i as i64);
            let at = infer::axis(axis, ranges.len())?;
            let first = usize::try_from(ranges[at].start);
            if let (Some(kept), Ok(first)) = (&self.before[at], first) {
                let from = count(kept, 0..first);
                let to = from + count(kept, first..first + ranges[at].count);
                let extent = kept.len() as i64;
                let place = |i: i64| {
                    let i = if i < 0 { i.saturating_add(extent) } else { i };
                    i.clamp(0, extent)
                };
                // Such as an end beyond all ends.
                if (place(*start), place(*end)) != (from, to) {
                    (*start, *end) = (from, to);
                }
            }
        }
        self.set_list("starts", 1, &starts);
        self.set_list("ends", 2, &ends);
        Ok(())
    }

    fn gather(&mut self, from: &Value) -> Result<(), InferError> {
        let at = infer::axis(self.node.attributes.int("axis", 0), from.shape.len())?;
        let index = self.old.get(1).copied().flatten().map(|id| self.graph.value(id));
        let list = index.and_then(Value::data).and_then(TensorData::ints);
        if let (Some(kept), Some(index), Some(list)) = (&self.before[at], index, list) {
            let extent = from.shape[at] as i64;
            let place = |&i: &i64| {
                let i = usize::try_from(if i < 0 { i + extent } else { i }).ok()?;
                kept.binary_search(&i).ok().map(|place| place as i64)
            };
            let places: Vec<i64> = list.iter().filter_map(place).collect();
            let shape: SmallVec<[usize; 1]> = index.shape.iter().map(|_| places.len()).collect();
            let data = TensorData::Ints(places);
            self.inputs[1] = Some(self.builder.constant("", index.dtype, &shape, Some(data)));
        }
        Ok(())
    }
}

/// How many of the positions in `range` are kept.
fn count(kept: &[usize], range: std::ops::Range<usize>) -> i64 {
    kept.iter().filter(|&i| range.contains(i)).count() as i64
}

/// The attributes without one.
fn without(attributes: &Attributes, name: &str) -> Attributes {
    let rest = attributes.iter().filter(|(n, _)| *n != name);
    rest.fold(Attributes::new(), |all, (n, a)| all.with(n.to_string(), a.clone()))
}
