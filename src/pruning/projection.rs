//! One step of half-space projected gradient descent.
//!
//! Variables are parted into *units*: all that makes up one channel, or one segment, in however many tensors. With a
//! step size α, a direction d (the gradient, or its running mean) and x_u the variables of unit u:
//!
//! - units that stay, and variables of no unit: x̃ = x − α d;
//! - units that are to go: x̃_u = x_u − α (d_u + λ_u x_u/‖x_u‖), and zero where that leaves the half-space
//!   {x̃ : ⟨x̃_u, x_u⟩ ≥ ε ‖x_u‖²}; once zero, always zero.
//!
//! This is HSPG (Chen et al. 2021, arXiv 2107.07467) as OTOv3 has it. The pull λ_u is ours: at least λ; above
//! 1.1 times λ_lo = −⟨x_u, d_u⟩/‖x_u‖, at which the norm stops to grow, where the loss pulls away from zero;
//! and ‖x_u‖ over the sum of the step sizes that are left more, which makes every unit zero by the deadline.

use tch::{Kind, TchError, Tensor};

/// Where the units lie along one axis of a tensor.
#[derive(Debug)]
pub(super) struct Slice {
    /// Which of the tensors.
    pub tensor: usize,
    pub axis: i64,
    /// The unit of each position; the number of units for positions of none.
    pub units: Tensor,
}

/// λ, the factor above λ_lo, and ε.
const PULL: f64 = 1e-3;
const ABOVE: f64 = 1.1;
const HALF_SPACE: f64 = 0.0;

/// The slices of tensors that belong to units.
#[derive(Debug)]
pub(super) struct Units {
    pub count: i64,
    /// The group of each.
    pub groups: Tensor,
    pub slices: Vec<Slice>,
}

impl Units {
    /// For each unit the sum of products of its elements in two lists of tensors.
    pub fn product(&self, a: &[Tensor], b: &[Tensor]) -> Result<Tensor, TchError> {
        let device = a.first().map_or(tch::Device::Cpu, Tensor::device);
        let mut sums = Tensor::f_zeros([self.count + 1], (Kind::Float, device))?;
        for slice in &self.slices {
            let product = a[slice.tensor].f_mul(&b[slice.tensor])?.f_detach()?;
            let rows =
                product.f_movedim_int(slice.axis, 0)?.f_reshape([slice.units.size1()?, -1])?;
            let rows = rows.f_sum_dim_intlist([1i64].as_slice(), false, None)?;
            sums = sums.f_index_add(0, &slice.units, &rows)?;
        }
        sums.f_narrow(0, 0, self.count)
    }

    /// How many elements each unit has.
    fn elements(&self, tensors: &[Tensor]) -> Result<Tensor, TchError> {
        let ones: Vec<Tensor> =
            tensors.iter().map(Tensor::f_ones_like).collect::<Result<_, _>>()?;
        self.product(&ones, &ones)
    }

    /// One number for each element of a tensor that lies in a slice: its unit's, or `other`.
    fn spread(
        &self,
        of_unit: &Tensor,
        other: f64,
        slice: &Slice,
        rank: usize,
    ) -> Result<Tensor, TchError> {
        let last = Tensor::f_full([1], other, (Kind::Float, of_unit.device()))?;
        let all = Tensor::f_cat(&[of_unit.f_to_kind(Kind::Float)?, last], 0)?;
        let mut shape = vec![1; rank];
        shape[slice.axis as usize] = slice.units.size1()?;
        all.f_index_select(0, &slice.units)?.f_reshape(shape)
    }

    /// Makes the units of which `which` is true zero.
    pub fn clear(&self, tensors: &[Tensor], which: &Tensor) -> Result<(), TchError> {
        let stays = which.f_logical_not()?;
        for slice in &self.slices {
            let tensor = &tensors[slice.tensor];
            let factor = self.spread(&stays, 1.0, slice, tensor.dim())?;
            let left = tensor.f_detach()?.f_mul(&factor)?;
            tensor.f_detach()?.f_copy_(&left)?;
        }
        Ok(())
    }

