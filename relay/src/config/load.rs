//! Reading the configuration.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Config, Secret,
    environment::{ENVIRONMENT, set},
};

/// Error of the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("reading the configuration {}: {source}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The text is not a valid configuration.
    #[error("configuration {origin}: {message}")]
    Invalid {
        /// File and line, or environment variable.
        origin: String,
        /// Description of the error.
        message: String,
    },
    /// A URL is missing.
    #[error(
        "no {section}.url: set it in the file, or set {variable}, or {variable}_FILE to a file that holds it"
    )]
    MissingUrl {
        /// Section of the configuration file.
        section: &'static str,
        /// Environment variable that sets the URL.
        variable: &'static str,
    },
    /// A value is out of its range.
    #[error("configuration {key} = {value}: must be {range}")]
    OutOfRange {
        /// Key in the form `section.key`.
        key: &'static str,
        /// The refused value.
        value: String,
        /// The allowed range.
        range: &'static str,
    },
}

impl Config {
    /// Reads a file, if one is given, and overrides its values by `environment`.
    ///
    /// # Errors
    /// Fails if the file cannot be read, holds an unknown key, a value of the wrong kind or a value out of
    /// range, or if a URL file cannot be read.
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
                // The file is parsed alone first, so that an error names the line in the file. The line is
                // not shown, because it may hold a password.
                let invalid = |error: toml::de::Error| ConfigError::Invalid {
                    origin: location(path, &text, &error),
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

    /// Returns the database's URL.
    ///
    /// # Errors
    /// Fails if no URL is set.
    pub fn database_url(&self) -> Result<&Secret, ConfigError> {
        let missing = ConfigError::MissingUrl {
            section: "database",
            variable: "POSTROOM_DATABASE_URL",
        };
        self.database.url.as_ref().ok_or(missing)
    }

    /// Returns the broker's URL.
    ///
    /// # Errors
    /// Fails if no URL is set.
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

/// Returns the file and the line of an error.
fn location(path: &Path, text: &str, error: &toml::de::Error) -> String {
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
