//! Messages that are put together from parts of a file, new bytes and elements that are made
//! while writing, so that weights never stand in memory together.

use super::error::{ReadError, WriteError};
use super::stored::Original;
use super::wire::push_varint;
use super::write::bits;
use crate::model_graph::{DataType, Shape, TensorData};
use smallvec::SmallVec;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::rc::Rc;

/// Positions that are kept along each axis of a tensor; `None` where all are.
pub(crate) type Cut = SmallVec<[Option<Rc<[usize]>>; 4]>;

/// The shape of what stays of a tensor of this shape.
pub(crate) fn cut_shape(shape: &[usize], cut: &Cut) -> Shape {
    shape.iter().zip(cut).map(|(&d, kept)| kept.as_ref().map_or(d, |k| k.len())).collect()
}

/// Calls `f` with the start and the length of every run of elements that stay, in row-major order.
pub(crate) fn each_run(shape: &[usize], cut: &Cut, f: &mut impl FnMut(usize, usize)) {
    fn walk(
        shape: &[usize],
        cut: &[Option<Rc<[usize]>>],
        at: usize,
        f: &mut impl FnMut(usize, usize),
    ) {
        let length: usize = shape.iter().product();
        match (shape, cut) {
            ([extent, rest @ ..], [kept, cuts @ ..]) if cut.iter().any(Option::is_some) => {
                let mut step = |i: usize| walk(rest, cuts, at * extent + i, f);
                match kept {
                    Some(kept) => kept.iter().for_each(|&i| step(i)),
                    None => (0..*extent).for_each(step),
                }
            }
            _ => f(at * length, length),
        }
    }
    // An empty tensor may be as long as one likes along its other axes.
    if shape.contains(&0) || cut_shape(shape, cut).contains(&0) {
        return;
    }
    walk(shape, cut, 0, f);
}

/// What stays of known elements.
pub(crate) fn cut_data(data: &TensorData, shape: &[usize], cut: &Cut) -> TensorData {
    fn pick<T: Copy>(all: &[T], shape: &[usize], cut: &Cut) -> Vec<T> {
        let mut kept = Vec::new();
        each_run(shape, cut, &mut |start, length| {
            kept.extend_from_slice(all.get(start..start + length).unwrap_or_default());
        });
        kept
    }
    match data {
        TensorData::Ints(v) => TensorData::Ints(pick(v, shape, cut)),
        TensorData::Floats(v) => TensorData::Floats(pick(v, shape, cut)),
    }
}

/// The elements of a stored tensor of the file, or what stays of them.
#[derive(Debug, Clone)]
pub(super) struct Elements {
    /// The tensor's message.
    pub tensor: Range<usize>,
    pub dtype: DataType,
    pub shape: Shape,
    pub cut: Cut,
}

impl Elements {
    /// Bytes that stay; `None` for types that have no elements of a fixed size.
    fn size(&self) -> Option<u64> {
        let count = cut_shape(&self.shape, &self.cut).iter().map(|&d| d as u64).product::<u64>();
        Some(count.checked_mul(bits(self.dtype)?)?.div_ceil(8))
    }

    fn bytes(&self, original: &mut Original) -> Result<Vec<u8>, WriteError> {
        let bytes = self.all(original)?;
        match Some(bytes.len() as u64) == self.size() {
            true => Ok(bytes),
            // The lengths around it are written already.
            false => Err(io::Error::other("a tensor has another number of elements").into()),
        }
    }

