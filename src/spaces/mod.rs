//! Search spaces: each builds the same model graphs that the ONNX importer produces.
//!
//! One file per space, each with a type that implements [`Architecture`]; blocks that spaces
//! share are built in one place. [`Space`] picks a space at run time, by name.

mod blocks;
mod choices;
pub mod darts;
pub mod genotype;
pub mod hiaml;
pub mod inception;
mod literal;
mod mbconv;
pub mod mnasnet;
pub mod nasbench101;
pub mod nasbench201;
pub mod nasbench_macro;
pub mod nasnet;
mod ofa;
pub mod ofa_mobilenetv3;
pub mod ofa_proxyless;
pub mod ofa_resnet50;
pub mod plain;
pub mod two_path;

use crate::model_graph::ModelGraph;
use rand::Rng;
use std::fmt::{self, Debug, Display};
use std::hash::Hash;
use std::str::FromStr;

/// A point of a search space. Its text form, from [`FromStr`] and to [`Display`], is the one that
/// the space's authors use, where there is one.
pub trait Architecture:
    Clone + Debug + Eq + Hash + Display + FromStr<Err = ParseError> + Send + Sync
{
    /// The search space it belongs to.
    const SPACE: Space;

    /// Number of architectures as the space's authors count them; `None` when there is no bound.
    fn size() -> Option<u128>;

    /// Draws an architecture at random.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self;

    /// Draws a neighbour: an architecture that differs from this one in a single decision.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self;

    /// Draws an architecture each of whose decisions is that of one of the two parents.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self;

    /// A text that is the same for architectures that compute the same functions, so for ones
    /// that must not be on both sides of a split.
    fn canonical(&self) -> String;

    /// A text that is the same only for architectures with one computation graph.
    fn identity(&self) -> String {
        self.to_string()
    }

    /// The network, with one input named `input` and a batch of one.
    fn build(&self) -> ModelGraph;

    /// Number of options of each decision that makes up an architecture; empty when architectures
    /// differ in their number of decisions.
    fn decisions() -> Vec<usize> {
        Vec::new()
    }

    /// The architecture of these [decisions](Self::decisions), each below its number of options;
    /// `None` when they don't make up one.
    fn decide(_choices: &[usize]) -> Option<Self> {
        None
    }

    /// Number of trainable parameters as the space's authors count them: batch normalisation has
    /// two per channel, and weights count even when their result is never used.
    fn trainable_parameters(&self) -> u64 {
        blocks::trainable_parameters(&self.build())
    }
}

/// Why a text is not an architecture of a space.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a {space} architecture: {reason}")]
pub struct ParseError {
    /// The text.
    pub text: String,
    /// The space.
    pub space: Space,
    /// What is wrong with it.
    pub reason: String,
}

