//! What the new file says of the shapes of tensors.

use super::nodes::Item;
use super::{Content, Editor};
use crate::onnx::error::WriteError;
use crate::onnx::names::Name;
use crate::onnx::origins::{Body, MAIN};
use crate::onnx::rope::Rope;
use hashbrown::HashSet;
use std::ops::Range;

/// How many positions are left along each axis; `None` where all are.
type Extents = Vec<Option<u64>>;

impl Editor<'_> {
    /// What is left along the axes of a tensor; `None` when nothing was cut.
    fn extents(&self, name: Name) -> Option<Extents> {
        let id = self.ids.get(name)?;
        let cut = match self.edits.stored.get(id) {
            Some(Content::New { shape, .. }) => {
                return Some(shape.iter().map(|&d| Some(d as u64)).collect());
            }
            Some(Content::Cut { cut, .. }) => cut,
            None => self.edits.cuts.get(id)?,
        };
        Some(cut.iter().map(|kept| kept.as_ref().map(|k| k.len() as u64)).collect())
    }

    /// What the file says of the tensor `name`, with what is left of its dimensions and, if
    /// wanted, another name.
    pub(super) fn info(
        &self,
        content: Range<usize>,
        name: Name,
        new_name: Option<&str>,
    ) -> Result<Rope, WriteError> {
        let extents = self.extents(name);
        let mut rope = Rope::default();
        if extents.is_none() && new_name.is_none() {
            rope.copy(content);
            return Ok(rope);
        }
        for field in self.original.fields(content)? {
            match (field.number, field.content(), new_name, &extents) {
                (1, _, Some(name), _) => rope.text(1, name),
                (2, Some(kind), _, Some(extents)) => {
                    rope.message(2, self.kind(kind, Some(extents))?);
                }
                _ => rope.copy(field.start..field.end),
            }
        }
        Ok(rope)
    }

    /// What the file says of a tensor, without its shape.
    pub(super) fn shapeless(
        &self,
        content: Range<usize>,
        new_name: Option<&str>,
    ) -> Result<Rope, WriteError> {
        let mut rope = Rope::default();
        for field in self.original.fields(content)? {
            match (field.number, field.content(), new_name) {
                (1, _, Some(name)) => rope.text(1, name),
                (2, Some(kind), _) => rope.message(2, self.kind(kind, None)?),
                _ => rope.copy(field.start..field.end),
            }
        }
        Ok(rope)
    }

    /// A type with other extents, or without a shape.
    fn kind(&self, kind: Range<usize>, extents: Option<&Extents>) -> Result<Rope, WriteError> {
        let mut rope = Rope::default();
        for field in self.original.fields(kind)? {
            // A tensor or a sparse tensor.
            let (number @ (1 | 8), Some(tensor)) = (field.number, field.content()) else {
                rope.copy(field.start..field.end);
                continue;
            };
            let mut inner = Rope::default();
            for field in self.original.fields(tensor)? {
                match (field.number, field.content(), extents) {
                    (2, Some(_), None) => {}
                    (2, Some(shape), Some(extents)) => {
                        inner.message(2, self.shape(shape, extents)?)
                    }
                    _ => inner.copy(field.start..field.end),
                }
            }
            rope.message(number, inner);
        }
        Ok(rope)
    }

    fn shape(&self, shape: Range<usize>, extents: &Extents) -> Result<Rope, WriteError> {
        let mut rope = Rope::default();
        let mut extents = extents.iter();
        for field in self.original.fields(shape)? {
            let (1, Some(dimension)) = (field.number, field.content()) else {
                rope.copy(field.start..field.end);
                continue;
            };
            let Some(extent) = extents.next().copied().flatten() else {
                rope.copy(field.start..field.end);
                continue;
            };
            let mut new = Rope::default();
            for field in self.original.fields(dimension)? {
                match field.number {
                    1 => new.number(1, extent),
                    // A symbol stood for something else.
                    2 => {}
                    _ => new.copy(field.start..field.end),
                }
            }
            rope.message(1, new);
        }
        Ok(rope)
    }

    /// A node whose subgraphs see other shapes than they say; `None` for others.
    pub(super) fn relaxed(&self, item: &Item) -> Result<Option<Rope>, WriteError> {
        let seen = |name: Name| self.extents(name).is_some();
        if item.captures.is_empty() && !item.outputs.iter().any(|name| seen(*name)) {
            return Ok(None);
        }
        let touched = item.reads().chain(item.outputs.iter().copied()).any(seen);
        if !touched || item.fields.is_some() || item.place.is_none_or(|p| p.context != MAIN) {
            return Ok(None);
        }
        let mut subgraphs = false;
        let mut rope = Rope::default();
        for field in self.original.fields(item.message.clone())? {
            let (5, Some(attribute)) = (field.number, field.content()) else {
                rope.copy(field.start..field.end);
                continue;
            };
            if self.original.graphs(attribute.clone())?.is_empty() {
                rope.copy(field.start..field.end);
                continue;
            }
            subgraphs = true;
            let mut message = Rope::default();
            for field in self.original.fields(attribute)? {
                match (field.number, field.content()) {
                    (number @ (6 | 11), Some(graph)) => {
                        message.message(number, self.graph_with(graph, &|_| None, None, true)?);
                    }
                    _ => message.copy(field.start..field.end),
                }
            }
            rope.message(5, message);
        }
        Ok(subgraphs.then_some(rope))
    }

    /// Where functions start that say shapes which no longer hold.
    pub(super) fn stale_functions(&self) -> HashSet<usize> {
        let origins = &self.original.origins;
        let mut stale = HashSet::new();
        for id in self.edits.cuts.keys() {
            let Some(producer) = self.graph.value(*id).producer else { continue };
            let Some(place) = origins.nodes.get(producer.index()) else { continue };
            let mut context = place.context;
            while let Some(body) =
                origins.contexts.get(context as usize).filter(|_| context != MAIN)
            {
                if let (Body::Function, Some(contents)) =
                    (body.body, self.original.contents.get(context as usize))
                {
                    stale.extend(contents.messages.first().map(|m| m.start));
                }
                context = body.node.context;
            }
        }
        stale
    }
}
