//! The relay's own types as parts of a state, which must be hashed.

use std::{
    hash::{Hash, Hasher},
    ops::{Deref, DerefMut},
};

use relay::capture::{Floors, Snapshot};

/// A value of the relay's that is part of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered<T>(pub(crate) T);

impl<T> Deref for Remembered<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Remembered<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl Hash for Remembered<Snapshot> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.xmin(), self.xmax(), self.running()).hash(state);
    }
}

impl Hash for Remembered<Floors> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pairs().len().hash(state);
        for pair in self.pairs() {
            (pair.xid, pair.position).hash(state);
        }
    }
}
