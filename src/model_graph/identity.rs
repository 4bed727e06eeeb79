//! Telling networks apart without lowering them.

use super::{Attribute, Attributes, Constant, ModelGraph, TensorData};
use std::hash::{Hash, Hasher};

impl ModelGraph {
    /// Hashes all that a network is but names and remarks: networks for which this is the same have
    /// computation graphs with the same fingerprint. Those for which it is not may have too.
    pub(crate) fn hash_structure(&self, state: &mut impl Hasher) {
        let Self { name: _, opset, values, nodes, inputs, outputs, batch: _, remarks: _ } = self;
        (opset, values.len(), nodes.len(), inputs, outputs).hash(state);
        for value in values {
            (value.dtype, &value.shape).hash(state);
            value.constant.is_some().hash(state);
            if let Some(Constant { data, origin }) = &value.constant {
                (origin, data.is_some()).hash(state);
                data.iter().for_each(|data| hash_data(data, state));
            }
        }
        for node in nodes {
            (&node.op, &node.inputs, &node.outputs).hash(state);
            hash_attributes(&node.attributes, state);
        }
    }
}

fn hash_attributes(attributes: &Attributes, state: &mut impl Hasher) {
    for (name, attribute) in attributes.iter() {
        (name, std::mem::discriminant(attribute)).hash(state);
        match attribute {
            Attribute::Int(x) => x.hash(state),
            Attribute::Float(x) => x.to_bits().hash(state),
            Attribute::String(text) => text.hash(state),
            Attribute::Ints(list) => list.hash(state),
            Attribute::Floats(list) => {
                list.len().hash(state);
                list.iter().for_each(|x| x.to_bits().hash(state));
            }
            Attribute::Strings(list) => list.hash(state),
            Attribute::Tensor { dtype, shape, data } => {
                (dtype, shape, data.is_some()).hash(state);
                data.iter().for_each(|data| hash_data(data, state));
            }
        }
    }
    // Where one list ends and what follows begins.
    0u8.hash(state);
}

fn hash_data(data: &TensorData, state: &mut impl Hasher) {
    (data.len(), data.ints().is_some()).hash(state);
    match data {
        TensorData::Ints(list) => list.hash(state),
        TensorData::Floats(list) => list.iter().for_each(|x| x.to_bits().hash(state)),
    }
}

#[cfg(test)]
mod tests {
    use crate::lower::lower;
    use crate::spaces::Space;
    use hashbrown::DefaultHashBuilder;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::collections::{HashMap, HashSet};
    use std::hash::{BuildHasher, Hasher};

    /// In every space; many cells of NAS-Bench-201 differ in nothing but what leads nowhere.
    #[test]
    fn networks_of_one_structure_have_one_fingerprint() {
        let hasher = DefaultHashBuilder::default();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (mut known, mut met) = (HashMap::new(), HashSet::new());
        for &space in Space::ALL {
            for _ in 0..if space == Space::NasBench201 { 400 } else { 20 } {
                let text = space.sample(&mut rng);
                let model = space.build(&text).unwrap();
                let mut state = hasher.build_hasher();
                model.hash_structure(&mut state);
                let fingerprint = lower(&model).unwrap().fingerprint();
                let first = *known.entry(state.finish()).or_insert(fingerprint);
                assert_eq!(first, fingerprint, "{space} {text}");
                met.insert((space, text));
            }
        }
        let fingerprints: HashSet<_> = known.values().collect();
        assert!(fingerprints.len() <= known.len() && known.len() + 50 < met.len());
    }
}
