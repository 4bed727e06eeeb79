//! Faults of the program that cost no more than the one answer they concern.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
    /// The last panic that was contained, with its place, which only a hook hears of.
    static TOLD: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was stopped: the program is wrong, not what it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("internal fault: {0}")]
pub struct Fault(String);

impl Fault {
    /// What should not have happened.
    #[cfg(feature = "cli")]
    pub(crate) fn new(what: &str) -> Self {
        Self(what.into())
    }

    /// What to do about it.
    pub(crate) const HINT: &str = "please report this with the file that caused it";
}

/// Does `work`, whose panic becomes an error.
pub(crate) fn contain<T>(work: impl FnOnce() -> T) -> Result<T, Fault> {
    let outer = CONTAINED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(outer);
    result.map_err(|payload| Fault(TOLD.take().unwrap_or_else(|| message(&*payload).into())))
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or(payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Where panics of the process go: those that are contained are kept for their error, others
/// `tell` hears of.
#[cfg(feature = "cli")]
pub(crate) fn hook(tell: impl Fn(&Fault) + Send + Sync + 'static) {
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(|l| format!(" ({}:{})", l.file(), l.line()));
        let text = format!("{}{}", message(info.payload()), place.unwrap_or_default());
        if CONTAINED.get() {
            TOLD.set(Some(text));
        } else {
            tell(&Fault(text));
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let fault = contain::<()>(|| panic!("{} and a half", 2)).unwrap_err();
        assert!(fault.to_string().contains("2 and a half"), "{fault}");
        assert_eq!(contain(|| 3), Ok(3));
    }
}
