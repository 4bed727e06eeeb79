//! Sequences of tensors, which the network model does not have: PyTorch's exporter writes a split
//! as a sequence and takes it apart again. Importing keeps track of the tensors in each.

use super::{Binding, Importer, Scope};
use crate::model_graph::{Attribute, Attributes, OpType, ValueId, ints};
use crate::onnx::decode::{AttributeValue, Node};
use crate::onnx::error::{ReadError, Reason, invalid};
use smallvec::{SmallVec, smallvec};
use std::rc::Rc;

/// Whether the node makes, reads or joins a sequence.
pub(super) fn is_sequence(node: &Node) -> bool {
    node.domain.is_empty()
        && matches!(
            node.op.as_str(),
            "SplitToSequence" | "SequenceConstruct" | "SequenceAt" | "ConcatFromSequence"
        )
}

impl<'m> Importer<'m> {
    pub(super) fn sequence(
        &mut self,
        node: &'m Node,
        scope: &mut Scope<'_, 'm>,
    ) -> Result<(), ReadError> {
        let int =
            |name: &str, default: i64| match node.argument(name).and_then(|a| scope.resolve(a)) {
                Some(AttributeValue::Plain(Attribute::Int(i))) => *i,
                _ => default,
            };
        let tensor = |i: usize| node.inputs.get(i).and_then(|name| scope.get(name));
        let sequence = || {
            let word = node.inputs.first();
            word.and_then(|word| scope.sequence(word)).ok_or_else(|| {
                let name = word.map_or("", |word| word);
                invalid(format!("{}: '{name}' is no sequence of known tensors", node.label()))
            })
        };
        let unsupported = |what: &str| {
            let what = format!("{}: {what}", node.label());
            ReadError::from(Reason::Unsupported { what, hint: None })
        };
        let Some(output) = node.outputs.first() else { return Ok(()) };
        let binding = match node.op.as_str() {
            "SequenceConstruct" => {
                let parts = (0..node.inputs.len()).map(tensor).collect::<Option<_>>();
                self.spend(8 * node.inputs.len())?;
                Binding::Sequence(parts.ok_or_else(|| {
                    invalid(format!("{} joins what are not tensors", node.label()))
                })?)
            }
            "SequenceAt" => {
                let parts = sequence()?;
                let index = tensor(1)
                    .and_then(|id| self.builder.value(id).data()?.ints()?.first().copied());
                let Some(index) = index else {
                    self.leave_out(node, scope, super::AT_RUN_TIME);
                    return Ok(());
                };
                let count = i64::try_from(parts.len()).unwrap_or(i64::MAX);
                let index = if index < 0 { index.saturating_add(count) } else { index };
                let part = usize::try_from(index).ok().and_then(|i| parts.get(i).copied());
                Binding::Tensor(part.ok_or_else(|| {
                    invalid(format!(
                        "{} takes element {index} of a sequence of {count}",
                        node.label()
                    ))
                })?)
            }
            "ConcatFromSequence" => {
                if int("new_axis", 0) != 0 {
                    return Err(unsupported("stacks a sequence along a new axis"));
                }
                let parts = sequence()?.iter().copied().map(Some).collect();
                let attributes = Attributes::new().with("axis", Attribute::Int(int("axis", 0)));
                let name = self.name(scope.prefix, output)?;
                let made = self.add(
                    node,
                    scope.prefix,
                    OpType::Concat,
                    attributes,
                    parts,
                    &[Some(name)],
                    &[],
                )?;
                let Some([Some(joined)]) = made.as_deref() else {
                    return Err(unsupported("joins a sequence to nothing"));
                };
                Binding::Tensor(*joined)
            }
            _ => {
                let x =
                    tensor(0).ok_or_else(|| invalid(format!("{} has no input", node.label())))?;
                Binding::Sequence(self.split(node, x, tensor(1), int("axis", 0), scope.prefix)?)
            }
        };
        if node.op == "SequenceAt" {
            self.results(node, vec![binding], scope);
        } else {
            scope.values.insert(output.name, binding);
        }
        Ok(())
    }

    /// The parts of a SplitToSequence, by a Split.
    fn split(
        &mut self,
        node: &'m Node,
        x: ValueId,
        split: Option<ValueId>,
        axis: i64,
        prefix: &str,
    ) -> Result<Rc<[ValueId]>, ReadError> {
        let shape = &self.builder.value(x).shape;
        let along = usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis });
        let extent = along.ok().and_then(|a| shape.get(a)).map(|&d| d as i64);
        let sizes = split.map(|id| self.builder.value(id)).map(|v| (v.shape.len(), v.data()));
        let known = match (extent, sizes) {
            (Some(extent), Some((0, Some(size)))) => size
                .ints()
                .and_then(|v| v.first().copied())
                .filter(|&size| size > 0 && extent / size < 1 << 16)
                .map(|size| {
                    let starts = (0..extent).step_by(usize::try_from(size).unwrap_or(usize::MAX));
                    starts.map(|start| size.min(extent - start)).collect()
                }),
            (Some(_), Some((1, Some(sizes)))) => sizes.ints().map(<[i64]>::to_vec),
            _ => None,
        };
        let sizes: Vec<i64> = known.ok_or_else(|| Reason::Unsupported {
            what: format!("{}: the sizes of its parts are not known", node.label()),
            hint: None,
        })?;
        let mut attributes = Attributes::new().with("axis", Attribute::Int(axis));
        let mut inputs: SmallVec<[Option<ValueId>; 5]> = smallvec![Some(x)];
        self.spend(8 * sizes.len())?;
        // Operator set 13 turned the sizes into an input.
        if self.model.opset < 13 {
            attributes.insert("split", ints(&sizes));
        } else {
            inputs.push(Some(self.builder.int_vector(&sizes)));
        }
        let output = node.outputs.first().map_or("", |output| output);
        let names = (0..sizes.len())
            .map(|i| Ok(Some(self.name(prefix, &format!("{output}_{i}"))?.into_owned().into())))
            .collect::<Result<Vec<_>, ReadError>>()?;
        let parts = self.add(node, prefix, OpType::Split, attributes, inputs, &names, &[])?;
        Ok(parts.into_iter().flatten().flatten().collect())
    }
}
