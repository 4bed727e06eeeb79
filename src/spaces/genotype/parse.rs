//! Reading genotypes in all the ways that people write them.

use super::{Cell, DEFAULT_CHANNELS, DEFAULT_LAYERS, Edge, Genotype, INPUTS, MAX_NODES, Operation};
use crate::spaces::choices::named;

/// Deepest nesting of brackets.
const MAX_DEPTH: usize = 8;

/// NAS-Bench-301 trained networks of this size.
const NASBENCH301_LAYERS: usize = 8;
const NASBENCH301_CHANNELS: usize = 32;
/// Nodes of a cell in NAS-Bench-301.
const NASBENCH301_NODES: usize = 4;

/// A Python or JSON value.
#[derive(Debug)]
enum Literal {
    Integer(i64),
    Text(String),
    List(Vec<Literal>),
    Fields(Fields),
    /// A number with a fraction, or a word such as `None` or `true`.
    Other,
}

/// The members of a JSON object, a dictionary, or the arguments of `Genotype`.
type Fields = Vec<(String, Literal)>;

/// The arguments of `Genotype` in their order, and those that this project adds.
const ARGUMENTS: [&str; 6] =
    ["normal", "normal_concat", "reduce", "reduce_concat", "layers", "channels"];

impl Genotype {
    /// Reads any of the forms in the [module documentation](super).
    ///
    /// # Errors
    /// A sentence that says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, position: 0 };
        let literal = reader.literal(0)?;
        reader.skip_space();
        if reader.position < text.len() {
            return Err(reader.expected("the end"));
        }
        let Literal::Fields(fields) = literal else {
            return Err("it is neither Genotype(…) nor a JSON object".to_string());
        };
        if fields.iter().any(|(key, _)| key.contains("inputs_node_")) {
            return configuration(&fields);
        }
        let inner = match find(&fields, "genotype") {
            Some(Literal::Fields(inner)) => inner,
            Some(_) => return Err("genotype: it is not an object".to_string()),
            None => &fields,
        };
        let size = |names: [&str; 2], default: usize| {
            let named = names.iter().find_map(|n| Some((n, find(&fields, n)?)));
            match named.or_else(|| names.iter().find_map(|n| Some((n, find(inner, n)?)))) {
                Some((name, value)) => integer(value).map_err(|e| format!("{name}: {e}")),
                None => Ok(default),
            }
        };
        let layers = size(["layers", "depth"], DEFAULT_LAYERS)?;
        let channels = size(["channels", "width"], DEFAULT_CHANNELS)?;
        Self::new(cell(inner, "normal")?, cell(inner, "reduce")?, layers, channels)
    }
}

fn find<'a>(fields: &'a Fields, key: &str) -> Option<&'a Literal> {
    fields.iter().find(|(k, _)| k == key).map(|(_, value)| value)
}

fn integer(literal: &Literal) -> Result<usize, String> {
    match literal {
        Literal::Integer(i) => usize::try_from(*i).map_err(|_| format!("{i} is negative")),
        _ => Err("it is not a whole number".to_string()),
    }
}

fn operation(name: &str) -> Result<Operation, String> {
    named(name, &Operation::ALL, Operation::name).map_err(|reason| format!("operation {reason}"))
}

/// The cell whose nodes and output stand under `name` and `name_concat`.
fn cell(fields: &Fields, name: &str) -> Result<Cell, String> {
    let list = |name: &str| match find(fields, name) {
        Some(Literal::List(list)) => Ok(list),
        Some(_) => Err(format!("{name}: it is not a list")),
        None => Err(format!("{name} is missing")),
    };
    let mut edges: Vec<Edge> = Vec::new();
    for (i, item) in list(name)?.iter().enumerate() {
        let add = |item: &Literal, edges: &mut Vec<Edge>| {
            edges.push(edge(item).map_err(|e| format!("{name}[{i}]: {e}"))?);
            Ok::<(), String>(())
        };
        match item {
            // A node as a pair of pairs.
            Literal::List(pair) if matches!(pair[..], [Literal::List(_), Literal::List(_)]) => {
                pair.iter().try_for_each(|item| add(item, &mut edges))?;
            }
            _ => add(item, &mut edges)?,
        }
    }
    let (pairs, []) = edges.as_chunks::<2>() else {
        return Err(format!("{name}: {} operations are not two for each node", edges.len()));
    };
    let concat_name = format!("{name}_concat");
    let concat: Result<Vec<usize>, String> = list(&concat_name)?.iter().map(integer).collect();
    let concat = concat.map_err(|e| format!("{concat_name}: {e}"))?;
    Cell::new(pairs.to_vec(), concat).map_err(|e| format!("{name}: {e}"))
}

