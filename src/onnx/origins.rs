//! Where in the file each part of a network came from.
//!
//! Importing flattens a file: calls of local functions and branches of If become nodes like
//! others. Each such body that was inlined is a *context*; nodes go by their position in it.

use crate::model_graph::ValueId;
use hashbrown::HashMap;

/// Index of a context; 0 is the graph of the model.
pub(super) type ContextId = u32;

/// The graph of the model.
pub(super) const MAIN: ContextId = 0;

/// A node of the file: its context, and its position among the nodes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub context: ContextId,
    pub index: u32,
}

/// Where a stored tensor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    /// An initialiser of a graph, by position; sparse ones come after the others.
    Initialiser(Place),
    /// The tensor of a Constant node.
    Constant(Place),
}

impl Slot {
    pub fn context(self) -> ContextId {
        match self {
            Self::Initialiser(place) | Self::Constant(place) => place.context,
        }
    }
}

/// What a context is the body of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// The whole model.
    Model,
    /// The function that the node calls.
    Function,
    /// The branch that an If takes, by the name of the attribute.
    Branch(&'static str),
}

/// A body that was inlined.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub body: Body,
    /// The call or the If.
    pub node: Place,
    /// What decided an If.
    pub condition: Option<ValueId>,
}

/// Where everything in a network came from.
#[derive(Debug, Clone)]
pub(super) struct Origins {
    /// The context that importing is in.
    pub current: ContextId,
    pub contexts: Vec<Context>,
    /// The context that was inlined for a call or an If.
    pub inlined: HashMap<Place, ContextId>,
    /// Of each node of the network.
    pub nodes: Vec<Place>,
    /// Of stored tensors; those that importing made up have none.
    pub stored: HashMap<ValueId, Slot>,
    /// The outputs of what became no node: calls, Ifs and elements of sequences.
    pub results: HashMap<Place, Vec<Option<ValueId>>>,
    /// A loop that was written out.
    pub written_out: Option<String>,
}

impl Origins {
    pub fn new() -> Self {
        let node = Place { context: MAIN, index: 0 };
        Self {
            current: MAIN,
            contexts: vec![Context { body: Body::Model, node, condition: None }],
            inlined: HashMap::new(),
            nodes: Vec::new(),
            stored: HashMap::new(),
            results: HashMap::new(),
            written_out: None,
        }
    }

    /// Position `index` in the present context.
    pub fn here(&self, index: u32) -> Place {
        Place { context: self.current, index }
    }

    /// Begins with the body that is inlined for the node at `index` and returns the context to go
    /// back to.
    pub fn enter(&mut self, index: u32, body: Body, condition: Option<ValueId>) -> ContextId {
        let node = self.here(index);
        let outer = self.current;
        self.current = self.contexts.len() as ContextId;
        self.contexts.push(Context { body, node, condition });
        self.inlined.insert(node, self.current);
        outer
    }
}
