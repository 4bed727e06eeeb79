//! Named tensors of a trained model, read from a safetensors file that is not trusted.

use ndarray::{Array1, Array2};
use safetensors::{Dtype, SafeTensors};

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
    /// A tensor is not stored as 32-bit floating-point numbers.
    #[error("tensor '{name}' is stored as {found:?}, expected F32")]
    Type {
        /// Its name.
        name: String,
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
    fn take<const D: usize>(
        &self,
        name: &str,
        expected: [Option<usize>; D],
    ) -> Result<(Vec<f32>, [usize; D]), WeightError> {
        let tensor = self.0.tensor(name).map_err(|_| WeightError::Missing(name.into()))?;
        if tensor.dtype() != Dtype::F32 {
            return Err(WeightError::Type { name: name.into(), found: tensor.dtype() });
        }
        let shape = <[usize; D]>::try_from(tensor.shape())
            .ok()
            .filter(|s| s.iter().zip(&expected).all(|(s, e)| e.is_none_or(|e| e == *s)))
            .ok_or_else(|| WeightError::Shape {
                name: name.into(),
                expected: expected.iter().map(|e| e.unwrap_or(0)).collect(),
                found: tensor.shape().to_vec(),
            })?;
        let (words, _) = tensor.data().as_chunks::<4>();
        let elements: Vec<f32> = words.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if elements.iter().any(|x| !x.is_finite()) {
            return Err(WeightError::NotFinite(name.into()));
        }
        Ok((elements, shape))
    }

    /// The vector `name` of `length` elements.
    ///
    /// # Errors
    /// When it is missing, of another shape or type, or not finite.
    pub fn vector(&self, name: &str, length: usize) -> Result<Array1<f32>, WeightError> {
        Ok(self.take(name, [Some(length)])?.0.into())
    }

    /// The matrix `name` with `columns` columns and `rows` rows, any number of them if `None`.
    ///
    /// # Errors
    /// When it is missing, of another shape or type, or not finite.
    pub fn matrix(
        &self,
        name: &str,
        rows: Option<usize>,
        columns: usize,
    ) -> Result<Array2<f32>, WeightError> {
        let (elements, shape) = self.take(name, [rows, Some(columns)])?;
        Array2::from_shape_vec(shape, elements).map_err(|_| WeightError::Shape {
            name: name.into(),
            expected: vec![rows.unwrap_or(0), columns],
            found: shape.to_vec(),
        })
    }
}