/// An operation and the input that it is applied to.
fn edge(literal: &Literal) -> Result<Edge, String> {
    match literal {
        Literal::List(pair) => match pair.as_slice() {
            [Literal::Text(name), from] => {
                Ok(Edge { operation: operation(name)?, from: integer(from)? })
            }
            _ => Err("it is not a pair of an operation and a number".to_string()),
        },
        _ => Err("it is not a pair of an operation and a number".to_string()),
    }
}

/// A configuration of NAS-Bench-301's ConfigSpace. Edges are numbered by node and, within a node,
/// by where they come from; only those chosen by `inputs_node_*` count.
fn configuration(fields: &Fields) -> Result<Genotype, String> {
    // Prefixes differ: `NetworkSelectorDatasetInfo:darts:`, `…_COLON_darts_COLON_`, or none.
    let find = |name: &str| {
        let matches = |key: &str| {
            key.strip_suffix(name).is_some_and(|p| p.is_empty() || p.ends_with([':', '_']))
        };
        fields.iter().find(|(key, _)| matches(key)).map(|(_, value)| value)
    };
    let text = |name: &str| match find(name) {
        Some(Literal::Text(text)) => Ok(text.as_str()),
        Some(_) => Err(format!("{name}: it is not a string")),
        None => Err(format!("{name} is missing")),
    };
    let cell = |cell: &str| {
        let mut first_edge = 0;
        let mut nodes = Vec::with_capacity(NASBENCH301_NODES);
        for node in INPUTS..INPUTS + NASBENCH301_NODES {
            let name = format!("inputs_node_{cell}_{node}");
            // The first node has no choice.
            let inputs = if node == INPUTS { "0_1" } else { text(&name)? };
            let inputs = inputs.split_once('_').and_then(|(a, b)| {
                let number = |s: &str| s.parse::<usize>().ok().filter(|&from| from < node);
                Some([number(a)?, number(b)?])
            });
            let Some(inputs) = inputs else {
                return Err(format!("{name}: it is not two numbers below {node}, as in '0_1'"));
            };
            let edge = |from: usize| {
                let name = format!("edge_{cell}_{}", first_edge + from);
                let operation = operation(text(&name)?).map_err(|e| format!("{name}: {e}"))?;
                Ok::<Edge, String>(Edge { operation, from })
            };
            nodes.push([edge(inputs[0])?, edge(inputs[1])?]);
            first_edge += node;
        }
        Cell::new(nodes, (INPUTS..INPUTS + NASBENCH301_NODES).collect())
    };
    let size = |name: &str, default: usize| match find(name) {
        Some(value) => integer(value).map_err(|e| format!("{name}: {e}")),
        None => Ok(default),
    };
    let layers = size("layers", NASBENCH301_LAYERS)?;
    let channels = size("init_channels", NASBENCH301_CHANNELS)?;
    Genotype::new(cell("normal")?, cell("reduce")?, layers, channels)
}

