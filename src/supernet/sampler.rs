//! Which of many sub-networks are trained.

use std::fmt;
use std::str::FromStr;

/// Which of the sub-networks of one cost are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampler {
    /// The best of so many, towards the Pareto front.
    BestUp(usize),
    /// The worst of so many, towards those that are least worth their cost.
    WorstUp(usize),
    /// Any, of any cost.
    Uniform,
}

/// Most sub-networks to choose one from.
const MAX_CANDIDATES: usize = 100;

impl FromStr for Sampler {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = || format!("'{text}' is none of bestup:3, worstup:3 and uniform");
        let (name, count) = match text.split_once(':') {
            Some((name, count)) => (name, Some(count.parse::<usize>().map_err(|_| fail())?)),
            None => (text, None),
        };
        match (name, count) {
            ("uniform", None) => Ok(Self::Uniform),
            (_, Some(count)) if !(2..=MAX_CANDIDATES).contains(&count) => {
                Err(format!("one is chosen of 2 to {MAX_CANDIDATES}, not of {count}"))
            }
            ("bestup", count) => Ok(Self::BestUp(count.unwrap_or(3))),
            ("worstup", count) => Ok(Self::WorstUp(count.unwrap_or(3))),
            _ => Err(fail()),
        }
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BestUp(count) => write!(f, "bestup:{count}"),
            Self::WorstUp(count) => write!(f, "worstup:{count}"),
            Self::Uniform => f.write_str("uniform"),
        }
    }
}
