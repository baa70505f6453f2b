//! The kind of server that is asked for.

use sqlx::{PgConnection, Row as _};

use crate::sql::SERVER_STATE;

/// Kind of server that is asked for, `target_session_attrs` of libpq.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetSession {
    /// Any server, `any`.
    #[default]
    Any,
    /// A server whose sessions may write, `read-write`.
    ReadWrite,
    /// A server whose sessions may not write, `read-only`.
    ReadOnly,
    /// A server that is no standby, `primary`.
    Primary,
    /// A standby, `standby`.
    Standby,
    /// A standby if there is one, else any server, `prefer-standby`.
    PreferStandby,
}

impl TargetSession {
    pub(super) const VALUES: &str =
        "must be any, read-write, read-only, primary, standby or prefer-standby";

    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "any" => Self::Any,
            "read-write" => Self::ReadWrite,
            "read-only" => Self::ReadOnly,
            "primary" => Self::Primary,
            "standby" => Self::Standby,
            "prefer-standby" => Self::PreferStandby,
            _ => return None,
        })
    }

    /// Returns the kinds to look for, one after the other, each on all servers.
    pub(super) const fn passes(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any],
            Self::ReadWrite => &[Self::ReadWrite],
            Self::ReadOnly => &[Self::ReadOnly],
            Self::Primary => &[Self::Primary],
            Self::Standby => &[Self::Standby],
            Self::PreferStandby => &[Self::Standby, Self::Any],
        }
    }

    /// Compares a server's state; returns the reason if the server is another kind than asked for.
    const fn judge(self, in_recovery: bool, reads_only: bool) -> Result<(), &'static str> {
        match self {
            Self::ReadWrite | Self::Primary if in_recovery => Err("is a standby"),
            Self::ReadWrite if reads_only => Err("takes no writes (default_transaction_read_only)"),
            Self::ReadOnly if !in_recovery && !reads_only => Err("takes writes"),
            Self::Standby if !in_recovery => Err("is no standby"),
            _ => Ok(()),
        }
    }

    /// Asks a server for its state; returns the reason if the server is another kind than asked for.
    pub(crate) async fn check(
        self,
        connection: &mut PgConnection,
    ) -> Result<Result<(), &'static str>, sqlx::Error> {
        if matches!(self, Self::Any | Self::PreferStandby) {
            return Ok(Ok(()));
        }
        // A simple query, which every pooler accepts outside of a transaction.
        let state = sqlx::raw_sql(SERVER_STATE).fetch_one(connection).await?;
        let (in_recovery, read_only): (bool, String) = (state.try_get(0)?, state.try_get(1)?);
        Ok(self.judge(in_recovery, read_only == "on"))
    }
}

#[cfg(test)]
mod tests {
    use super::TargetSession::{self, Any, Primary, ReadOnly, ReadWrite, Standby};

    #[test]
    fn each_kind_takes_the_servers_that_libpq_takes() {
        // A primary, a primary that only reads, a standby.
        let servers = [(false, false), (false, true), (true, true)];
        let taken = |target: TargetSession| {
            servers.map(|(in_recovery, reads_only)| target.judge(in_recovery, reads_only).is_ok())
        };
        assert_eq!(taken(Any), [true, true, true]);
        assert_eq!(taken(ReadWrite), [true, false, false]);
        assert_eq!(taken(ReadOnly), [false, true, true]);
        assert_eq!(taken(Primary), [true, true, false]);
        assert_eq!(taken(Standby), [false, false, true]);
        assert_eq!(TargetSession::PreferStandby.passes(), [Standby, Any]);
    }
}
