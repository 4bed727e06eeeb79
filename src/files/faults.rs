//! A disk that fails, for tests.

use std::cell::Cell;
use std::io::{self, ErrorKind};

/// When the disk fails, counted from now, on this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    Never,
    /// At the step of this number alone: making, syncing or renaming a file or folder.
    Step(usize),
    /// From the step of this number on, as if the process had been killed: nothing is cleaned up.
    Kill(usize),
    /// When so many bytes are written.
    Full(usize),
}

thread_local! {
    static PLAN: Cell<Plan> = const { Cell::new(Plan::Never) };
}

/// What `act` gives on a disk that fails so.
pub(crate) fn with<T>(plan: Plan, act: impl FnOnce() -> T) -> T {
    PLAN.set(plan);
    let result = act();
    PLAN.set(Plan::Never);
    result
}

/// Whether the process is to look as if killed.
pub(super) fn kills() -> bool {
    matches!(PLAN.get(), Plan::Kill(_))
}

pub(super) fn step() -> io::Result<()> {
    let (next, fails) = match PLAN.get() {
        Plan::Step(0) => (Plan::Never, true),
        Plan::Step(n) => (Plan::Step(n - 1), false),
        Plan::Kill(0) => (Plan::Kill(0), true),
        Plan::Kill(n) => (Plan::Kill(n - 1), false),
        other => (other, false),
    };
    PLAN.set(next);
    if fails { Err(io::Error::other("the disk fails")) } else { Ok(()) }
}

/// The part of `bytes` for which there is room.
pub(super) fn allowed(bytes: &[u8]) -> io::Result<&[u8]> {
    match PLAN.get() {
        Plan::Full(0) => Err(ErrorKind::StorageFull.into()),
        Plan::Full(left) => {
            let part = &bytes[..bytes.len().min(left)];
            PLAN.set(Plan::Full(left - part.len()));
            Ok(part)
        }
        Plan::Kill(0) => Err(io::Error::other("the disk fails")),
        _ => Ok(bytes),
    }
}
