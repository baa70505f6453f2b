//! `relay migrate`.

use std::process::ExitCode;

use clap::Args;
use migrations::{MIGRATIONS, ROLES};

use super::config_args::{ConfigArgs, say};
use crate::admin::migrate;

/// Command-line options of `relay migrate`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print the SQL that would be applied to an empty database, and apply nothing
    #[arg(long)]
    print: bool,
    /// Also create the roles and grants of migrations/roles.sql; needs CREATEROLE unless the roles exist
    #[arg(long)]
    roles: bool,
}

pub(super) async fn run(source: &ConfigArgs, options: &Options) -> anyhow::Result<ExitCode> {
    if options.print {
        for migration in MIGRATIONS {
            say(migration.sql)?;
        }
        if options.roles {
            say(ROLES)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let config = source.load()?;
    let mut connection = migrate::connect(&config).await?;
    for migration in MIGRATIONS {
        let applied = migrate::apply(&mut connection, migration).await?;
        let when = if applied.now {
            "applied"
        } else {
            "is applied already"
        };
        say(format!("{} {when}", applied.name))?;
    }
    if options.roles {
        migrate::create_roles(&mut connection).await?;
        say("roles applied")?;
    }
    Ok(ExitCode::SUCCESS)
}
