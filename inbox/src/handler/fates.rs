//! The fate of a message whose handler returned an error.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use postroom_message::errors::sources;

use super::Disposition;
use crate::server_error;

/// The further treatment of a message after an error of its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// Another attempt, as [`HandlerError::retry`](crate::HandlerError::retry).
    Retry,
    /// Another attempt after this wait, as [`HandlerError::defer`](crate::HandlerError::defer). Counts as no failure.
    Defer(Duration),
    /// Another attempt after the inbox's first wait, as [`HandlerError::not_yet`](crate::HandlerError::not_yet).
    /// Counts as no failure.
    NotYet,
    /// No further attempt, as [`HandlerError::reject`](crate::HandlerError::reject): the message is parked dead.
    Reject,
}

impl Fate {
    const fn disposition(self) -> Disposition {
        match self {
            Self::Retry => Disposition::Retry,
            Self::Defer(wait) => Disposition::Defer(Some(wait)),
            Self::NotYet => Disposition::Defer(None),
            Self::Reject => Disposition::Reject,
        }
    }
}

/// An error that knows the fate of the message whose handler returns it.
///
/// The service registers the type with [`ConsumerBuilder::classify_as`](crate::ConsumerBuilder::classify_as), because
/// a chain of errors can be searched for known types alone.
///
/// ```
/// use inbox::{Fate, HasFate};
///
/// #[derive(Debug, thiserror::Error)]
/// enum BillingError {
///     #[error("the customer {0} does not exist")]
///     NoCustomer(i64),
///     #[error("the customer {0} has not arrived yet")]
///     Early(i64),
///     #[error("cannot use the database")]
///     Database(#[from] sqlx::Error),
/// }
///
/// impl HasFate for BillingError {
///     fn fate(&self) -> Fate {
///         match self {
///             Self::NoCustomer(_) => Fate::Reject,
///             Self::Early(_) => Fate::NotYet,
///             Self::Database(_) => Fate::Retry,
///         }
///     }
/// }
/// ```
pub trait HasFate: Error {
    /// Returns the fate of the message.
    fn fate(&self) -> Fate;
}

type Classifier = dyn Fn(&(dyn Error + 'static)) -> Option<Fate> + Send + Sync;

/// The classifiers of a service's errors, in the order in which they were added.
#[derive(Clone, Default)]
pub(crate) struct Fates {
    classifiers: Vec<Arc<Classifier>>,
}

impl Fates {
    pub(crate) fn add(
        &mut self,
        classifier: impl Fn(&(dyn Error + 'static)) -> Option<Fate> + Send + Sync + 'static,
    ) {
        self.classifiers.push(Arc::new(classifier));
    }

    /// Returns the disposition of an error for which the handler itself chose none.
    ///
    /// The first answer counts, from the outermost error to its innermost source. A conflict with another
    /// transaction is no answer about the message, so it asks for another attempt in whatever error it comes.
    pub(super) fn disposition(&self, error: &(dyn Error + 'static)) -> Disposition {
        if server_error::is_rerun(error) {
            return Disposition::Retry;
        }
        let fate = sources(error).find_map(|source| {
            let mut classifiers = self.classifiers.iter();
            classifiers.find_map(|classify| classify(source))
        });
        fate.map_or(Disposition::Retry, Fate::disposition)
    }
}

impl fmt::Debug for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fates")
            .field("classifiers", &self.classifiers.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
