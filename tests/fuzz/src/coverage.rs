//! Which edges of the control flow an execution took, counted by the code that `instrument` lets
//! the compiler add.

use std::slice;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

static START: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Called by each instrumented module before `main`; the linker puts all their counters side by
/// side, and every call gives the whole of them.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, end: *mut u8) {
    START.store(start, Ordering::Relaxed);
    LENGTH.store(end as usize - start as usize, Ordering::Relaxed);
}

#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_pcs_init(_: *const usize, _: *const usize) {}

/// The counters of this process.
pub fn counters() -> &'static mut [u8] {
    match START.load(Ordering::Relaxed) {
        start if start.is_null() => &mut [],
        // The instrumented code's own, of this length. It counts in other threads too; a count
        // that is lost does no harm.
        start => unsafe { slice::from_raw_parts_mut(start, LENGTH.load(Ordering::Relaxed)) },
    }
}

/// Takes over what another process of this program counted.
pub fn load(counts: &[u8]) {
    counters().iter_mut().zip(counts).for_each(|(own, count)| *own = *count);
}

/// The edges that were taken so far, each with the magnitudes of how often.
pub struct Coverage {
    seen: Vec<u8>,
    covered: usize,
}

impl Coverage {
    pub fn new() -> Self {
        Self { seen: vec![0; counters().len()], covered: 0 }
    }

    /// Edges that were taken, of those that there are.
    pub fn edges(&self) -> (usize, usize) {
        (self.covered, self.seen.len())
    }

    /// Takes in what was counted; whether an edge was new, or taken up to sixteen times as never
    /// before.
    pub fn update(&mut self) -> bool {
        let mut new = false;
        let counted = self.seen.iter_mut().zip(counters()).filter(|(_, count)| **count > 0);
        for (seen, count) in counted {
            let magnitude = count.ilog2();
            if *seen & 1 << magnitude == 0 {
                self.covered += usize::from(*seen == 0);
                new |= *seen == 0 || magnitude <= 3;
                *seen |= 1 << magnitude;
            }
        }
        new
    }
}
