//! The library and the table refuse the same headers, for the same reasons.

use outbox::{HeaderValue, Message, MessageContext, Outbox, PublishError};
use postroom_testkit::Login;
use sqlx::{Connection as _, PgConnection};

use crate::statements::{message, producer};

/// Names, each with a part of the reason for which it is refused; `None` if it is allowed.
fn names() -> Vec<(String, Option<&'static str>)> {
    const LENGTH: Option<&str> = Some("must have a name of 1 to 128 bytes");
    const ROUTES: Option<&str> = Some("would route the message elsewhere");
    const OURS: Option<&str> = Some("is set by Postroom itself");
    const BROKERS: Option<&str> = Some("is one that RabbitMQ sets or reads itself");
    let fixed = [
        ("", LENGTH),
        ("a", None),
        ("a.b-c_d:e", None),
        ("Ü", None),
        ("a b\n\t\"\\", None),
        ("CC", ROUTES),
        ("BCC", ROUTES),
        ("cc", None),
        ("CCx", None),
        (" CC", None),
        ("cloudEvents", OURS),
        ("cloudEvents_id", OURS),
        ("cloudEvents_anything", OURS),
        ("cloudEvents:source", OURS),
        ("cloudevents_id", None),
        ("postroom-", OURS),
        ("postroom-unreadable", OURS),
        ("postroom_unreadable", None),
        ("x-death", BROKERS),
        ("x-death-more", BROKERS),
        ("x-first-death-queue", BROKERS),
        ("x-first-death", None),
        ("x-last-death-reason", BROKERS),
        ("x-delivery-count", BROKERS),
        ("x-delivery-count2", BROKERS),
        ("x-acquired-count", BROKERS),
        ("x-received-from", BROKERS),
        ("x-shovelled", BROKERS),
        ("x-shovelled-timestamp", BROKERS),
        ("x-request-id", None),
        ("X-death", None),
        ("my-x-death", None),
    ];
    let mut names: Vec<_> = fixed.map(|(name, reason)| (name.to_owned(), reason)).into();
    for (letter, most) in [("x", 128), ("ä", 64), ("漢", 42)] {
        names.push((letter.repeat(most), None));
        names.push((letter.repeat(most + 1), LENGTH));
    }
    names
}

/// Inserts a row with these headers and takes it back; returns the server's refusal.
async fn inserted(producer: &mut PgConnection, headers: &serde_json::Value) -> Option<String> {
    let mut tx = producer.begin().await.unwrap();
    let inserted = sqlx::query(
        "INSERT INTO outbox.message (message_id, topic, type, headers, payload)
         VALUES (gen_random_uuid(), 't', 't', $1, 'x')",
    )
    .bind(headers)
    .execute(&mut *tx)
    .await;
    tx.rollback().await.unwrap();
    inserted.err().map(|error| {
        let error = error.into_database_error().expect("the server's refusal");
        assert_eq!(error.constraint(), Some("message_headers"), "{error}");
        error.message().to_owned()
    })
}

#[tokio::test]
async fn the_library_and_the_table_refuse_the_same_names_in_the_same_words() {
    let (database, _pool) = producer().await;
    let mut producer = database.connect(Login::Producer).await;
    for (name, expected) in names() {
        let library = message("t").unwrap().header(&name, "1").err();
        let library = library.map(|error| error.to_string());
        // Alone, and among others that are not looked at one by one when they are short.
        let long = "x".repeat(300);
        for others in [
            serde_json::json!({}),
            serde_json::json!({ "event_version": 1 }),
            serde_json::json!({ "event_version": 1, "note": long }),
        ] {
            let mut headers = others;
            headers[&name] = "1".into();
            let table = inserted(&mut producer, &headers).await;
            assert_eq!(table.is_some(), expected.is_some(), "{name:?}: {table:?}");
            assert_eq!(library.is_some(), expected.is_some(), "{name:?}");
            let (Some(table), Some(library)) = (table, &library) else {
                continue;
            };
            let (_, reason) = library.split_once("\" ").unwrap();
            assert_eq!(table, format!("header \"{name}\" {reason}"));
            assert!(reason.starts_with(expected.unwrap()), "{reason}");
        }
    }
}

