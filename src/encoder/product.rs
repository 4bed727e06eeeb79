//! The matrix product of a layer, with the vectors of the processor that it runs on.

use pulp::{Arch, Simd, WithSimd};

/// Columns of a matrix are padded with zeros to a multiple of this: two of the longest vectors.
pub(super) const COLUMNS: usize = 32;

/// Elements of a row between two looks at whether it has more: with one for each of a tile's rows and
/// elements, a processor has as much to do with these as with the sums.
const STEPS: usize = 4;

/// Rows of numbers, made of parts that lie apart in memory.
pub(super) struct Rows<'a> {
    /// Where the parts of each row, `parts` of them, lie: in `first`, or as far beyond its end in
    /// `second`.
    pub places: &'a [usize],
    pub parts: usize,
    /// Numbers in a part.
    pub length: usize,
    pub first: &'a [f32],
    pub second: &'a [f32],
}

impl Rows<'_> {
    #[inline(always)]
    fn part(&self, place: usize) -> &[f32] {
        match place.checked_sub(self.first.len()) {
            None => &self.first[place..place + self.length],
            Some(place) => &self.second[place..place + self.length],
        }
    }
}

/// `rows · weight`, in `out`, then `finish` of each row of it, by its number, in place, and of the first
/// part of the row that it comes from. `weight` is `[parts · length, columns]`, and the number of columns
/// a multiple of [`COLUMNS`].
///
/// Nothing is moved to where a processor would rather have it, which for these small matrices takes as
/// long as a fifth of the product. Each element is one sum in the order of the columns, so that no row
/// depends on which others are there.
pub(super) fn product(
    arch: Arch,
    rows: &Rows,
    weight: &[f32],
    columns: usize,
    out: &mut [f32],
    finish: impl Fn(usize, &mut [f32], &[f32]),
) {
    arch.dispatch(Product { rows, weight, columns, out, finish });
}

struct Product<'a, F> {
    rows: &'a Rows<'a>,
    weight: &'a [f32],
    columns: usize,
    out: &'a mut [f32],
    finish: F,
}

impl<F: Fn(usize, &mut [f32], &[f32])> WithSimd for Product<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Two sums of each row, a pair of weights and an element stay in registers.
        match S::REGISTER_COUNT {
            32.. => self.by_rows::<S, 8>(simd),
            _ => self.by_rows::<S, 6>(simd),
        }
    }
}

impl<F: Fn(usize, &mut [f32], &[f32])> Product<'_, F> {
    /// `N` rows at a time.
    #[inline(always)]
    fn by_rows<S: Simd, const N: usize>(self, simd: S) {
        let Self { rows, weight, columns, out, finish } = self;
        let Rows { places, parts, .. } = *rows;
        let count = places.len() / parts;
        let together = if count < N { 1 } else { N };
        // The weights of two vectors stay in the first-level cache while all rows pass.
        for pair in 0..columns / S::F32_LANES / 2 {
            let mut start = 0;
            while start < count {
                // Rather some rows twice than the last few by themselves.
                start = start.min(count - together);
                let places = &places[start * parts..(start + together) * parts];
                let out = &mut out[start * columns..(start + together) * columns];
                match together {
                    1 => tile::<S, 1>(simd, rows, places, weight, pair, out),
                    _ => tile::<S, N>(simd, rows, places, weight, pair, out),
                }
                start += together;
            }
        }
        let parts = places.chunks_exact(parts);
        for (i, (places, out)) in parts.zip(out.chunks_exact_mut(columns)).enumerate() {
            finish(i, out, rows.part(places[0]));
        }
    }
}

