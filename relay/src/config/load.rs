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

    fn read_url_files(&mut self) -> Result<(), ConfigError> {
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
    error.message().trim().replace('\n', ": ")
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::{Config, ENVIRONMENT};
    use crate::config::unknown;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let name = format!(
            "postroom-config-{}-{:?}.toml",
            std::process::id(),
            std::thread::current().id()
        );
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        let lookup = |name: &str| {
            environment
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let loaded = Config::load(Some(&path), lookup).map_err(|error| error.to_string());
        fs::remove_file(path).unwrap();
        loaded
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let config = load(
            "[amqp]\nexchange = 'shop'\nchannels = 2\n[lease]\ntimeout = '3s'",
            &[
                ("POSTROOM_AMQP_CHANNELS", "7"),
                ("POSTROOM_PUBLISH_DROP_UNROUTABLE", "a.#, b"),
            ],
        )
        .unwrap();
        assert_eq!(config.amqp.exchange, "shop");
        assert_eq!(config.amqp.channels, 7);
        assert_eq!(config.lease.timeout, Duration::from_secs(3));
        assert_eq!(config.publish.drop_unroutable, ["a.#", "b"]);
    }

    #[test]
    fn a_list_may_be_written_as_in_the_file() {
        let dropped = |text| {
            let loaded = load("", &[("POSTROOM_PUBLISH_DROP_UNROUTABLE", text)]);
            loaded.map(|config| config.publish.drop_unroutable)
        };
        assert_eq!(dropped("['a.#', \"b\"]").unwrap(), ["a.#", "b"]);
        let error = dropped("['a.#', ").unwrap_err();
        assert!(
            error.contains("POSTROOM_PUBLISH_DROP_UNROUTABLE"),
            "{error}"
        );
    }

    #[test]
    fn what_the_environment_says_of_a_url_goes_before_the_file() {
        let secret = std::env::temp_dir().join(format!("postroom-url-{}", std::process::id()));
        fs::write(&secret, "amqp://from-a-secret\n").unwrap();
        let name = secret.to_str().unwrap();
        let url = |environment: &[(&str, &str)]| {
            let config = load("[amqp]\nurl = 'amqp://from-the-file'", environment).unwrap();
            config.amqp_url().unwrap().expose().to_owned()
        };
        let file = ("POSTROOM_AMQP_URL_FILE", name);
        let direct = ("POSTROOM_AMQP_URL", "amqp://from-the-environment");
        assert_eq!(url(&[]), "amqp://from-the-file");
        assert_eq!(url(&[file]), "amqp://from-a-secret");
        assert_eq!(url(&[direct]), "amqp://from-the-environment");
        assert_eq!(url(&[direct, file]), "amqp://from-the-environment");
        fs::remove_file(secret).unwrap();
    }

    #[test]
    fn variables_that_are_spelt_wrong_are_found() {
        let variables = [
            "POSTROOM_LEASE_TIMEOOT",
            "POSTROOM_LEASE_TIMEOUT",
            "POSTROOM_CONFIG",
            "POSTROOM_AMQP_ADMIN_URL",
            "POSTROOM_LEASES",
            "HOME",
        ];
        let unknown = unknown(variables.map(str::to_owned).into_iter());
        assert_eq!(unknown, ["POSTROOM_LEASE_TIMEOOT"]);
    }

    /// `packaging/relay.toml` with all that is commented out.
    #[test]
    fn the_packaged_file_names_every_key_and_its_default() {
        let packaged = include_str!("../../../packaging/relay.toml");
        let whole = packaged.replace("\n#", "\n").replace("\n ", "\n# ");
        let mut table: toml::Table = toml::from_str(&whole).unwrap();
        let config: Config = toml::Value::Table(table.clone()).try_into().unwrap();
        let mut defaults = Config::default();
        defaults.database.url_file = config.database.url_file.clone();
        defaults.amqp.url_file = config.amqp.url_file.clone();
        assert_eq!(format!("{config:?}"), format!("{defaults:?}"));
        for (variable, section, key) in ENVIRONMENT {
            let section = table[*section].as_table_mut().unwrap();
            assert!(
                *key == "url" || section.remove(*key).is_some(),
                "{variable}"
            );
        }
        assert!(
            table
                .values()
                .all(|section| section.as_table().unwrap().is_empty())
        );
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let error = load("[amqp]\nexchnge = 'shop'", &[]).unwrap_err();
        assert!(
            error.contains("exchnge") && error.contains("line 2"),
            "{error}"
        );
        let error = load("", &[("POSTROOM_AMQP_CHANNELS", "many")]).unwrap_err();
        assert!(error.contains("POSTROOM_AMQP_CHANNELS"), "{error}");
        let error = load("[lease]\ntimeout = '10ms'", &[]).unwrap_err();
        assert!(
            error.contains("lease.timeout") && error.contains("at least 1s"),
            "{error}"
        );
        for (section, mistake) in [
            ("retention", "check_interval = '0s'"),
            ("retention", "segment_rows = -1"),
            ("amqp", "confirm_timeout = '0s'"),
            ("publish", "retry_longest = '500ms'"),
            ("capture", "poll_longest = '1ms'"),
        ] {
            let error = load(&format!("[{section}]\n{mistake}"), &[]).unwrap_err();
            let key = format!("{section}.{}", mistake.split(' ').next().unwrap());
            assert!(
                error.contains(&key) && error.contains("at least"),
                "{error}"
            );
        }
        let error = load("", &[]).unwrap().amqp_url().unwrap_err().to_string();
        assert!(error.contains("POSTROOM_AMQP_URL"), "{error}");
    }

    #[test]
    fn every_variable_sets_a_key_that_exists() {
        for (variable, section, key) in ENVIRONMENT {
            let value = match *key {
                "url" | "exchange" | "source" | "filter" | "url_file" | "drop_unroutable" => "x",
                "declare_exchange" => "false",
                "listen" => "127.0.0.1:1",
                "format" => "json",
                "page_bytes" => "3000",
                "channels" | "batch" | "page_rows" | "window_rows" | "window_bytes"
                | "key_rows" | "segment_rows" => "3",
                _ => "2s",
            };
            let mut environment = vec![(*variable, value)];
            if *key == "url_file" {
                environment[0].1 = "/dev/null";
            }
            if *key == "poll_shortest" {
                environment.push(("POSTROOM_CAPTURE_POLL_LONGEST", "2s"));
            }
            load("", &environment).unwrap_or_else(|error| panic!("{section}.{key}: {error}"));
        }
    }
}