/// Values that only SQL can write, at both sides of each limit.
#[tokio::test]
async fn the_table_refuses_values_that_no_reader_takes() {
    let (database, pool) = producer().await;
    let nested = |kind: (&str, &str), levels: usize| {
        format!("{}{}", kind.0.repeat(levels), kind.1.repeat(levels))
    };
    let (array, object) = (("[", "]"), (r#"{"a":["#, "]}"));
    let range = Some("holds a number beyond the range of 64-bit floating point");
    let depth = Some("is nested more than 126 levels deep");
    let text = Some("must be a text of at most 255 bytes");
    let max = format!("{:.0}", f64::MAX);
    let digits = "7".repeat(60_000);
    let long = |bytes| format!("{:?}", "x".repeat(bytes));
    let cases: Vec<(&str, String, Option<&str>)> = vec![
        ("a", "1e308".into(), None),
        ("a", "1.7976931348623157e308".into(), None),
        ("a", "-1.7976931348623158e308".into(), None),
        ("a", max.clone(), None),
        ("a", format!("-{max}.000"), None),
        ("a", format!("0.{}", &digits[..16_000]), None),
        ("a", "1e-400".into(), None),
        ("a", "18446744073709551616".into(), None),
        ("a", "1.8e308".into(), range),
        ("a", "1e309".into(), range),
        ("a", "-1e400".into(), range),
        ("a", digits, range),
        ("a", r#"[{"b": [1, 1e400]}]"#.into(), range),
        ("a", r#"{"1e400": "1e400"}"#.into(), None),
        ("event_version", "1e400".into(), range),
        ("a", nested(array, 126), None),
        ("a", nested(array, 127), depth),
        ("a", nested(object, 63), None),
        ("a", nested(object, 64), depth),
        ("traceparent", nested(array, 1_000), depth),
        ("correlation_id", long(255), None),
        ("correlation_id", long(256), text),
        ("correlation_id", "1e249".into(), None),
        ("correlation_id", "-1e249".into(), text),
        ("correlation_id", "1e250".into(), text),
        ("correlation_id", format!("[{}]", long(246)), None),
        ("correlation_id", format!("[{}]", long(247)), text),
        (
            "correlation_id",
            format!("[\"{}\", 18446744073709551617]", "x".repeat(224)),
            None,
        ),
        ("causation_id", long(60_000), None),
        ("traceparent", "null".into(), None),
    ];
    for (name, value, expected) in cases {
        let headers = format!("{{\"{name}\": {value}}}");
        let mut tx = outbox::transaction::begin(&pool).await.unwrap();
        let published = sqlx::query_scalar::<_, uuid::Uuid>(
            "SELECT outbox.publish('t', '1', headers => $1::text::jsonb)",
        )
        .bind(&headers)
        .fetch_one(&mut *tx)
        .await;
        drop(tx);
        let shown = &headers[..headers.len().min(80)];
        match (published, expected) {
            (Ok(_), None) => assert_readable(&headers, shown),
            (Err(error), Some(expected)) => {
                let error = error.into_database_error().unwrap();
                let reason = format!("header \"{name}\" {expected}");
                assert!(error.message().starts_with(&reason), "{shown}: {error}");
                assert_eq!(error.constraint(), Some("message_headers"));
            }
            (published, _) => panic!("{shown}: {published:?}"),
        }
    }
    drop(database);
}

/// Asserts that the relay could read and send headers.
fn assert_readable(headers: &str, shown: &str) {
    let object = serde_json::from_str(headers).unwrap_or_else(|error| panic!("{shown}: {error}"));
    let serde_json::Value::Object(object) = object else {
        panic!("{shown}");
    };
    let outgoing = amqp::Outgoing {
        message_id: uuid::Uuid::nil(),
        topic: "t",
        key: None,
        type_name: "t",
        content_type: "text/plain",
        headers: &outbox::Headers::from_json(object),
        occurred_at: chrono::DateTime::UNIX_EPOCH,
        source: "s",
        user_id: None,
    };
    amqp::encode(&outgoing).unwrap_or_else(|error| panic!("{shown}: {error}"));
}

/// The reserved names are the library's own, and SQL may set them.
#[tokio::test]
async fn what_the_library_sets_itself_the_table_takes() {
    let (_database, pool) = producer().await;
    let outbox = Outbox::new();
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    for id in ["c".repeat(255), "ä".repeat(127)] {
        let context = MessageContext::new()
            .correlation_id(id)
            .causation_id("d".repeat(1_000))
            .traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let message = message("t").unwrap().context(&context);
        let message = message.header("max", HeaderValue::Float(f64::MAX)).unwrap();
        outbox.publish(&mut tx, message).await.unwrap();
    }
    let refused: Result<Message, PublishError> = message("t").unwrap().header("traceparent", "1");
    assert!(refused.is_err());
    tx.commit().await.unwrap();
}
