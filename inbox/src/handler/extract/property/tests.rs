//! Tests of the extractors.

use chrono::DateTime;

use super::{
    Attempt, Body, CausationId, CorrelationId, Id, MissingProperty, OccurredAt, OrderingKey,
};
use crate::{
    Delivery, HandlerError,
    extract::{Extractors, FromRef, Headers, Incoming, State},
    handler::HandlerFailure,
};

fn extract<T: Extractors<()>>(delivery: &Delivery) -> Result<T, HandlerError> {
    T::extract(delivery, &())
}

fn full() -> Delivery {
    let mut message = Incoming::default();
    message.message_id = Some("m-1".into());
    message.correlation_id = Some("process".into());
    message.causation_id = Some("m-0".into());
    message.key = Some("ann".into());
    message.occurred_at = DateTime::from_timestamp(1, 0);
    message.headers.set("tenant", "north");
    Delivery::new(message, *b"{}").with_attempt(2)
}

#[test]
fn each_property_is_extracted() {
    let delivery = full();
    let (Id(id), CorrelationId(process), CausationId(cause), OrderingKey(key)) =
        extract(&delivery).unwrap();
    assert_eq!(
        [id, process, cause, key],
        ["m-1", "process", "m-0", "ann"].map(str::to_owned)
    );
    let (OccurredAt(time), Attempt(attempt), Body(body)) = extract(&delivery).unwrap();
    assert_eq!((time.timestamp(), attempt, &*body), (1, 2, &b"{}"[..]));
    let (headers, message, same): (Headers, Incoming, Delivery) = extract(&delivery).unwrap();
    assert_eq!(headers.text("tenant"), Some("north"));
    assert_eq!(&message, delivery.message());
    assert_eq!(same.attempt(), 2);
}

#[test]
fn an_optional_property_may_be_missing() {
    let empty = Delivery::new(Incoming::default(), []);
    let (key, time): (Option<OrderingKey>, Option<OccurredAt>) = extract(&empty).unwrap();
    assert_eq!((key, time), (None, None));
    let (key,): (Option<OrderingKey>,) = extract(&full()).unwrap();
    assert_eq!(key, Some(OrderingKey("ann".into())));
}

fn rejects<T: Extractors<()>>(property: &str) {
    let empty = Delivery::new(Incoming::default(), []);
    let failure = HandlerFailure::from(extract::<T>(&empty).err().unwrap());
    assert!(failure.is_rejection(), "{property}");
    assert!(failure.error().is::<MissingProperty>(), "{property}");
    let text = failure.error().to_string();
    assert!(text.contains(property), "{property}: {text}");
}

#[test]
fn a_missing_property_rejects_the_message_and_is_named() {
    rejects::<(Id,)>("message_id");
    rejects::<(CorrelationId,)>("correlation_id");
    rejects::<(CausationId,)>("cloudEvents_causationid");
    rejects::<(OrderingKey,)>("cloudEvents_partitionkey");
    rejects::<(OccurredAt,)>("cloudEvents_time");
    rejects::<(Attempt, OrderingKey)>("cloudEvents_partitionkey");
}

#[test]
fn a_part_of_the_state_is_extracted() {
    #[derive(Debug, Clone)]
    struct App {
        name: &'static str,
    }
    #[derive(Debug)]
    struct Name(&'static str);
    impl FromRef<App> for Name {
        fn from_ref(app: &App) -> Self {
            Self(app.name)
        }
    }
    let app = App { name: "billing" };
    let (State(name), State(all)) = <(State<Name>, State<App>)>::extract(&full(), &app).unwrap();
    assert_eq!((name.0, all.name), ("billing", "billing"));
}
