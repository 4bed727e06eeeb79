//! Threads that many networks are worked on by.
//!
//! A process that was forked has none of its parent's threads, and whoever waits for those waits for
//! ever: so the pool belongs to the process that made it, and its child makes its own. The lock is
//! only ever taken by who has Python's lock, and let go before that is: nobody forks in between.

use super::error::Failure;
use crate::fault::contain;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rayon::ThreadPool;
use rayon::prelude::*;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

/// The pool, and the process whose it is.
static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);

/// Fewer networks than this are worked on by the calling thread: waking others takes longer.
const FEW: usize = 4;

/// The threads of this process, as many as there are cores or `RAYON_NUM_THREADS` says.
pub(super) fn pool(_: Python<'_>) -> PyResult<Arc<ThreadPool>> {
    let mut known = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let process = process::id();
    if let Some((owner, pool)) = &*known
        && *owner == process
    {
        return Ok(pool.clone());
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .thread_name(|i| format!("gennape-{i}"))
        .build()
        .map_err(|e| PyRuntimeError::new_err(e.to_string()))?;
    let pool = Arc::new(pool);
    // Of the parent's threads there are none here, so nobody can tell them to end.
    std::mem::forget(known.replace((process, pool.clone())));
    Ok(pool)
}

/// What `one` makes of each of so many networks, in order, with Python's lock released. A fault costs
/// only the network it is about.
pub(super) fn each<T: Send>(
    py: Python<'_>,
    count: usize,
    one: impl Fn(usize) -> Result<T, Failure> + Sync,
) -> Vec<Result<T, Failure>> {
    let one = |i| contain(|| one(i)).unwrap_or_else(|fault| Err(Failure::from_error(&fault)));
    let several = if count < FEW { None } else { pool(py).ok() };
    py.detach(|| match several.filter(|pool| pool.current_num_threads() > 1) {
        Some(pool) => pool.install(|| (0..count).into_par_iter().map(one).collect()),
        None => (0..count).map(one).collect(),
    })
}
