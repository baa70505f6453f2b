//! The sequence of positions, on which capture rests: whoever gets a position later gets a higher one.

use crate::capture::{Position, segment_end, segment_of};

/// Why rows could be written where nobody looks for them any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SequenceError {
    /// Positions are not handed out one after another.
    #[error(
        "the sequence outbox.message_position has CACHE {cache} INCREMENT {increment}{}: positions are not handed out in their order, and messages would be lost. As its owner: ALTER SEQUENCE outbox.message_position CACHE 1 INCREMENT 1 NO CYCLE; then have all producers connect anew",
        if *cycles { " CYCLE" } else { "" }
    )]
    Settings {
        /// Positions that a session takes at once.
        cache: i64,
        /// From one to the next.
        increment: i64,
        /// Whether it begins again.
        cycles: bool,
    },
    /// Positions are handed out a second time.
    #[error(
        "the sequence outbox.message_position was set back: it stands at {stands}, and positions up to {known} were handed out. What is written now would be taken for delivered. As its owner: SELECT setval('outbox.message_position', {known}); then write again what was written meanwhile (docs/operations.md, \"By hand\"). If the rows came from another database without their sequence: `relay rebase --force`"
    )]
    SetBack {
        /// Where it stands.
        stands: Position,
        /// Highest position that is known to have been handed out.
        known: Position,
    },
}

/// How a sequence hands out numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) cache: i64,
    pub(crate) increment: i64,
    pub(crate) cycles: bool,
}

impl Settings {
    /// Checks that whoever gets a number later gets a higher one.
    pub(crate) const fn check(self) -> Result<(), SequenceError> {
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

/// Checks that the sequence stands at or above the highest position known to have been handed out.
pub(crate) const fn check_position(stands: Position, known: Position) -> Result<(), SequenceError> {
    if stands < known {
        return Err(SequenceError::SetBack { stands, known });
    }
    Ok(())
}

/// Where a sequence that stands below the rows must stand: at the start of the segment after theirs, if
/// its leaf is empty, else at the highest of them.
pub(crate) const fn beyond(highest: Position, next_is_empty: bool) -> Position {
    if next_is_empty {
        segment_end(segment_of(highest)) + 1
    } else {
        highest
    }
}

#[cfg(test)]
mod tests {
    use super::{Settings, beyond, check_position};
    use crate::capture::segment_start;

    const RIGHT: Settings = Settings {
        cache: 1,
        increment: 1,
        cycles: false,
    };

    #[test]
    fn only_one_way_of_handing_out_is_right() {
        assert!(RIGHT.check().is_ok());
        let wrong = [
            Settings { cache: 2, ..RIGHT },
            Settings {
                increment: -1,
                ..RIGHT
            },
            Settings {
                cycles: true,
                ..RIGHT
            },
        ];
        for settings in wrong {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains("ALTER SEQUENCE"), "{error}");
        }
    }

    #[test]
    fn a_sequence_goes_on_beyond_all_rows() {
        assert_eq!(beyond(5, true), segment_start(1));
        assert_eq!(beyond(segment_start(3), true), segment_start(4));
        assert_eq!(beyond(segment_start(3) + 9, false), segment_start(3) + 9);
    }

    #[test]
    fn a_sequence_never_goes_back() {
        assert!(check_position(0, 0).is_ok());
        assert!(check_position(7, 6).is_ok());
        let error = check_position(5, 6).unwrap_err().to_string();
        assert!(
            error.contains("setval('outbox.message_position', 6)"),
            "{error}"
        );
    }
}
