//! The state that handlers share.

use crate::ConsumerBuilder;

impl ConsumerBuilder {
    /// Sets the state that handlers share: a service's settings, clients and caches.
    ///
    /// A handler takes the state, or a part of it, as [`State`](crate::extract::State). Call this function before the
    /// handlers that do so are added; handlers that take no state may be added before or after. The state is cloned
    /// for each handler that takes it and each message, so it should be cheap to clone, such as an `Arc`. The pool of
    /// the database belongs in it only for reads outside the message's transaction.
    pub fn with_state<S>(self, state: S) -> ConsumerBuilder<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        ConsumerBuilder {
            name: self.name,
            pool: self.pool,
            amqp_url: self.amqp_url,
            tls: self.tls,
            allow_plaintext: self.allow_plaintext,
            topology: self.topology,
            prefetch: self.prefetch,
            workers: self.workers,
            messages_per_transaction: self.messages_per_transaction,
            parked_workers: self.parked_workers,
            partitions: self.partitions,
            router: self.router,
            keys: self.keys,
            duplicate_type: self.duplicate_type,
            has_two_fallbacks: self.has_two_fallbacks,
            layers: self.layers,
            admission_layers: self.admission_layers,
            fates: self.fates,
            outbox: self.outbox,
            prepared_statements: self.prepared_statements,
            limits: self.limits,
            trust: self.trust,
            untrusted_kept: self.untrusted_kept,
            handler_timeout: self.handler_timeout,
            grace: self.grace,
            window: self.window,
            skew: self.skew,
            spans: self.spans,
            keep_replies: self.keep_replies,
            state,
        }
    }
}