/// Reads Python's and JSON's literals.
struct Reader<'a> {
    text: &'a str,
    /// In bytes.
    position: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_space(&mut self) {
        self.position = self.text.len() - self.rest().trim_start().len();
    }

    /// Moves past `c`, if it comes next.
    fn accept(&mut self, c: char) -> bool {
        self.skip_space();
        let found = self.peek() == Some(c);
        if found {
            self.position += c.len_utf8();
        }
        found
    }

    fn expected(&self, what: &str) -> String {
        let place = self.text.get(..self.position).unwrap_or_default().chars().count() + 1;
        match self.peek() {
            Some(c) => format!("character {place}: expected {what} instead of '{c}'"),
            None => format!("character {place}: expected {what}, but the text ends"),
        }
    }

    /// The characters that follow as long as `is_part` holds.
    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &str {
        let rest = self.text.get(self.position..).unwrap_or_default();
        let part = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        self.position += part.len();
        part
    }

    fn literal(&mut self, depth: usize) -> Result<Literal, String> {
        self.skip_space();
        if depth > MAX_DEPTH {
            return Err(self.expected(&format!("at most {MAX_DEPTH} brackets inside each other")));
        }
        match self.peek() {
            Some('[') => self.list('[', ']', depth),
            Some('(') => self.list('(', ')', depth),
            Some('{') => self.object(depth),
            Some('"' | '\'') => Ok(Literal::Text(self.string()?)),
            Some(c) if c.is_ascii_digit() || c == '-' => {
                let digits = self.take_while(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
                Ok(digits.parse().map_or(Literal::Other, Literal::Integer))
            }
            Some(c) if c.is_ascii_alphabetic() => self.word(depth),
            _ => Err(self.expected("a value")),
        }
    }

    /// Calls `item` for each item up to `close`; a comma may stand before it.
    fn items(
        &mut self,
        [open, close]: [char; 2],
        mut item: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        if !self.accept(open) {
            return Err(self.expected(&format!("'{open}'")));
        }
        loop {
            if self.accept(close) {
                return Ok(());
            }
            item(self)?;
            if !self.accept(',') && self.peek() != Some(close) {
                return Err(self.expected(&format!("',' or '{close}'")));
            }
        }
    }

    fn list(&mut self, open: char, close: char, depth: usize) -> Result<Literal, String> {
        let mut list = Vec::new();
        self.items([open, close], |reader| {
            list.push(reader.literal(depth + 1)?);
            Ok(())
        })?;
        Ok(Literal::List(list))
    }

    fn object(&mut self, depth: usize) -> Result<Literal, String> {
        let mut fields = Vec::new();
        self.items(['{', '}'], |reader| {
            reader.skip_space();
            let key = reader.string()?;
            if !reader.accept(':') {
                return Err(reader.expected("':'"));
            }
            fields.push((key, reader.literal(depth + 1)?));
            Ok(())
        })?;
        Ok(Literal::Fields(fields))
    }

    fn string(&mut self) -> Result<String, String> {
        let quote = match self.peek() {
            Some(quote @ ('"' | '\'')) => quote,
            _ => return Err(self.expected("a quoted string")),
        };
        self.accept(quote);
        let string = self.take_while(|c| c != quote).to_string();
        // `accept` would skip space that belongs to what follows a missing quote.
        if self.peek() != Some(quote) {
            return Err(self.expected("a closing quote"));
        }
        self.accept(quote);
        Ok(string)
    }

    /// A constant, `range(…)` or `Genotype(…)`.
    fn word(&mut self, depth: usize) -> Result<Literal, String> {
        let start = self.position;
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || "_.".contains(c)).to_string();
        self.skip_space();
        if self.peek() != Some('(') {
            return match word.as_str() {
                "None" | "True" | "False" | "null" | "true" | "false" | "NaN" => Ok(Literal::Other),
                _ => {
                    self.position = start;
                    Err(self.expected("a value"))
                }
            };
        }
        // Both names may stand behind that of a module.
        match word.rsplit('.').next() {
            Some("range") => {
                let Literal::List(bounds) = self.list('(', ')', depth)? else {
                    return Err(self.expected("bounds"));
                };
                let limit = (INPUTS + MAX_NODES) as i64;
                let (from, to) = match bounds[..] {
                    [Literal::Integer(to)] => (0, to),
                    [Literal::Integer(from), Literal::Integer(to)] => (from, to),
                    _ => return Err(format!("{word} needs one or two whole numbers")),
                };
                if from < 0 || to > limit {
                    return Err(format!("range({from}, {to}) is not within 0 and {limit}"));
                }
                Ok(Literal::List((from..to).map(Literal::Integer).collect()))
            }
            Some("Genotype") => self.arguments(depth),
            _ => {
                self.position = start;
                Err(self.expected("Genotype(…)"))
            }
        }
    }

    /// The arguments of `Genotype`, by name or in order.
    fn arguments(&mut self, depth: usize) -> Result<Literal, String> {
        let mut fields: Fields = Vec::new();
        self.items(['(', ')'], |reader| {
            reader.skip_space();
            let key = match reader.peek() {
                Some(c) if c.is_ascii_alphabetic() && !reader.rest().starts_with("range") => {
                    let start = reader.position;
                    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let name = reader.take_while(is_part).to_string();
                    if !ARGUMENTS.contains(&name.as_str()) {
                        reader.position = start;
                        return Err(reader.expected(&format!("one of {}", ARGUMENTS.join(", "))));
                    }
                    if !reader.accept('=') {
                        return Err(reader.expected("'='"));
                    }
                    name
                }
                _ => match ARGUMENTS.get(fields.len()) {
                    Some(name) => (*name).to_string(),
                    None => return Err(reader.expected("no more arguments")),
                },
            };
            if find(&fields, &key).is_some() {
                return Err(format!("{key} is given twice"));
            }
            fields.push((key, reader.literal(depth + 1)?));
            Ok(())
        })?;
        Ok(Literal::Fields(fields))
    }
}