    /// The step. `chosen` are the units that are to go, `zero` those that have gone, both `[units]` of
    /// truth values; `left` is the sum of this step's size and all that come before the deadline.
    pub fn step(
        &self,
        tensors: &[Tensor],
        directions: &[Tensor],
        chosen: &Tensor,
        zero: &mut Tensor,
        rate: f64,
        left: f64,
    ) -> Result<(), TchError> {
        let squares = self.product(tensors, tensors)?;
        let products = self.product(tensors, directions)?;
        let norms = squares.f_sqrt()?;
        let safe = norms.f_clamp_min(1e-30)?;
        let lowest = products.f_neg()?.f_div(&safe)?.f_mul_scalar(ABOVE)?;
        let pull = lowest.f_clamp_min(PULL)?.f_add(&norms.f_div_scalar(left.max(rate))?)?;
        // ⟨x̃, x⟩.
        let inner = squares
            .f_sub(&products.f_mul_scalar(rate)?)?
            .f_sub(&pull.f_mul(&norms)?.f_mul_scalar(rate)?)?;
        let outside = inner.f_le_tensor(&squares.f_mul_scalar(HALF_SPACE)?)?;
        *zero = zero.f_logical_or(&chosen.f_logical_and(&outside)?)?;
        let staying = chosen.f_logical_not()?;
        // What is zero already has no length to divide by.
        let done = staying.f_logical_or(zero)?;
        let shrink = pull.f_mul_scalar(rate)?.f_div(&safe)?.f_masked_fill(&done, 0.0)?;

        let mut shrunk: Vec<Option<Tensor>> = tensors.iter().map(|_| None).collect();
        for slice in &self.slices {
            let rank = tensors[slice.tensor].dim();
            let factor = self.spread(&shrink, 0.0, slice, rank)?.f_neg()?.f_add_scalar(1.0)?;
            let slot = &mut shrunk[slice.tensor];
            *slot = Some(match slot.take() {
                Some(before) => before.f_mul(&factor)?,
                None => factor,
            });
        }
        for ((tensor, direction), factor) in tensors.iter().zip(directions).zip(&shrunk) {
            let scaled = match factor {
                Some(factor) => tensor.f_detach()?.f_mul(factor)?,
                None => tensor.f_detach()?,
            };
            let moved = scaled.f_sub(&direction.f_mul_scalar(rate)?)?;
            tensor.f_detach()?.f_copy_(&moved)?;
        }
        self.clear(tensors, zero)
    }

    /// The root of the mean square of each unit's variables, relative to the mean of its group.
    pub fn size(&self, tensors: &[Tensor]) -> Result<Tensor, TchError> {
        let norms = self.product(tensors, tensors)?.f_sqrt()?;
        let sums = |x: &Tensor| x.f_zeros_like()?.f_index_add(0, &self.groups, x);
        let sizes = norms.f_div(&self.elements(tensors)?.f_clamp_min(1.0)?.f_sqrt()?)?;
        let means = sums(&sizes)?.f_div(&sums(&sizes.f_ones_like()?)?.f_clamp_min(1.0)?)?;
        sizes.f_div(&means.f_index_select(0, &self.groups)?.f_add_scalar(1e-12)?)
    }

    /// How much each unit matters: the square of ⟨x_u, g_u⟩ with the gradient g of a batch. Its mean is, to first
    /// order, that of the change of the loss without the unit, squared (Molchanov et al. 2019, arXiv 1906.10771,
    /// eq. 8, which is one of the scores of OTOv3's authors).
    pub fn importance(&self, tensors: &[Tensor], gradients: &[Tensor]) -> Result<Tensor, TchError> {
        self.product(tensors, gradients)?.f_square()
    }
}
