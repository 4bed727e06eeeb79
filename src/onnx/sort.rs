//! Topological order. Files should come sorted, but not all do.

use super::decode::{AttributeValue, Body, Function, Graph, Model, Node};
use super::error::{LOST_WEIGHTS, ReadError, Reason, invalid};
use super::names::{NameMap, NameSet, Word};
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Sorts the nodes of the graph, its subgraphs and its functions, producers first and otherwise
/// in file order, and notes what each subgraph captures.
///
/// # Errors
/// For names that are defined twice or never, cycles, and outputs that are missing or doubled.
pub(super) fn sort(model: &mut Model) -> Result<(), ReadError> {
    for function in &mut model.functions {
        let Function { name, inputs, outputs, body, .. } = function;
        let place = format!("function '{name}'");
        unique(inputs.iter(), &place, "inputs")?;
        let given = inputs.iter().map(|i| i.name).collect();
        complete(order(body, given, outputs.iter(), &place)?)?;
    }
    if model.graph.outputs.is_empty() {
        return Err(invalid("the graph has no outputs"));
    }
    let bare = model.graph.constants.is_empty();
    let free = order_graph(&mut model.graph, "the graph")?;
    match free.first() {
        // Newer exporters leave out the inputs too.
        Some((name, user)) if bare && free.len() > 1 => Err(Reason::Unsupported {
            what: format!(
                "{user} uses '{name}', which nothing produces, and no weights are stored"
            ),
            hint: Some(LOST_WEIGHTS.into()),
        }
        .into()),
        _ => complete(free),
    }
}

/// Positions of the nodes that compute what has these names.
type Producers = NameMap<usize>;

/// Names used in a scope and not defined there, with the node that uses them.
type Free = Vec<(Word, String)>;

/// An error unless every name is defined.
fn complete(free: Free) -> Result<(), ReadError> {
    match free.into_iter().next() {
        None => Ok(()),
        Some((name, user)) => Err(invalid(format!("{user} uses '{name}', which nothing produces"))),
    }
}

fn unique<'a>(
    names: impl Iterator<Item = &'a Word>,
    place: &str,
    what: &str,
) -> Result<(), ReadError> {
    let mut seen = NameSet::default();
    for word in names {
        if !seen.insert(word.name) {
            return Err(invalid(format!("'{word}' stands twice among the {what} of {place}")));
        }
    }
    Ok(())
}

fn order_graph(graph: &mut Graph, place: &str) -> Result<Free, ReadError> {
    let Graph { inputs, outputs, constants, body } = graph;
    let inputs = inputs.iter().map(|i| &i.name);
    let outputs = outputs.iter().map(|o| &o.name);
    let constants = constants.iter().map(|c| &c.name);
    unique(inputs.clone(), place, "inputs")?;
    unique(outputs.clone(), place, "outputs")?;
    unique(constants.clone(), place, "initialisers")?;
    // Before IR version 4 initialisers were inputs too.
    let given = inputs.chain(constants).map(|word| word.name).collect();
    order(body, given, outputs, place)
}

fn order<'a>(
    body: &mut Body,
    given: NameSet,
    outputs: impl Iterator<Item = &'a Word>,
    place: &str,
) -> Result<Free, ReadError> {
    let nodes = &mut body.nodes;
    for node in nodes.iter_mut() {
        let is_graph = |(_, a): &(String, AttributeValue)| matches!(a, AttributeValue::Graph(_));
        if !node.arguments.iter().any(is_graph) {
            continue;
        }
        let label = node.label();
        let mut captures = Vec::new();
        for (name, argument) in &mut node.arguments {
            if let AttributeValue::Graph(graph) = argument {
                let free = order_graph(graph, &format!("{name} of {label}"))?;
                captures.extend(free.into_iter().map(|(name, _)| name));
            }
        }
        captures.sort_unstable_by(|a: &Word, b: &Word| a.cmp(b));
        captures.dedup_by_key(|word| word.name);
        node.captures = captures;
    }

    let mut producers = Producers::default();
    producers.reserve(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        for output in node.outputs.iter().filter(|o| !o.is_empty()) {
            let other = producers.insert(output.name, index);
            if other.is_some() || given.contains(&output.name) {
                return Err(invalid(format!("{} defines '{output}' again", node.label())));
            }
        }
    }

    let mut free = Free::new();
    let mut edges: Vec<(usize, usize)> = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        for word in node.uses() {
            match producers.get(&word.name) {
                Some(&producer) => edges.push((producer, index)),
                None if given.contains(&word.name) => {}
                None => free.push((word.clone(), node.label())),
            }
        }
    }
    for output in outputs {
        if !producers.contains_key(&output.name) && !given.contains(&output.name) {
            free.push((output.clone(), format!("the list of outputs of {place}")));
        }
    }
    if edges.iter().all(|(producer, user)| producer < user) {
        return Ok(free);
    }

    let mut users: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut waiting: Vec<usize> = vec![0; nodes.len()];
    for (producer, user) in edges {
        if let (Some(users), Some(waiting)) = (users.get_mut(producer), waiting.get_mut(user)) {
            users.push(user);
            *waiting += 1;
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        waiting.iter().enumerate().filter(|(_, w)| **w == 0).map(|(i, _)| Reverse(i)).collect();
    let mut position: Vec<Option<usize>> = vec![None; nodes.len()];
    let mut next = 0;
    while let Some(Reverse(index)) = ready.pop() {
        if let Some(position) = position.get_mut(index) {
            *position = Some(next);
            next += 1;
        }
        for &user in users.get(index).into_iter().flatten() {
            if let Some(waiting) = waiting.get_mut(user) {
                *waiting -= 1;
                if *waiting == 0 {
                    ready.push(Reverse(user));
                }
            }
        }
    }
    if next < nodes.len() {
        return Err(cycle(nodes, &producers, &position));
    }
    let mut placed: Vec<_> = position.into_iter().zip(std::mem::take(nodes)).collect();
    placed.sort_unstable_by_key(|(position, _)| *position);
    *nodes = placed.into_iter().map(|(_, node)| node).collect();
    Ok(free)
}

/// Names the nodes of one cycle. Going from producer to producer among the nodes that could not
/// be placed must come round.
fn cycle(nodes: &[Node], producers: &Producers, position: &[Option<usize>]) -> ReadError {
    let stuck = |index: &usize| position.get(*index).is_some_and(Option::is_none);
    let mut path: Vec<usize> = (0..nodes.len()).find(stuck).into_iter().collect();
    let mut seen: HashMap<usize, usize> = HashMap::new();
    while let Some(&last) = path.last() {
        if let Some(&start) = seen.get(&last) {
            path.drain(..start);
            break;
        }
        seen.insert(last, path.len() - 1);
        let uses = nodes.get(last).into_iter().flat_map(Node::uses);
        match uses.filter_map(|word| producers.get(&word.name).copied()).find(stuck) {
            Some(producer) => path.push(producer),
            None => break,
        }
    }
    // Edges were followed backwards.
    path.reverse();
    const SHOWN: usize = 8;
    let mut labels: Vec<_> =
        path.iter().take(SHOWN).filter_map(|&i| nodes.get(i)).map(Node::label).collect();
    if path.len() > SHOWN {
        labels.push(format!("{} more", path.len() - SHOWN));
    }
    invalid(format!("the nodes form a cycle: {}", labels.join(" -> ")))
}

impl Node {
    /// Names of the values it needs.
    pub(super) fn uses(&self) -> impl Iterator<Item = &Word> {
        self.inputs.iter().chain(&self.captures).filter(|n| !n.is_empty())
    }
}