/// A pair of vectors of the product of `N` rows.
#[inline(always)]
fn tile<S: Simd, const N: usize>(
    simd: S,
    rows: &Rows,
    places: &[usize],
    weight: &[f32],
    pair: usize,
    out: &mut [f32],
) {
    let columns = out.len() / N;
    let mut sums = [[simd.splat_f32s(0.0); 2]; N];
    for (part, weight) in weight.chunks_exact(rows.length * columns).enumerate() {
        let (steps, rest) = weight.split_at(rows.length / STEPS * STEPS * columns);
        let mut many: [&[[f32; STEPS]]; N] = [&[]; N];
        let mut few: [&[[f32; 1]]; N] = [&[]; N];
        for ((many, few), places) in
            many.iter_mut().zip(&mut few).zip(places.chunks_exact(rows.parts))
        {
            let (steps, rest) = rows.part(places[part]).as_chunks();
            (*many, *few) = (steps, rest.as_chunks().0);
        }
        add(simd, &many, steps, columns, pair, &mut sums);
        add(simd, &few, rest, columns, pair, &mut sums);
    }
    for (sums, out) in sums.into_iter().zip(out.chunks_exact_mut(columns)) {
        let (out, _) = S::as_mut_simd_f32s(out);
        out[2 * pair] = sums[0];
        out[2 * pair + 1] = sums[1];
    }
}

/// Adds what elements of each row contribute, `K` at a time.
#[inline(always)]
fn add<S: Simd, const N: usize, const K: usize>(
    simd: S,
    own: &[&[[f32; K]]; N],
    weight: &[f32],
    columns: usize,
    pair: usize,
    sums: &mut [[S::f32s; 2]; N],
) {
    for (step, weight) in weight.chunks_exact(K * columns).enumerate() {
        let mut together = [&[0.0; K]; N];
        for (together, own) in together.iter_mut().zip(own) {
            *together = &own[step];
        }
        for (k, weight) in weight.chunks_exact(columns).enumerate().take(K) {
            let (vectors, _) = S::as_simd_f32s(weight);
            let pair = [vectors[2 * pair], vectors[2 * pair + 1]];
            for (sums, own) in sums.iter_mut().zip(together) {
                let x = simd.splat_f32s(own[k]);
                for (sum, w) in sums.iter_mut().zip(pair) {
                    *sum = simd.mul_add_e_f32s(x, w, *sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    /// Against sums in double precision, with any number of rows; and no row depends on the others.
    #[test]
    fn products_are_those_of_each_row_by_itself() {
        let mut rng = StdRng::seed_from_u64(1);
        for (count, parts, length, columns) in [
            (1, 1, 32, 32),
            (5, 2, 64, 64),
            (6, 3, 32, 32),
            (7, 2, 96, 96),
            (8, 3, 64, 64),
            (9, 1, 20, 32),
            (23, 3, 5, 64),
        ] {
            let mut numbers = |count: usize| -> Vec<f32> {
                (0..count).map(|_| rng.gen_range(-1.0..1.0)).collect()
            };
            let first = numbers(count * length);
            let second = numbers(2 * length);
            let weight = numbers(parts * length * columns);
            // Each row's own, then any.
            let place = |i: usize, part: usize| match part {
                0 => i * length,
                _ => (7 * i + 5 * part) % (count + 2) * length,
            };
            let places: Vec<usize> =
                (0..count).flat_map(|i| (0..parts).map(move |part| place(i, part))).collect();
            let all = [first.clone(), second.clone()].concat();
            let multiply = |places: &[usize]| {
                let rows = Rows { places, parts, length, first: &first, second: &second };
                let mut out = vec![f32::NAN; places.len() / parts * columns];
                product(Arch::new(), &rows, &weight, columns, &mut out, |i, out, own| {
                    assert_eq!(own[0], all[places[i * parts]]);
                    out.iter_mut().for_each(|out| *out += own[1]);
                });
                out
            };
            let together = multiply(&places);
            for (i, places) in places.chunks(parts).enumerate() {
                let row = &together[i * columns..(i + 1) * columns];
                assert_eq!(multiply(places), row);
                for (column, x) in row.iter().enumerate() {
                    let terms = (0..parts * length).map(|k| {
                        let element = all[places[k / length] + k % length];
                        f64::from(element) * f64::from(weight[k * columns + column])
                    });
                    let exact = terms.sum::<f64>() + f64::from(all[places[0] + 1]);
                    assert!((f64::from(*x) - exact).abs() < 1e-4, "{count} {parts} {length}");
                }
            }
        }
    }
}
