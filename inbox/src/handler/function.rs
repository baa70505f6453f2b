//! Async functions and closures as handlers.

use super::{BatchContext, BatchHandler, Handler, Received, arity::each_arity};
use crate::Context;

macro_rules! implement_handlers {
    ($($T:ident)*) => {
        #[allow(non_snake_case, reason = "a value has the name of its type")]
        impl<F, Work, E, $($T,)*> Handler<E, ($($T,)*)> for F
        where
            F: Fn(Context, $($T,)* E) -> Work,
        {
            type Future = Work;

            fn handle(&self, context: Context, ($($T,)*): ($($T,)*), event: E) -> Work {
                self(context, $($T,)* event)
            }
        }

        #[allow(non_snake_case, reason = "a value has the name of its type")]
        impl<F, Work, E, $($T,)*> BatchHandler<E, ($($T,)*)> for F
        where
            F: Fn(BatchContext, $($T,)* Vec<Received<E>>) -> Work,
        {
            type Future = Work;

            fn handle(
                &self,
                context: BatchContext,
                ($($T,)*): ($($T,)*),
                events: Vec<Received<E>>,
            ) -> Work {
                self(context, $($T,)* events)
            }
        }
    };
}

each_arity!(implement_handlers);