/// All that there is to say of spaces in general: each with its name and the type of its architectures.
macro_rules! spaces {
    ($d:tt $($variant:ident, $name:literal, $module:ident :: $architecture:ident;)*) => {
        /// A search space.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Space {
            $(#[doc = concat!("See [`", stringify!($module), "`].")] $variant,)*
        }

        impl Space {
            /// Every space.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name it goes by.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        /// Evaluates an expression with a name for the type of a space's architectures.
        macro_rules! with_architecture {
            ($d space:expr, $d A:ident => $d body:expr) => {
                match $d space {
                    $($crate::spaces::Space::$variant => {
                        type $d A = $crate::spaces::$module::$architecture;
                        $d body
                    })*
                }
            };
        }

        /// A test for each space, called as its module, that hands the space to a function.
        #[cfg(test)]
        macro_rules! test_each_space {
            ($d check:path) => {
                $(
                    #[test]
                    fn $module() {
                        $d check($crate::spaces::Space::$variant);
                    }
                )*
            };
        }
    };
}

spaces! { $
    NasBench101, "nasbench101", nasbench101::Cell;
    NasBench201, "nasbench201", nasbench201::Cell;
    Darts, "darts", darts::DartsNetwork;
    NasNet, "nasnet", nasnet::NasNet;
    HiAml, "hiaml", hiaml::HiAmlNetwork;
    TwoPath, "two_path", two_path::TwoPathNetwork;
    Inception, "inception", inception::InceptionNetwork;
    NasBenchMacro, "nasbench_macro", nasbench_macro::MacroNetwork;
    MnasNet, "mnasnet", mnasnet::MnasNet;
    OfaMobileNetV3, "ofa_mobilenetv3", ofa_mobilenetv3::OfaMobileNetV3;
    OfaProxyless, "ofa_proxyless", ofa_proxyless::OfaProxyless;
    OfaResNet50, "ofa_resnet50", ofa_resnet50::OfaResNet50;
    Plain, "plain", plain::PlainNetwork;
}
#[cfg(test)]
pub(crate) use test_each_space;
pub(crate) use with_architecture;

impl Space {
    /// The network that `architecture` describes.
    ///
    /// # Errors
    /// When the text is not an architecture of this space.
    pub fn build(self, architecture: &str) -> Result<ModelGraph, ParseError> {
        with_architecture!(self, A => Ok(architecture.parse::<A>()?.build()))
    }

    /// [`Architecture::trainable_parameters`] of what `architecture` describes.
    ///
    /// # Errors
    /// When the text is not an architecture of this space.
    pub fn trainable_parameters(self, architecture: &str) -> Result<u64, ParseError> {
        with_architecture!(self, A => Ok(architecture.parse::<A>()?.trainable_parameters()))
    }

    /// [`Architecture::sample`], as text.
    pub fn sample<R: Rng + ?Sized>(self, rng: &mut R) -> String {
        with_architecture!(self, A => A::sample(rng).to_string())
    }

    /// The text that the architecture of a text has: one that a space understands may be written in
    /// several ways.
    ///
    /// # Errors
    /// When the text is not an architecture of this space.
    pub fn text(self, architecture: &str) -> Result<String, ParseError> {
        with_architecture!(self, A => Ok(architecture.parse::<A>()?.to_string()))
    }

    /// [`Architecture::mutate`], from text to text.
    ///
    /// # Errors
    /// When the text is not an architecture of this space.
    pub fn mutate<R: Rng + ?Sized>(
        self,
        architecture: &str,
        rng: &mut R,
    ) -> Result<String, ParseError> {
        with_architecture!(self, A => Ok(architecture.parse::<A>()?.mutate(rng).to_string()))
    }

    /// [`Architecture::crossover`], from text to text.
    ///
    /// # Errors
    /// When one of the texts is not an architecture of this space.
    pub fn crossover<R: Rng + ?Sized>(
        self,
        a: &str,
        b: &str,
        rng: &mut R,
    ) -> Result<String, ParseError> {
        with_architecture!(self, A => {
            Ok(a.parse::<A>()?.crossover(&b.parse()?, rng).to_string())
        })
    }

    /// [`Architecture::canonical`] of what `architecture` describes.
    ///
    /// # Errors
    /// When the text is not an architecture of this space.
    pub fn canonical(self, architecture: &str) -> Result<String, ParseError> {
        with_architecture!(self, A => Ok(architecture.parse::<A>()?.canonical()))
    }

    /// [`Architecture::identity`] of what `architecture` describes.
    ///
    /// # Errors
    /// When the text is not an architecture of this space.
    pub fn identity(self, architecture: &str) -> Result<String, ParseError> {
        with_architecture!(self, A => Ok(architecture.parse::<A>()?.identity()))
    }

    /// [`Architecture::decisions`].
    pub fn decisions(self) -> Vec<usize> {
        with_architecture!(self, A => A::decisions())
    }

    /// [`Architecture::decide`], as text.
    pub fn decide(self, choices: &[usize]) -> Option<String> {
        with_architecture!(self, A => A::decide(choices).map(|a| a.to_string()))
    }

    /// [`Architecture::size`].
    pub fn size(self) -> Option<u128> {
        with_architecture!(self, A => A::size())
    }

    /// Why `text` is not an architecture of this space.
    fn error(self, text: &str, reason: String) -> ParseError {
        ParseError { text: text.to_string(), space: self, reason }
    }
}

impl Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no search space has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no search space '{0}'; there are {names}", names = names())]
pub struct UnknownSpace(pub String);

fn names() -> String {
    let names: Vec<&str> = Space::ALL.iter().map(|s| s.name()).collect();
    names.join(", ")
}

impl FromStr for Space {
    type Err = UnknownSpace;

    fn from_str(name: &str) -> Result<Self, UnknownSpace> {
        let space = Self::ALL.iter().copied().find(|s| s.name() == name);
        space.ok_or_else(|| UnknownSpace(name.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::lower;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::collections::{HashMap, HashSet};

    /// What every space promises, on random architectures.
    fn keeps_its_promises<A: Architecture>() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut parent = A::sample(&mut rng);
        let mut fingerprints = HashMap::new();
        for _ in 0..30 {
            let sample = A::sample(&mut rng);
            let mutant = sample.mutate(&mut rng);
            let child = mutant.crossover(&parent, &mut rng);
            assert_ne!(mutant, sample, "a mutation changes something");
            for architecture in [&sample, &mutant, &child] {
                let text = architecture.to_string();
                assert_eq!(text.parse().as_ref(), Ok(architecture), "{text}");
                let canonical = architecture.canonical();
                assert_eq!(architecture.clone().canonical(), canonical, "{text}");
                let graph = architecture.build();
                assert_eq!(graph.inputs().len(), 1, "{text}");
                assert_eq!(&*graph.value(graph.inputs()[0]).name, "input", "{text}");
                assert!(architecture.trainable_parameters() > 0, "{text}");
                let fingerprint = lower(&graph).unwrap().fingerprint();
                let known = *fingerprints.entry(architecture.identity()).or_insert(fingerprint);
                assert_eq!(known, fingerprint, "{text}");
            }
            assert_eq!(sample.crossover(&sample, &mut rng), sample, "equal parents, equal child");
            parent = sample;
        }
        decides::<A>(&mut rng);
        let draw = |seed| A::sample(&mut ChaCha8Rng::seed_from_u64(seed)).to_string();
        assert_eq!(draw(1), draw(1));
        assert!((2..12).any(|seed| draw(seed) != draw(1)));
    }

    /// Text for text, the space draws, mutates, crosses over and decides as its type does.
    fn says_in_words_what_types_do<A: Architecture>() {
        let (mut words, mut types) = (ChaCha8Rng::seed_from_u64(11), ChaCha8Rng::seed_from_u64(11));
        let mut typed = A::sample(&mut types);
        let mut text = A::SPACE.sample(&mut words);
        for _ in 0..20 {
            assert_eq!(text, typed.to_string());
            assert_eq!(A::SPACE.text(&text).as_ref(), Ok(&text));
            assert_eq!(A::SPACE.canonical(&text), Ok(typed.canonical()));
            let mutant = A::SPACE.mutate(&text, &mut words).unwrap();
            let typed_mutant = typed.mutate(&mut types);
            text = A::SPACE.crossover(&text, &mutant, &mut words).unwrap();
            typed = typed.crossover(&typed_mutant, &mut types);
        }
        let options = A::SPACE.decisions();
        assert_eq!(options, A::decisions());
        let zeros = vec![0; options.len()];
        assert_eq!(A::SPACE.decide(&zeros), A::decide(&zeros).map(|a| a.to_string()));
        assert!(A::SPACE.mutate("?", &mut words).is_err());
        assert!(A::SPACE.crossover(&text, "?", &mut words).is_err());
    }

    /// Decisions make up architectures, and nothing else does; all of them where these are few.
    fn decides<A: Architecture>(rng: &mut ChaCha8Rng) {
        let options = A::decisions();
        if options.is_empty() {
            assert_eq!(A::decide(&[]), None);
            return;
        }
        let mut built = 0;
        while built < 5 {
            let mut choices: Vec<usize> = options.iter().map(|&o| rng.gen_range(0..o)).collect();
            let Some(architecture) = A::decide(&choices) else { continue };
            let text = architecture.to_string();
            assert_eq!(text.parse().as_ref(), Ok(&architecture), "{text}");
            assert!(lower(&architecture.build()).is_ok(), "{text}");
            built += 1;
            assert_eq!(A::decide(&choices[1..]), None);
            for (i, &options) in options.iter().enumerate() {
                let choice = std::mem::replace(&mut choices[i], options);
                assert_eq!(A::decide(&choices), None, "decision {i} of {text}");
                choices[i] = choice;
            }
            choices.push(0);
            assert_eq!(A::decide(&choices), None);
        }
        let all = options.iter().fold(1usize, |all, &options| all.saturating_mul(options));
        if all < 50_000 {
            let numbered = |mut number: usize| {
                let choice = |&options: &usize| {
                    let choice = number % options;
                    number /= options;
                    choice
                };
                A::decide(&options.iter().map(choice).collect::<Vec<_>>())
            };
            let reached: HashSet<A> = (0..all).filter_map(numbered).collect();
            assert_eq!(Some(reached.len() as u128), A::size());
        }
    }

    mod promises {
        use super::*;

        fn check(space: Space) {
            with_architecture!(space, A => {
                assert_eq!(A::SPACE, space);
                keeps_its_promises::<A>();
                says_in_words_what_types_do::<A>();
            });
        }
        test_each_space!(check);
    }
}
