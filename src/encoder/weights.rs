//! Named tensors of a trained model, in a safetensors file that is not trusted.

use ndarray::{Array1, Array2};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;

/// Why the weights of a model can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightError {
    /// The file is no safetensors file.
    #[error("not a safetensors file: {0}")]
    Format(#[from] safetensors::SafeTensorError),
    /// A tensor is not there.
    #[error("tensor '{0}' is missing")]
    Missing(String),
    /// A tensor has another shape than the manifest asks for.
    #[error("tensor '{name}' has shape {found:?}, the manifest asks for {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// The shape that the manifest asks for.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A tensor is not stored as numbers of the type it should have.
    #[error("tensor '{name}' is stored as {found:?}, expected {expected:?}")]
    Type {
        /// Its name.
        name: String,
        /// The type it should have.
        expected: Dtype,
        /// The type it has.
        found: Dtype,
    },
    /// A tensor holds a NaN or an infinity.
    #[error("tensor '{0}' holds a number that is not finite")]
    NotFinite(String),
    /// A tensor holds numbers that make no sense for its purpose.
    #[error("tensor '{name}': {reason}")]
    Invalid {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// A type of numbers that tensors are stored as.
pub trait Element: Copy {
    /// Its name in the file.
    const DTYPE: Dtype;
    /// The numbers that `bytes` hold.
    fn read(bytes: &[u8]) -> Vec<Self>;
    /// Appends the number to `bytes`.
    fn write(self, bytes: &mut Vec<u8>);
    /// Whether it is neither a NaN nor an infinity.
    fn is_finite(self) -> bool;
}

macro_rules! element {
    ($type:ty, $dtype:expr) => {
        impl Element for $type {
            const DTYPE: Dtype = $dtype;
            fn read(bytes: &[u8]) -> Vec<Self> {
                let (words, _) = bytes.as_chunks();
                words.iter().map(|b| Self::from_le_bytes(*b)).collect()
            }
            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn is_finite(self) -> bool {
                <$type>::is_finite(self)
            }
        }
    };
}
element!(f32, Dtype::F32);
element!(f64, Dtype::F64);

/// The tensors of a safetensors file; each is checked as it is taken out.
#[derive(Debug)]
pub struct Weights<'a>(SafeTensors<'a>);

impl<'a> Weights<'a> {
    /// The tensors of a file.
    ///
    /// # Errors
    /// When `bytes` are no safetensors file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WeightError> {
        Ok(Self(SafeTensors::deserialize(bytes)?))
    }

    /// The elements of the tensor `name`, which must have the shape `expected` where that is
    /// not `None`, and its shape.
    fn take<T: Element, const D: usize>(
        &self,
        name: &str,
        expected: [Option<usize>; D],
    ) -> Result<(Vec<T>, [usize; D]), WeightError> {
        let tensor = self.0.tensor(name).map_err(|_| WeightError::Missing(name.into()))?;
        if tensor.dtype() != T::DTYPE {
            let (expected, found) = (T::DTYPE, tensor.dtype());
            return Err(WeightError::Type { name: name.into(), expected, found });
        }
        let shape = <[usize; D]>::try_from(tensor.shape())
            .ok()
            .filter(|s| s.iter().zip(&expected).all(|(s, e)| e.is_none_or(|e| e == *s)))
            .ok_or_else(|| WeightError::Shape {
                name: name.into(),
                expected: expected.iter().map(|e| e.unwrap_or(0)).collect(),
                found: tensor.shape().to_vec(),
            })?;
        let elements = T::read(tensor.data());
        if elements.iter().any(|x| !x.is_finite()) {
            return Err(WeightError::NotFinite(name.into()));
        }
        Ok((elements, shape))
    }

    /// The vector `name` of `length` elements.
    ///
    /// # Errors
    /// When it is missing, of another shape or type, or not finite.
    pub fn vector<T: Element>(&self, name: &str, length: usize) -> Result<Array1<T>, WeightError> {
        Ok(self.take(name, [Some(length)])?.0.into())
    }

    /// The matrix `name` with `columns` columns and `rows` rows, any number of them if `None`.
    ///
    /// # Errors
    /// When it is missing, of another shape or type, or not finite.
    pub fn matrix<T: Element>(
        &self,
        name: &str,
        rows: Option<usize>,
        columns: usize,
    ) -> Result<Array2<T>, WeightError> {
        let (elements, shape) = self.take(name, [rows, Some(columns)])?;
        Array2::from_shape_vec(shape, elements).map_err(|_| WeightError::Shape {
            name: name.into(),
            expected: vec![rows.unwrap_or(0), columns],
            found: shape.to_vec(),
        })
    }
}

/// Tensors for a safetensors file, by name.
#[derive(Debug, Clone, Default)]
pub struct WeightFile(BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl WeightFile {
    /// All tensors of a file.
    ///
    /// # Errors
    /// When `bytes` are no safetensors file.
    pub fn parse(bytes: &[u8]) -> Result<Self, WeightError> {
        let tensor = |(name, view): (String, TensorView)| {
            (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        };
        Ok(Self(SafeTensors::deserialize(bytes)?.tensors().into_iter().map(tensor).collect()))
    }

    /// Adds a tensor, in place of one that had its name.
    pub fn put<'t, T: Element + 't>(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        elements: impl IntoIterator<Item = &'t T>,
    ) {
        let mut bytes = Vec::new();
        elements.into_iter().for_each(|x| x.write(&mut bytes));
        self.0.insert(name.into(), (T::DTYPE, shape.to_vec(), bytes));
    }

    /// The file.
    ///
    /// # Errors
    /// When a tensor has not as many elements as its shape says.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WeightError> {
        let mut views = Vec::with_capacity(self.0.len());
        for (name, (dtype, shape, bytes)) in &self.0 {
            views.push((name, TensorView::new(*dtype, shape.clone(), bytes)?));
        }
        Ok(safetensors::serialize(views, None)?)
    }
}
