//! Changes to inputs: of bytes, of text, and of the trees of ONNX files.

use crate::protobuf::{self, Field, Kind, Value, push_varint, varint};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

type Random = ChaCha8Rng;

/// Integers at which arithmetic or a limit turns.
const INTEGERS: [i64; 28] = [
    0,
    1,
    -1,
    2,
    3,
    5,
    8,
    16,
    63,
    64,
    127,
    128,
    255,
    1000,
    4096,
    65_535,
    65_536,
    i32::MAX as i64,
    i32::MIN as i64,
    u32::MAX as i64,
    1 << 32,
    1 << 40,
    (1 << 40) + 1,
    1 << 48,
    1 << 53,
    i64::MAX - 1,
    i64::MAX,
    i64::MIN,
];
const FLOATS: [f32; 9] = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-40, f32::MAX, f32::INFINITY, f32::NAN];

fn integer(old: u64, random: &mut Random) -> u64 {
    match random.gen_range(0..9) {
        0..=2 => INTEGERS[random.gen_range(0..INTEGERS.len())] as u64,
        3 => old.wrapping_add(1),
        4 => old.wrapping_sub(1),
        5 => old.wrapping_mul(2),
        6 => old / 2,
        7 => random.gen_range(0..10),
        _ => random.r#gen::<u64>() >> random.gen_range(0..64),
    }
}

/// Words, and parts of ONNX files that others can take in.
pub struct Dictionary {
    words: Vec<Vec<u8>>,
    nodes: Vec<Vec<Field>>,
    attributes: Vec<Field>,
    tensors: Vec<Vec<Field>>,
}

impl Dictionary {
    /// Most parts of each sort.
    const MOST: usize = 4000;
    /// Larger parts would crowd out the rest of a file.
    const LARGEST: usize = 1000;

    /// The words of `text`, one a line, and the parts of the ONNX files among `seeds`.
    pub fn new<'a>(text: &str, seeds: impl Iterator<Item = &'a [u8]>) -> Self {
        let word = |line: &str| {
            let line = line.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t");
            line.replace("\\0", "\0").into_bytes()
        };
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut dictionary = Self {
            words: lines.map(word).collect(),
            nodes: Vec::new(),
            attributes: Vec::new(),
            tensors: Vec::new(),
        };
        let mut known = HashSet::new();
        for model in seeds.filter_map(|seed| protobuf::parse(Kind::Model, seed)) {
            dictionary.collect(&model, &mut known);
        }
        dictionary
    }

    fn collect(&mut self, fields: &[Field], known: &mut HashSet<Vec<u8>>) {
        for field in fields {
            let Value::Message(kind, content) = &field.value else { continue };
            self.collect(content, known);
            // The same but for names is the same.
            let named = |f: &&Field| match kind {
                Kind::Node => f.number <= 3,
                Kind::Tensor => f.number == 8,
                _ => false,
            };
            let rest: Vec<Field> = content.iter().filter(|f| !named(f)).cloned().collect();
            let bytes = protobuf::encode(&rest);
            if bytes.len() > Self::LARGEST || !known.insert(bytes) {
                continue;
            }
            match kind {
                Kind::Node if self.nodes.len() < Self::MOST => self.nodes.push(content.clone()),
                Kind::Tensor if self.tensors.len() < Self::MOST => self.tensors.push(rest),
                Kind::Attribute if self.attributes.len() < Self::MOST => {
                    self.attributes.push(field.clone());
                }
                _ => {}
            }
        }
    }

    fn word(&self, random: &mut Random) -> Vec<u8> {
        self.words.choose(random).cloned().unwrap_or_default()
    }
}

