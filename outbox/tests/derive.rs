//! Derived events.
#![allow(missing_docs, dead_code)]

use std::{borrow::Cow, fmt};

use outbox::{Event, EventType};
use serde::{Deserialize, Serialize};

/// Topic, type and version of an event.
fn described<E: EventType + ?Sized>() -> (&'static str, &'static str, u32) {
    (E::TOPIC, E::TYPE, E::VERSION)
}

fn key(event: &impl Event) -> Option<String> {
    event.key()
}

#[test]
fn type_and_version_have_defaults() {
    #[derive(Serialize, Event)]
    #[event(topic = "orders.placed", unkeyed)]
    struct Placed {
        order: i64,
    }

    assert_eq!(described::<Placed>(), ("orders.placed", "orders.placed", 1));
    assert_eq!(key(&Placed { order: 1 }), None);
}

#[test]
fn type_version_and_topic_are_taken_from_the_arguments() {
    mod names {
        pub(super) const TOPIC: &str = "orders.placed";
    }

    #[derive(Serialize, Event)]
    #[event(topic = names::TOPIC, type = "shop.Placed")]
    #[event(version = 2, unkeyed)]
    struct Placed;

    assert_eq!(described::<Placed>(), ("orders.placed", "shop.Placed", 2));
}

#[test]
fn a_consumed_type_needs_neither_serialize_nor_a_key() {
    #[derive(Deserialize, Event)]
    #[event(topic = "orders.placed", version = 3, consumed)]
    struct Placed<'a> {
        cents: Cow<'a, str>,
    }

    assert_eq!(
        described::<Placed<'_>>(),
        ("orders.placed", "orders.placed", 3)
    );
}

#[test]
fn a_field_is_the_key() {
    struct Customer(i64);

    impl fmt::Display for Customer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "customer-{}", self.0)
        }
    }

    #[derive(Serialize, Event)]
    #[event(topic = "orders.placed", key = customer)]
    struct Placed<'a> {
        #[serde(skip)]
        customer: &'a Customer,
    }

    #[derive(Serialize, Event)]
    #[event(topic = "orders.changed", key = 0.customer)]
    struct Changed<'a>(Placed<'a>);

    #[derive(Serialize, Event)]
    #[event(topic = "orders.gone", key = placed.customer.0)]
    struct Gone<'a> {
        placed: Placed<'a>,
    }

    let customer = Customer(7);
    let customer = &customer;
    assert_eq!(key(&Placed { customer }).as_deref(), Some("customer-7"));
    let changed = Changed(Placed { customer });
    assert_eq!(key(&changed).as_deref(), Some("customer-7"));
    let gone = Gone {
        placed: Placed { customer },
    };
    assert_eq!(key(&gone).as_deref(), Some("7"));
}

#[test]
fn an_option_is_the_key_or_none() {
    #[derive(Serialize, Event)]
    #[event(topic = "orders.placed", key = customer)]
    struct Placed<'a> {
        customer: Option<&'a str>,
    }

    let known = Placed {
        customer: Some("ann"),
    };
    assert_eq!(key(&known).as_deref(), Some("ann"));
    assert_eq!(key(&Placed { customer: None }), None);
}

#[test]
fn a_closure_makes_the_key() {
    #[derive(Serialize, Event)]
    #[event(topic = "orders.placed", key = |event| format!("{}/{}", event.tenant, event.customer))]
    struct Placed {
        tenant: &'static str,
        customer: i64,
    }

    #[derive(Serialize, Event)]
    #[event(topic = "orders.changed", key = |event| match event { Changed::Paid(order) => Some(order), Changed::All => None })]
    enum Changed {
        Paid(i64),
        All,
    }

    let placed = Placed {
        tenant: "a",
        customer: 7,
    };
    assert_eq!(key(&placed).as_deref(), Some("a/7"));
    assert_eq!(key(&Changed::Paid(3)).as_deref(), Some("3"));
    assert_eq!(key(&Changed::All), None);
}

#[test]
fn a_generic_type_keeps_its_bounds() {
    #[derive(Serialize, Event)]
    #[event(topic = "orders.changed", key = id)]
    struct Changed<Id: fmt::Display, Body, const N: usize>
    where
        Body: Default,
    {
        id: Id,
        body: [Body; 1],
    }

    #[derive(Deserialize, Event)]
    #[event(topic = "orders.changed", consumed)]
    struct Read<Body> {
        body: Body,
    }

    let changed = Changed::<_, _, 5> {
        id: 7_u8,
        body: [String::new()],
    };
    assert_eq!(key(&changed).as_deref(), Some("7"));
    assert_eq!(described::<Read<fn()>>().0, "orders.changed");
}

#[test]
fn a_macro_writes_events() {
    macro_rules! event {
        ($name:ident, $topic:expr, $version:literal, $field:ident) => {
            #[derive(Serialize, Event)]
            #[event(topic = $topic, version = $version, key = $field)]
            struct $name {
                $field: i64,
            }
        };
    }
    event!(Placed, "orders.placed", 4, order);

    assert_eq!(described::<Placed>(), ("orders.placed", "orders.placed", 4));
    assert_eq!(key(&Placed { order: 1 }).as_deref(), Some("1"));
}

#[test]
fn the_crate_may_have_another_name() {
    mod mine {
        pub(super) mod outbox {
            pub(in super::super) use ::outbox::*;
        }
    }

    #[derive(Serialize, mine::outbox::Event)]
    #[event(crate = "mine::outbox", topic = "orders.placed", key = order)]
    struct Placed {
        order: i64,
    }

    assert_eq!(key(&Placed { order: 1 }).as_deref(), Some("1"));
}