    fn all(&self, original: &mut Original) -> Result<Vec<u8>, WriteError> {
        let elements = self.shape.iter().map(|&d| d as u64).product();
        let lost = |what: String| WriteError::Io(io::Error::other(what));
        let read = |e: ReadError| WriteError::Weights(Box::new(e));
        let all = original.elements(self.tensor.clone(), self.dtype, elements).map_err(read)?;
        let all = all.ok_or_else(|| lost("the elements of a tensor are not there".into()))?;
        if self.cut.iter().all(Option::is_none) {
            return Ok(all);
        }
        let bits = bits(self.dtype).unwrap_or(8) as usize;
        let mut kept = Vec::new();
        if bits >= 8 {
            each_run(&self.shape, &self.cut, &mut |start, length| {
                let run = all.get(start * bits / 8..(start + length) * bits / 8);
                kept.extend_from_slice(run.unwrap_or_default());
            });
            return Ok(kept);
        }
        // Several elements to a byte, the first in the lowest bits.
        let mut count = 0;
        each_run(&self.shape, &self.cut, &mut |start, length| {
            for i in start..start + length {
                let byte = all.get(i * bits / 8).copied().unwrap_or_default();
                let element = (byte >> (i * bits % 8)) & ((1 << bits) - 1);
                if (count * bits).is_multiple_of(8) {
                    kept.push(0);
                }
                if let Some(last) = kept.last_mut() {
                    *last |= element << (count * bits % 8);
                }
                count += 1;
            }
        });
        Ok(kept)
    }
}

#[derive(Debug, Clone)]
enum Piece {
    /// Bytes of the file.
    Copy(Range<usize>),
    /// New bytes: between two copies, mostly a tag and a length.
    Bytes(SmallVec<[u8; 16]>),
    Elements(Rc<Elements>),
    /// Where elements lie that are written to the data file.
    Offset(Rc<Elements>),
}

/// A file beside the model, for elements that do not fit in it.
pub struct DataFile<'a> {
    /// Its name,
    pub name: String,
    /// and where its content goes, which is written to only if there is any.
    pub out: &'a mut dyn Write,
}

/// Where elements may begin in a data file, so that runtimes can map them.
const ALIGNMENT: u64 = 4096;
/// Fewer bytes of elements stay in the model.
const SMALL: u64 = 1024;
/// Field numbers of `onnx.proto`.
const TENSOR_RAW_DATA: u32 = 9;
const TENSOR_EXTERNAL_DATA: u32 = 13;
const TENSOR_DATA_LOCATION: u32 = 14;

/// An entry of external data.
fn entry(key: &str, value: &str) -> Rope {
    let mut rope = Rope::default();
    rope.text(1, key);
    rope.text(2, value);
    rope
}

/// The entry of an offset, of the same length for all: where elements will lie shows only when
/// they are written.
fn offset(offset: u64) -> Vec<u8> {
    let mut rope = Rope::default();
    rope.message(TENSOR_EXTERNAL_DATA, entry("offset", &format!("{offset:020}")));
    rope.pieces
        .into_iter()
        .flat_map(|p| if let Piece::Bytes(b) = p { b } else { SmallVec::new() })
        .collect()
}

/// A message in pieces.
#[derive(Debug, Clone, Default)]
pub(super) struct Rope {
    pieces: Vec<Piece>,
    size: u64,
}

impl Rope {
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends bytes of the file.
    pub fn copy(&mut self, range: Range<usize>) {
        self.size += range.len() as u64;
        match self.pieces.last_mut() {
            Some(Piece::Copy(last)) if last.end == range.start => last.end = range.end,
            _ => self.pieces.push(Piece::Copy(range)),
        }
    }