/// One to a few changes to a text or other bytes.
pub fn bytes(input: &mut Vec<u8>, other: &[u8], dictionary: &Dictionary, random: &mut Random) {
    for _ in 0..few(random) {
        let at = random.gen_range(0..=input.len());
        let end = (at + random.gen_range(0..16)).min(input.len());
        match random.gen_range(0..10) {
            0 => drop(input.drain(at..end)),
            1 => drop(input.splice(at..at, dictionary.word(random))),
            2 => drop(input.splice(at..end, dictionary.word(random))),
            3 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            4 => {
                let number = integer(0, random) as i64;
                input.splice(at..end, number.to_string().into_bytes());
            }
            5 => input.truncate(at),
            // From here to there, of another input.
            6 if !other.is_empty() => {
                let from = random.gen_range(0..other.len());
                let to = (from + random.gen_range(0..256)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            7 => number_in_text(input, random),
            _ if at < input.len() => match random.gen_range(0..3) {
                0 => input[at] = random.r#gen(),
                1 => input[at] ^= 1 << random.gen_range(0..8),
                _ => input[at] = *b",\"{}[]\n0-.e"[..].choose(random).unwrap_or(&0),
            },
            _ => input.push(random.r#gen()),
        }
    }
}

/// Changes one of the numbers that stand in a text.
fn number_in_text(input: &mut Vec<u8>, random: &mut Random) {
    if input.is_empty() {
        return;
    }
    let from = random.gen_range(0..input.len());
    let Some(start) = input[from..].iter().position(u8::is_ascii_digit).map(|p| from + p) else {
        return;
    };
    let digits = input[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    let old = std::str::from_utf8(&input[start..start + digits]).ok().and_then(|t| t.parse().ok());
    let new = integer(old.unwrap_or(0), random) as i64;
    input.splice(start..start + digits, new.to_string().into_bytes());
}

/// Mostly 1, sometimes several.
fn few(random: &mut Random) -> usize {
    1 + (random.r#gen::<f64>().powi(3) * 7.0) as usize
}

/// One to a few changes to an ONNX file; bytes that are none are changed as bytes.
pub fn onnx(input: &mut Vec<u8>, other: &[u8], dictionary: &Dictionary, random: &mut Random) {
    match protobuf::parse(Kind::Model, input) {
        Some(mut model) if random.gen_ratio(24, 25) => {
            for _ in 0..few(random) {
                Change { dictionary, random }.apply(&mut model);
            }
            *input = protobuf::encode(&model);
        }
        _ => bytes(input, other, dictionary, random),
    }
}

struct Change<'a> {
    dictionary: &'a Dictionary,
    random: &'a mut Random,
}

/// The positions of fields that lead to a message.
type Path = Vec<usize>;

fn messages(fields: &[Field], path: &mut Path, found: &mut Vec<(Path, Kind)>) {
    for (i, field) in fields.iter().enumerate() {
        if let Value::Message(kind, content) = &field.value {
            path.push(i);
            found.push((path.clone(), *kind));
            messages(content, path, found);
            path.pop();
        }
    }
}

fn message_at<'a>(mut fields: &'a mut Vec<Field>, path: &[usize]) -> Option<&'a mut Vec<Field>> {
    for &i in path {
        match &mut fields.get_mut(i)?.value {
            Value::Message(_, content) => fields = content,
            _ => return None,
        }
    }
    Some(fields)
}

/// Names of the values of all graphs.
fn names(fields: &[Field], out: &mut Vec<Vec<u8>>) {
    for field in fields {
        let Value::Message(kind, content) = &field.value else { continue };
        let number = match kind {
            Kind::Node => 2,
            Kind::ValueInfo => 1,
            Kind::Tensor => 8,
            _ => 0,
        };
        let named = content.iter().filter(|f| f.number == number);
        out.extend(named.filter_map(|f| match &f.value {
            Value::Bytes(name) => Some(name.clone()),
            _ => None,
        }));
        names(content, out);
    }
}

impl Change<'_> {
    fn below(&mut self, end: usize) -> usize {
        self.random.gen_range(0..end.max(1))
    }

    fn apply(&mut self, model: &mut Vec<Field>) {
        let mut all = vec![(Path::new(), Kind::Model)];
        messages(model, &mut Path::new(), &mut all);
        let mut values = Vec::new();
        names(model, &mut values);
        // A kind of message first: most are dimensions, where little can be broken.
        let kinds: &[Kind] = match self.below(20) {
            0..=5 => &[Kind::Node],
            6..=9 => &[Kind::Attribute],
            10..=12 => &[Kind::Tensor],
            13 => &[Kind::Graph],
            14 => &[Kind::Dimension, Kind::Shape, Kind::TensorType],
            15 => &[Kind::ValueInfo, Kind::Type],
            16 => &[Kind::Model, Kind::Opset, Kind::Function],
            _ => &[],
        };
        let fits = |(_, kind): &&(Path, Kind)| kinds.is_empty() || kinds.contains(kind);
        let candidates: Vec<&(Path, Kind)> = all.iter().filter(fits).collect();
        let Some(&(path, kind)) = candidates.choose(self.random) else { return };
        // A message like it, from anywhere in the file.
        let alike: Vec<&(Path, Kind)> = all.iter().filter(|(_, k)| k == kind).collect();
        let donor = alike.choose(self.random).and_then(|(path, _)| message_at(model, path));
        let donor = donor.cloned().unwrap_or_default();
        let Some(fields) = message_at(model, path) else { return };
        let special = self.random.gen_ratio(2, 3);
        match kind {
            Kind::Node if special => self.node(fields, &values),
            Kind::Graph if special => self.graph(fields, &values),
            Kind::Tensor if special => self.tensor(fields),
            Kind::Attribute if special => self.attribute(fields),
            _ => self.fields(fields, donor, &values),
        }
    }

    /// Another operator, other operands or other attributes.
    fn node(&mut self, fields: &mut Vec<Field>, values: &[Vec<u8>]) {
        let value = values.choose(self.random).cloned().unwrap_or_default();
        let inputs: Vec<usize> = (0..fields.len()).filter(|&i| fields[i].number == 1).collect();
        let input = inputs.choose(self.random).copied();
        match (self.below(6), input) {
            (0, _) => {
                let word = self.dictionary.word(self.random);
                fields.retain(|f| f.number != 4);
                fields.push(Field::bytes(4, word));
            }
            (1, Some(i)) => fields[i] = Field::bytes(1, value),
            (2, Some(i)) => fields[i] = Field::bytes(1, ""),
            (3, _) => {
                let at = self.below(fields.len() + 1);
                fields.insert(at, Field::bytes(1, value));
            }
            (4, _) => fields.extend(self.dictionary.attributes.choose(self.random).cloned()),
            _ => {
                // What another node does, with these inputs and outputs.
                let Some(other) = self.dictionary.nodes.choose(self.random) else { return };
                fields.retain(|f| f.number <= 3);
                fields.extend(other.iter().filter(|f| f.number > 3).cloned());
            }
        }
    }

    /// One node more, which another one reads.
    fn graph(&mut self, fields: &mut Vec<Field>, values: &[Vec<u8>]) {
        let Some(mut node) = self.dictionary.nodes.choose(self.random).cloned() else { return };
        let name = format!("new{}", self.below(1 << 20)).into_bytes();
        let mut outputs = 0;
        for field in &mut node {
            let new = match field.number {
                1 => values.choose(self.random).cloned().unwrap_or_default(),
                2 => {
                    outputs += 1;
                    let number = if outputs > 1 { outputs.to_string() } else { String::new() };
                    [name.clone(), number.into_bytes()].concat()
                }
                _ => continue,
            };
            field.value = Value::Bytes(new);
        }
        let readers = fields.iter_mut().filter_map(|f| match &mut f.value {
            Value::Message(Kind::Node, content) => Some(content),
            _ => None,
        });
        let mut operands: Vec<&mut Field> = readers.flatten().filter(|f| f.number == 1).collect();
        if let Some(operand) = operands.choose_mut(self.random) {
            operand.value = Value::Bytes(name);
        }
        fields.push(Field { number: 1, value: Value::Message(Kind::Node, node) });
    }

    /// Other elements, dimensions or types.
    fn tensor(&mut self, fields: &mut Vec<Field>) {
        match self.below(4) {
            0 => {
                let Some(other) = self.dictionary.tensors.choose(self.random) else { return };
                fields.retain(|f| f.number == 8);
                fields.extend(other.iter().cloned());
            }
            1 => {
                let raw = fields.iter_mut().find(|f| f.number == 9);
                let Some(Field { value: Value::Bytes(raw), .. }) = raw else { return };
                if raw.len() % 8 == 0 && !raw.is_empty() {
                    let at = self.below(raw.len() / 8) * 8;
                    let new = integer(0, self.random).to_le_bytes();
                    raw[at..at + 8].copy_from_slice(&new);
                } else if raw.len() % 4 == 0 && !raw.is_empty() {
                    let at = self.below(raw.len() / 4) * 4;
                    let new = FLOATS[self.below(FLOATS.len())].to_le_bytes();
                    raw[at..at + 4].copy_from_slice(&new);
                }
            }
            2 => {
                let mut dims: Vec<&mut Field> =
                    fields.iter_mut().filter(|f| f.number == 1).collect();
                match dims.choose_mut(self.random) {
                    Some(Field { value: Value::Varint(dim), .. }) => {
                        *dim = integer(*dim, self.random);
                    }
                    _ => fields.push(Field::varint(1, integer(1, self.random))),
                }
            }
            _ => {
                fields.retain(|f| f.number != 2);
                let dtype = self.below(27) as u64;
                fields.push(Field::varint(2, dtype));
            }
        }
    }

    /// Other numbers, words or names.
    fn attribute(&mut self, fields: &mut Vec<Field>) {
        match self.below(6) {
            0 => {
                let Some(other) = self.dictionary.attributes.choose(self.random) else { return };
                let Value::Message(_, other) = &other.value else { return };
                fields.retain(|f| f.number != 1);
                fields.extend(other.iter().filter(|f| f.number == 1).cloned());
            }
            1 => {
                fields.retain(|f| f.number != 4);
                let word = self.dictionary.word(self.random);
                fields.push(Field::bytes(4, word));
            }
            2 => {
                fields.retain(|f| f.number != 2);
                let value = Value::Fixed32(FLOATS[self.below(FLOATS.len())].to_le_bytes());
                fields.push(Field { number: 2, value });
            }
            _ => {
                let mut integers: Vec<&mut Field> =
                    fields.iter_mut().filter(|f| matches!(f.number, 3 | 8)).collect();
                match integers.choose_mut(self.random).map(|f| &mut f.value) {
                    Some(Value::Varint(value)) => *value = integer(*value, self.random),
                    Some(Value::Bytes(packed)) => self.packed(packed),
                    _ => fields.push(Field::varint(8, integer(1, self.random))),
                }
            }
        }
    }

    /// One number of a packed list more, less or another.
    fn packed(&mut self, list: &mut Vec<u8>) {
        let mut numbers = Vec::new();
        let mut rest = list.as_slice();
        while let Some((number, after)) = varint(rest) {
            numbers.push(number);
            rest = after;
        }
        let at = self.below(numbers.len());
        match (numbers.get(at).copied(), self.below(4)) {
            (Some(number), 0) => numbers.insert(at, number),
            (Some(_), 1) => drop(numbers.remove(at)),
            (Some(number), _) => numbers[at] = integer(number, self.random),
            (None, _) => numbers.push(integer(1, self.random)),
        }
        list.clear();
        numbers.into_iter().for_each(|number| push_varint(list, number));
    }

    /// What can be done to the fields of any message.
    fn fields(&mut self, fields: &mut Vec<Field>, donor: Vec<Field>, values: &[Vec<u8>]) {
        let (at, other) = (self.below(fields.len()), self.below(fields.len()));
        let number = 1 + self.below(26) as u32;
        if fields.is_empty() {
            return fields.push(Field::varint(number, integer(0, self.random)));
        }
        match self.below(9) {
            0 => drop(fields.remove(at)),
            1 => fields.insert(other, fields[at].clone()),
            2 => fields.swap(at, other),
            3 => fields[at].number = number,
            4 => fields.extend(donor.choose(self.random).cloned()),
            5 => *fields = donor,
            6 => fields.push(Field::varint(number, integer(0, self.random))),
            7 => {
                let bytes = (0..self.below(20)).map(|_| self.random.r#gen()).collect();
                fields[at].value = Value::Bytes(bytes);
            }
            _ => match &mut fields[at].value {
                Value::Varint(value) => *value = integer(*value, self.random),
                Value::Fixed32(value) => *value = FLOATS[self.below(FLOATS.len())].to_le_bytes(),
                Value::Fixed64(value) => *value = integer(0, self.random).to_le_bytes(),
                Value::Bytes(bytes) if self.random.r#gen() => {
                    *bytes = values.choose(self.random).cloned().unwrap_or_default();
                }
                Value::Bytes(bytes) => bytes.truncate(self.random.gen_range(0..=bytes.len())),
                Value::Message(..) => drop(fields.remove(at)),
            },
        }
    }
}
