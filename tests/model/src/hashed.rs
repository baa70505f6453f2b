//! A wrapper that makes the relay's types hashable, as parts of a state must be.

use std::{
    hash::{Hash, Hasher},
    ops::{Deref, DerefMut},
};

use relay::capture::{Floors, Snapshot};

/// A value of one of the relay's types, with a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hashed<T>(pub(crate) T);

impl<T> Deref for Hashed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Hashed<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl Hash for Hashed<Snapshot> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.xmin(), self.xmax(), self.running()).hash(state);
    }
}

impl Hash for Hashed<Floors> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pairs().len().hash(state);
        for pair in self.pairs() {
            (pair.xid, pair.position).hash(state);
        }
    }
}