    /// Appends new bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        match self.pieces.last_mut() {
            Some(Piece::Bytes(last)) => last.extend_from_slice(bytes),
            _ => self.pieces.push(Piece::Bytes(SmallVec::from_slice(bytes))),
        }
    }

    fn varints(&mut self, numbers: [u64; 2]) {
        let mut bytes: SmallVec<[u8; 16]> = SmallVec::new();
        numbers.into_iter().for_each(|number| push_varint(&mut bytes, number));
        self.bytes(&bytes);
    }

    fn start(&mut self, number: u32, length: u64) {
        self.varints([u64::from(number) << 3 | 2, length]);
    }

    /// Appends a field that holds a number.
    pub fn number(&mut self, number: u32, value: u64) {
        self.varints([u64::from(number) << 3, value]);
    }

    /// Appends a field that holds text.
    pub fn text(&mut self, number: u32, text: &str) {
        self.start(number, text.len() as u64);
        self.bytes(text.as_bytes());
    }

    /// Appends a field that holds a message.
    pub fn message(&mut self, number: u32, message: Rope) {
        self.start(number, message.size);
        self.append(message);
    }

    /// Appends the elements of a tensor, or that they lie in the file called `beside`.
    ///
    /// # Errors
    /// When their type has no fixed size.
    pub fn elements(&mut self, elements: Elements, beside: Option<&str>) -> Result<(), WriteError> {
        let size = elements.size().ok_or_else(|| {
            let what = format!("elements of type {:?} cannot be moved", elements.dtype);
            WriteError::Unrepresentable(what)
        })?;
        match beside.filter(|_| size >= SMALL) {
            None => {
                self.start(TENSOR_RAW_DATA, size);
                self.push(Piece::Elements(Rc::new(elements)));
            }
            Some(name) => {
                self.message(TENSOR_EXTERNAL_DATA, entry("location", name));
                self.message(TENSOR_EXTERNAL_DATA, entry("length", &size.to_string()));
                self.number(TENSOR_DATA_LOCATION, 1);
                self.push(Piece::Offset(Rc::new(elements)));
            }
        }
        Ok(())
    }

    fn push(&mut self, piece: Piece) {
        self.size += match &piece {
            Piece::Copy(range) => range.len() as u64,
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Elements(elements) => elements.size().unwrap_or(0),
            Piece::Offset(_) => offset(0).len() as u64,
        };
        self.pieces.push(piece);
    }

    /// Appends another.
    pub fn append(&mut self, other: Rope) {
        for piece in other.pieces {
            match piece {
                Piece::Copy(range) => self.copy(range),
                Piece::Bytes(bytes) => self.bytes(&bytes),
                other => self.push(other),
            }
        }
    }

    /// Writes it, and the elements that lie beside it to `data`.
    ///
    /// # Errors
    /// When elements cannot be read, or writing fails.
    pub fn write(
        &self,
        original: &mut Original,
        out: &mut impl Write,
        data: &mut dyn Write,
    ) -> Result<(), WriteError> {
        let mut end = 0u64;
        for piece in &self.pieces {
            match piece {
                Piece::Copy(range) => original.copy(range.clone(), out)?,
                Piece::Bytes(bytes) => out.write_all(bytes)?,
                Piece::Elements(elements) => out.write_all(&elements.bytes(original)?)?,
                Piece::Offset(elements) => {
                    let bytes = elements.bytes(original)?;
                    let gap = end.next_multiple_of(ALIGNMENT) - end;
                    io::copy(&mut io::repeat(0).take(gap), data)?;
                    data.write_all(&bytes)?;
                    out.write_all(&offset(end + gap))?;
                    end += gap + bytes.len() as u64;
                }
            }
        }
        data.flush()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(shape: &[usize], cut: &[Option<&[usize]>]) -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        let cut: Cut = cut.iter().map(|kept| kept.map(Rc::from)).collect();
        each_run(shape, &cut, &mut |start, length| runs.push((start, length)));
        runs
    }

    #[test]
    fn runs_are_those_that_stay() {
        assert_eq!(runs(&[3, 4], &[Some(&[0, 2]), None]), [(0, 4), (8, 4)]);
        assert_eq!(runs(&[2, 3, 2], &[None, Some(&[1]), None]), [(2, 2), (8, 2)]);
        assert_eq!(runs(&[2, 2], &[None, None]), [(0, 4)]);
    }

    /// It has nothing to go through, however long it is.
    #[test]
    fn what_is_empty_has_no_runs() {
        let long = 1 << 40;
        assert_eq!(runs(&[long, 0, long], &[None, None, Some(&[1])]), []);
        assert_eq!(runs(&[long, 3], &[None, Some(&[])]), []);
    }
}
