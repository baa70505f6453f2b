//! Checks of the settings when a consumer is built.

use outbox::HeaderValue;
use sqlx::PgPool;

use crate::{
    BuildError, ConsumerBuilder,
    dedup::{MAX_SKEW, MAX_WINDOW},
    intake::DELIVERY_LIMIT,
};

/// Longest name in bytes that AMQP short strings and the tables can hold.
const NAME_BYTES: usize = 255;

/// Connections that a consumer needs beside one for each worker: one, for the janitor.
const SPARE_CONNECTIONS: usize = 1;

impl<S> ConsumerBuilder<S> {
    pub(super) fn check_names(&self) -> Result<(), BuildError> {
        let topology = &self.topology;
        let names = [
            ("consumer", &self.name),
            ("queue", &topology.queue),
            ("exchange", &topology.exchange),
        ];
        let bindings = topology.bindings.iter().map(|name| ("binding", name));
        let own = topology
            .own_exchange
            .iter()
            .map(|name| ("own exchange", name));
        let arguments = topology.arguments.keys();
        let arguments = arguments.map(|name| ("queue argument", name));
        for (what, name) in names
            .into_iter()
            .chain(own)
            .chain(bindings)
            .chain(arguments)
        {
            if name.is_empty() || name.len() > NAME_BYTES || name.contains('\0') {
                return Err(BuildError::Name {
                    consumer: self.name.clone(),
                    what,
                    name: name.clone(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn check_handlers(&self) -> Result<(), BuildError> {
        if let Some(type_name) = self.duplicate_type {
            return Err(BuildError::TwoHandlers {
                consumer: self.name.clone(),
                type_name,
            });
        }
        if self.has_two_fallbacks {
            return Err(BuildError::TwoFallbacks(self.name.clone()));
        }
        if self.router.is_empty() && self.keep_replies.is_none() {
            return Err(BuildError::NoHandler(self.name.clone()));
        }
        Ok(())
    }

    /// Refuses layers around one message where a call or a transaction has many.
    pub(super) fn check_layers(&self) -> Result<(), BuildError> {
        let consumer = || self.name.clone();
        if self.router.has_many() && !self.layers.is_empty() {
            return Err(BuildError::LayerOfMany {
                consumer: consumer(),
            });
        }
        if self.group_size() > 1 && !self.admission_layers.is_empty() {
            return Err(BuildError::AdmissionOfMany {
                consumer: consumer(),
            });
        }
        Ok(())
    }

    pub(super) fn check_counts(&self) -> Result<(), BuildError> {
        let counts = [
            ("prefetch", self.prefetch.map_or(1, u64::from)),
            ("messages_per_transaction", self.group_size() as u64),
            ("workers", self.workers as u64),
            ("parked_workers", self.parked_workers as u64),
            ("attempts_in_place", self.limits.attempts_in_place.into()),
            ("max_attempts", self.limits.max_attempts.into()),
            ("max_crashes", self.limits.max_crashes),
            ("handler_timeout", zero_only_if_zero(self.handler_timeout)),
            ("dedup_window", zero_only_if_zero(self.window)),
        ];
        for (setting, count) in counts {
            if count == 0 {
                return Err(BuildError::Zero {
                    consumer: self.name.clone(),
                    setting,
                });
            }
        }
        Ok(())
    }

    pub(super) fn check_window(&self) -> Result<(), BuildError> {
        if self.window > MAX_WINDOW || self.skew > MAX_SKEW {
            return Err(BuildError::Window {
                consumer: self.name.clone(),
                window: self.window,
                skew: self.skew,
            });
        }
        Ok(())
    }

    pub(super) fn check_trust(&self) -> Result<(), BuildError> {
        let consumer = || self.name.clone();
        if self.trust.is_empty() {
            return Err(BuildError::NobodyTrusted {
                consumer: consumer(),
            });
        }
        match self.trust.invalid() {
            Some(pattern) => Err(BuildError::Publisher {
                consumer: consumer(),
                pattern: pattern.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Refuses arguments with which the broker drops messages that it has confirmed.
    pub(super) fn check_queue_arguments(&self) -> Result<(), BuildError> {
        let arguments = &self.topology.arguments;
        let dead_letters = arguments.contains_key("x-dead-letter-exchange");
        let rejects = arguments.get("x-overflow").is_some_and(|overflow| {
            matches!(overflow, HeaderValue::Text(text) if text.starts_with("reject-publish"))
        });
        for (argument, value) in arguments {
            let limited = !matches!(value, HeaderValue::Int(limit) if *limit < 0);
            let instead = match argument.as_str() {
                DELIVERY_LIMIT if limited && !dead_letters => {
                    "leave it out, use -1, or name an x-dead-letter-exchange"
                }
                "x-max-length" | "x-max-length-bytes" if !rejects && !dead_letters => {
                    "add x-overflow = reject-publish, so that relays keep what finds no room, or name an x-dead-letter-exchange"
                }
                "x-message-ttl" if !dead_letters => {
                    "leave it out, let publishers set expires_at, or name an x-dead-letter-exchange"
                }
                // A stream starts a new subscription at the next message, so each reconnect would skip some.
                "x-queue-type" => "leave it out and use `queue_kind`",
                "x-expires" => "leave it out: the queue would be gone while the consumer is away",
                _ => continue,
            };
            return Err(BuildError::DropsMessages {
                consumer: self.name.clone(),
                argument: argument.clone(),
                instead,
            });
        }
        Ok(())
    }

    pub(super) fn pool(&self) -> Result<PgPool, BuildError> {
        let pool = self.pool.as_ref();
        let pool = pool.ok_or_else(|| self.missing("database"))?;
        let connections = pool.options().get_max_connections();
        let workers = self.workers.saturating_add(self.parked_workers);
        let needed = workers.saturating_add(SPARE_CONNECTIONS);
        if (connections as usize) < needed {
            return Err(BuildError::Pool {
                consumer: self.name.clone(),
                connections,
                workers,
                needed,
            });
        }
        Ok(pool.clone())
    }

    pub(super) fn missing(&self, setting: &'static str) -> BuildError {
        BuildError::Missing {
            consumer: self.name.clone(),
            setting,
        }
    }
}

/// Returns 0 for a duration of zero, else 1, so that durations share the check of the counts.
const fn zero_only_if_zero(duration: std::time::Duration) -> u64 {
    if duration.is_zero() { 0 } else { 1 }
}

#[cfg(test)]
mod tests;
