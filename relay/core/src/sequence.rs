//! The sequence of positions. Capture depends on it: a position allocated later must be higher.

use crate::capture::{Position, segment_end, segment_of};

/// Error of a sequence with which the relay would miss rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SequenceError {
    /// The sequence does not allocate positions one after another.
    #[error(
        "the sequence outbox.message_position has CACHE {cache} INCREMENT {increment}{}: positions are not handed out in their order, and messages would be lost. As its owner: ALTER SEQUENCE outbox.message_position CACHE 1 INCREMENT 1 NO CYCLE; then have all producers connect anew",
        if *cycles { " CYCLE" } else { "" }
    )]
    Settings {
        /// Number of positions that a session allocates at once.
        cache: i64,
        /// Difference between two consecutive positions.
        increment: i64,
        /// `true` if the sequence starts again after its last value.
        cycles: bool,
    },
    /// The sequence was set back and would allocate positions a second time.
    #[error(
        "the sequence outbox.message_position was set back: it stands at {stands}, and positions up to {known} were handed out. What is written now would be taken for delivered. As its owner: SELECT setval('outbox.message_position', {known}); then write again what was written meanwhile (docs/operations.md, \"By hand\"). If the rows came from another database without their sequence: `relay rebase --force`"
    )]
    SetBack {
        /// Current position of the sequence.
        stands: Position,
        /// Highest position known to be allocated.
        known: Position,
    },
}

/// Settings of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Number of positions that a session allocates at once.
    pub cache: i64,
    /// Difference between two consecutive positions.
    pub increment: i64,
    /// `true` if the sequence starts again after its last value.
    pub cycles: bool,
}

impl Settings {
    /// Checks that later positions are always higher.
    ///
    /// # Errors
    /// Fails if a later position may be lower.
    pub const fn check(self) -> Result<(), SequenceError> {
        let Self {
            cache,
            increment,
            cycles,
        } = self;
        if cache == 1 && increment == 1 && !cycles {
            return Ok(());
        }
        Err(SequenceError::Settings {
            cache,
            increment,
            cycles,
        })
    }
}

/// Checks that the sequence is at or above the highest position known to be allocated.
///
/// # Errors
/// Fails if the sequence was set back.
pub const fn check_position(stands: Position, known: Position) -> Result<(), SequenceError> {
    if stands < known {
        return Err(SequenceError::SetBack { stands, known });
    }
    Ok(())
}

/// Returns the position for a sequence that is below the existing rows: the start of the segment after the
/// highest row if the next leaf is empty, else the highest row.
pub const fn restart_position(highest: Position, next_is_empty: bool) -> Position {
    if next_is_empty {
        segment_end(segment_of(highest)) + 1
    } else {
        highest
    }
}

#[cfg(test)]
mod tests {
    use super::{Settings, check_position, restart_position};
    use crate::capture::segment_start;

    const VALID: Settings = Settings {
        cache: 1,
        increment: 1,
        cycles: false,
    };

    #[test]
    fn only_consecutive_positions_are_accepted() {
        assert!(VALID.check().is_ok());
        let invalid = [
            Settings { cache: 2, ..VALID },
            Settings {
                increment: -1,
                ..VALID
            },
            Settings {
                cycles: true,
                ..VALID
            },
        ];
        for settings in invalid {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains("ALTER SEQUENCE"), "{error}");
        }
    }

    #[test]
    fn a_sequence_restarts_above_all_rows() {
        assert_eq!(restart_position(5, true), segment_start(1));
        assert_eq!(restart_position(segment_start(3), true), segment_start(4));
        assert_eq!(
            restart_position(segment_start(3) + 9, false),
            segment_start(3) + 9
        );
    }

    #[test]
    fn a_sequence_that_was_set_back_is_refused() {
        assert!(check_position(0, 0).is_ok());
        assert!(check_position(7, 6).is_ok());
        let error = check_position(5, 6).unwrap_err().to_string();
        assert!(
            error.contains("setval('outbox.message_position', 6)"),
            "{error}"
        );
    }
}
