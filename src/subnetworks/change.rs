//! What can differ between a sub-network and the whole.

use super::Activation;
use std::fmt;
use std::str::FromStr;

/// One difference from the whole network; numbers are positions in the lists of the
/// [`SuperNetwork`](super::SuperNetwork).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// A group keeps a share of its units: `c3=1/2`.
    Width {
        /// Of [`groups`](super::SuperNetwork::groups).
        group: usize,
        /// What is kept.
        share: Share,
    },
    /// A branch is left out: `-b2`.
    Without {
        /// Of [`branches`](super::SuperNetwork::branches).
        branch: usize,
    },
    /// A layer is skipped: `-l7`.
    Skip {
        /// Of [`layers`](super::SuperNetwork::layers).
        layer: usize,
    },
    /// A convolution gets a smaller kernel: `k4=3`.
    Kernel {
        /// Of [`kernels`](super::SuperNetwork::kernels).
        site: usize,
        /// Of the kernel's [choices](super::Kernel::choices).
        extent: usize,
    },
    /// An activation becomes another: `a1=silu`.
    Activation {
        /// Of [`activations`](super::SuperNetwork::activations).
        site: usize,
        /// One of the [others](super::ActivationSite::others).
        function: Activation,
    },
}

/// Share of a group's units that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Share {
    /// A quarter.
    Quarter = 1,
    /// Half.
    Half,
    /// Three quarters.
    ThreeQuarters,
    /// All.
    Whole,
}

impl Share {
    pub(super) const ALL: [Self; 4] = [Self::Whole, Self::ThreeQuarters, Self::Half, Self::Quarter];

    /// How many of `units` this is, rounded, and at least one.
    pub fn of(self, units: usize) -> usize {
        ((units.saturating_mul(self as usize) + 2) / 4).max(1)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "1",
            Self::ThreeQuarters => "3/4",
            Self::Half => "1/2",
            Self::Quarter => "1/4",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Width { group, share } => write!(f, "c{group}={share}"),
            Self::Without { branch } => write!(f, "-b{branch}"),
            Self::Skip { layer } => write!(f, "-l{layer}"),
            Self::Kernel { site, extent } => write!(f, "k{site}={extent}"),
            Self::Activation { site, function } => write!(f, "a{site}={function}"),
        }
    }
}

/// Why a network can't be changed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{part}' is nothing that can be chosen in this network: {reason}")]
pub struct ChangeError {
    /// The change, as text.
    pub part: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FromStr for Change {
    type Err = ChangeError;

    fn from_str(part: &str) -> Result<Self, ChangeError> {
        let fail =
            |reason: &str| ChangeError { part: part.to_string(), reason: reason.to_string() };
        let general = "expected a list such as c3=1/2,-b2,-l7,k4=3,a1=silu";
        let number = |text: &str| text.parse::<usize>().map_err(|_| fail(general));
        if let Some(branch) = part.strip_prefix("-b") {
            return Ok(Self::Without { branch: number(branch)? });
        }
        if let Some(layer) = part.strip_prefix("-l") {
            return Ok(Self::Skip { layer: number(layer)? });
        }
        let (site, choice) = part.split_once('=').ok_or_else(|| fail(general))?;
        if let Some(group) = site.strip_prefix('c') {
            let share = Share::ALL.into_iter().find(|s| s.to_string() == choice);
            let share = share.ok_or_else(|| fail("a group keeps 1, 3/4, 1/2 or 1/4"))?;
            return Ok(Self::Width { group: number(group)?, share });
        }
        if let Some(site) = site.strip_prefix('k') {
            return Ok(Self::Kernel { site: number(site)?, extent: number(choice)? });
        }
        if let Some(site) = site.strip_prefix('a') {
            let function = Activation::ALL.into_iter().find(|f| f.to_string() == choice);
            let function = function.ok_or_else(|| fail("there are relu, silu and hardswish"))?;
            return Ok(Self::Activation { site: number(site)?, function });
        }
        Err(fail(general))
    }
}
