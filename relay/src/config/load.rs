//! Reading the configuration.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Config, Secret,
    environment::{ENVIRONMENT, set},
};

/// Why the configuration was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("reading the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is no configuration.
    #[error("configuration {origin}: {message}")]
    Invalid {
        /// The file and the line, or the environment variable.
        origin: String,
        /// What is wrong.
        message: String,
    },
    /// A URL is missing.
    #[error(
        "no {section}.url: set it in the file, or set {variable}, or {variable}_FILE to a file that holds it"
    )]
    MissingUrl {
        /// Section of the file.
        section: &'static str,
        /// Environment variable.
        variable: &'static str,
    },
    /// A value is out of its range.
    #[error("configuration {key} = {value}: must be {range}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        range: &'static str,
    },
}

impl Config {
    /// Reads a file, if one is given, and lets `environment` override it.
    ///
    /// # Errors
    /// Fails if the file cannot be read, holds an unknown key or a value of the wrong kind, or if
    /// a URL is missing.
    pub fn load(
        file: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut table = match file {
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
                    path: path.to_owned(),
                    source,
                })?;
                // Once by itself, so that an error names the line in the file. The line itself is
                // not shown: it may hold a password.
                let invalid = |error: toml::de::Error| ConfigError::Invalid {
                    origin: place(path, &text, &error),
                    message: one_line(&error),
                };
                toml::from_str::<Self>(&text).map_err(invalid)?;
                toml::from_str::<toml::Table>(&text).map_err(invalid)?
            }
            None => toml::Table::new(),
        };
        for &(variable, section, key) in ENVIRONMENT {
            if let Some(text) = environment(variable) {
                set(&mut table, section, key, &text);
                toml::Value::Table(table.clone())
                    .try_into::<Self>()
                    .map_err(|error| ConfigError::Invalid {
                        origin: variable.to_owned(),
                        message: one_line(&error),
                    })?;
            }
        }
        let mut config: Self =
            toml::Value::Table(table)
                .try_into()
                .map_err(|error: toml::de::Error| ConfigError::Invalid {
                    origin: "values".to_owned(),
                    message: one_line(&error),
                })?;
        config.read_url_files()?;
        config.check()?;
        Ok(config)
    }

    /// The database's URL.
    ///
    /// # Errors
    /// Fails if none is set.
    pub fn database_url(&self) -> Result<&Secret, ConfigError> {
        let missing = ConfigError::MissingUrl {
            section: "database",
            variable: "POSTROOM_DATABASE_URL",
        };
        self.database.url.as_ref().ok_or(missing)
    }

    /// The broker's URL.
    ///
    /// # Errors
    /// Fails if none is set.
    pub fn amqp_url(&self) -> Result<&Secret, ConfigError> {
        let missing = ConfigError::MissingUrl {
            section: "amqp",
            variable: "POSTROOM_AMQP_URL",
        };
        self.amqp.url.as_ref().ok_or(missing)
    }

    pub(crate) fn read_url_files(&mut self) -> Result<(), ConfigError> {
        let files = [
            (&self.database.url_file, &mut self.database.url),
            (&self.amqp.url_file, &mut self.amqp.url),
        ];
        for (file, url) in files {
            if let (Some(path), None) = (file, &url) {
                let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
                    path: path.clone(),
                    source,
                })?;
                *url = Some(Secret::from(text.trim()));
            }
        }
        Ok(())
    }
}

/// The file and the line that an error points to.
fn place(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let path = path.display();
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => format!("{path}, line {}", before.matches('\n').count() + 1),
        None => path.to_string(),
    }
}

fn one_line(error: &toml::de::Error) -> String {
    let text = error.message().trim().replace('\n', ": ");
    if text.ends_with("expected a duration") {
        return format!("{text} such as 500ms, 10s or 2h");
    }
    text
}

#[cfg(test)]
mod tests;
