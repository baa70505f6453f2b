//! The functions that make the idempotency keys of events, by the type of the event.

use std::{
    any::{Any, TypeId},
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::Received;
use crate::{
    Delivery, Remember,
    idempotency::{EventKey, EventKeys},
};

type MakeKey<E> = Box<dyn Fn(&E) -> Option<String> + Send + Sync>;

/// The function that makes the idempotency key of an event, and the time for which keys are remembered.
pub(crate) struct KeyFunction<E> {
    pub(crate) type_name: &'static str,
    pub(crate) remember: Remember,
    pub(crate) key: MakeKey<E>,
}

impl<E> KeyFunction<E> {
    fn keys<'e>(&self, events: impl Iterator<Item = (&'e E, &'e Delivery)>) -> Option<EventKeys>
    where
        E: 'e,
    {
        let keys = events.enumerate();
        let keys = keys.filter_map(|(position, (event, delivery))| {
            EventKey::new(position, (self.key)(event)?, delivery)
        });
        let keys: Vec<EventKey> = keys.collect();
        (!keys.is_empty()).then_some(EventKeys {
            type_name: self.type_name,
            remember: self.remember,
            keys,
        })
    }
}

/// Place of the key function of events `E`, which their handlers share: handlers and function may be added in any
/// order.
pub(crate) struct KeySlot<E>(Arc<OnceLock<KeyFunction<E>>>);

impl<E> KeySlot<E> {
    /// Returns the key of an event; `None` if it has none.
    pub(super) fn key_of(&self, event: &E, delivery: &Delivery) -> Option<EventKeys> {
        self.0.get()?.keys([(event, delivery)].into_iter())
    }

    /// Returns the keys of a batch's events; `None` if none of them has one.
    pub(super) fn keys_of(&self, events: &[Received<E>]) -> Option<EventKeys> {
        let events = events.iter();
        self.0
            .get()?
            .keys(events.map(|received| (&received.event, received.delivery())))
    }
}

impl<E> Clone for KeySlot<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The key functions of a consumer's events.
#[derive(Default)]
pub(crate) struct Keys {
    /// In the order in which the types were first named.
    types: Vec<EventType>,
    /// A mistake in the functions themselves, with the name of the type.
    mistake: Option<(&'static str, KeyMistake)>,
}

/// A Rust type of events. Several may have one type name: those of different versions of a body.
struct EventType {
    id: TypeId,
    name: &'static str,
    /// A `KeySlot` of the type.
    slot: Box<dyn Any + Send + Sync>,
    has_handler: bool,
    has_function: bool,
}

/// A mistake in the key functions, found when the consumer is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyMistake {
    /// A type has two functions.
    Twice,
    /// No handler takes the type of a function.
    NoHandler,
    /// Another version of the type has a handler and no function.
    Missing,
    /// The keys are remembered for a duration of zero.
    Zero,
}

impl Keys {
    /// Returns the slot of events `E` for one of their handlers. `name` is the name of the event's type.
    pub(crate) fn slot<E: 'static>(&mut self, name: &'static str) -> KeySlot<E> {
        let event_type = self.event_type::<E>(name);
        event_type.has_handler = true;
        event_type.slot()
    }

    /// Sets the key function of events `E`.
    pub(crate) fn set<E: 'static>(&mut self, function: KeyFunction<E>) {
        let name = function.type_name;
        if function.remember == Remember::For(Duration::ZERO) {
            self.mistake = Some((name, KeyMistake::Zero));
        }
        let event_type = self.event_type::<E>(name);
        event_type.has_function = true;
        if event_type.slot::<E>().0.set(function).is_err() {
            self.mistake = Some((name, KeyMistake::Twice));
        }
    }

    /// Returns `true` if any event has a key function.
    pub(crate) fn is_used(&self) -> bool {
        self.types.iter().any(|event_type| event_type.has_function)
    }

    /// Returns the first mistake, with the name of its type.
    pub(crate) fn mistake(&self) -> Option<(&'static str, KeyMistake)> {
        if self.mistake.is_some() {
            return self.mistake;
        }
        let with_function = || self.types.iter().filter(|of| of.has_function);
        if let Some(of) = with_function().find(|of| !of.has_handler) {
            return Some((of.name, KeyMistake::NoHandler));
        }
        let mut without = self.types.iter().filter(|of| !of.has_function);
        let missing = without.find(|of| with_function().any(|other| other.name == of.name));
        missing.map(|of| (of.name, KeyMistake::Missing))
    }

    fn event_type<E: 'static>(&mut self, name: &'static str) -> &mut EventType {
        let id = TypeId::of::<E>();
        let known = self.types.iter().position(|of| of.id == id);
        let place = known.unwrap_or_else(|| {
            self.types.push(EventType {
                id,
                name,
                slot: Box::new(KeySlot::<E>(Arc::default())),
                has_handler: false,
                has_function: false,
            });
            self.types.len() - 1
        });
        &mut self.types[place]
    }
}

impl EventType {
    fn slot<E: 'static>(&self) -> KeySlot<E> {
        // The box was made for the type of this id.
        let slot = self.slot.downcast_ref::<KeySlot<E>>();
        slot.map_or_else(|| KeySlot(Arc::default()), KeySlot::clone)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.types.iter().map(|of| of.name);
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyFunction, KeyMistake, Keys};
    use crate::{Delivery, Incoming, Remember};

    struct First(u32);
    struct Second;

    fn function<E: 'static>(key: fn(&E) -> Option<String>) -> KeyFunction<E> {
        KeyFunction {
            type_name: "orders.placed",
            remember: Remember::Forever,
            key: Box::new(key),
        }
    }

    #[test]
    fn a_function_is_found_by_handlers_that_were_added_before_and_after() {
        let mut keys = Keys::default();
        assert!(!keys.is_used());
        let before = keys.slot::<First>("orders.placed");
        keys.set(function::<First>(|event| {
            (event.0 > 0).then(|| event.0.to_string())
        }));
        let after = keys.slot::<First>("orders.placed");
        assert!(keys.is_used());
        assert_eq!(keys.mistake(), None);
        let delivery = Delivery::new(Incoming::default(), Vec::new());
        for slot in [before, after] {
            let found = slot.key_of(&First(7), &delivery).unwrap();
            assert_eq!(found.keys[0].text, "7");
            assert!(slot.key_of(&First(0), &delivery).is_none());
        }
    }

    #[test]
    fn a_function_that_is_never_called_or_missing_is_a_mistake() {
        let mut keys = Keys::default();
        keys.set(function::<First>(|_| None));
        assert_eq!(
            keys.mistake(),
            Some(("orders.placed", KeyMistake::NoHandler))
        );
        keys.slot::<First>("orders.placed");
        assert_eq!(keys.mistake(), None);
        keys.slot::<Second>("orders.paid");
        assert_eq!(keys.mistake(), None);
        keys.set(function::<First>(|_| None));
        assert_eq!(keys.mistake(), Some(("orders.placed", KeyMistake::Twice)));
        let mut keys = Keys::default();
        keys.set(function::<First>(|_| None));
        keys.slot::<First>("orders.placed");
        keys.slot::<Second>("orders.placed");
        assert_eq!(keys.mistake(), Some(("orders.placed", KeyMistake::Missing)));
        keys.set(function::<Second>(|_| None));
        assert_eq!(keys.mistake(), None);
    }
}
