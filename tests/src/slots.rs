//! Bounds how many homes are in use at once, whatever the number of test threads: emulated machines that
//! compete for processors prove nothing but patience.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::Settings;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// One place among the homes in use.
#[derive(Debug)]
pub(crate) struct Slot(());

impl Slot {
    /// Waits for a place.
    pub(crate) fn take() -> Self {
        let most = Settings::get().machines.max(1);
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken =
            FREED.wait_while(taken, |taken| *taken >= most).unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Self(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}
