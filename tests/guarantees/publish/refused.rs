//! Messages that the library refuses before the database does.

use chrono::{DateTime, TimeZone as _, Utc};

use crate::statements::{ids, message, producer};
use outbox::{HeaderValue, Message, MessageContext, Outbox, PublishError};

#[tokio::test]
async fn an_error_names_the_field_and_leaves_the_transaction_usable() {
    let (database, pool) = producer().await;
    let outbox = Outbox::new();
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let long = "x".repeat(256);
    let too_large = (0..2).try_fold(message("t").unwrap(), |message, n| {
        message.header(&format!("h{n}"), "x".repeat(32_768))
    });
    let refused: [(&str, Result<Message, PublishError>); 9] = [
        ("topic", message(&long)),
        ("topic", message("orders.*")),
        ("key", message("t").unwrap().key(long.as_str())),
        ("type", message("t").unwrap().type_name("")),
        ("content type", Message::bytes("t", &long, "")),
        (
            "payload",
            Message::bytes("t", "text/plain", vec![0; 16 * 1024 * 1024 + 1]),
        ),
        (
            "header \"CC\"",
            message("t").unwrap().header("CC", "elsewhere"),
        ),
        (
            "header \"cloudEvents_id\"",
            message("t").unwrap().header("cloudEvents_id", "7"),
        ),
        ("headers", too_large),
    ];
    for (field, made) in refused {
        let error = match made {
            Err(error) => error,
            // The total size of the headers is checked when the message is published.
            Ok(message) => outbox.publish(&mut tx, message).await.unwrap_err(),
        };
        let text = error.to_string();
        assert!(text.starts_with("publishing a message: "), "{text}");
        assert!(text.contains(field), "{field}: {text}");
        outbox
            .publish(&mut tx, message("t").unwrap())
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(ids(&database).await.len(), 9);
}

#[tokio::test]
async fn headers_are_measured_as_by_the_tables_check_constraint() {
    let (database, pool) = producer().await;
    let outbox = Outbox::new();
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let headers = |last: usize| {
        let many = (0..2_000).try_fold(message("t").unwrap(), |message, n| {
            message.header(&format!("header-{n:05}"), true)
        });
        many.and_then(|message| message.header("last", "x".repeat(last)))
            .unwrap()
    };
    // The limit less the braces, the text of 2,000 headers with their separators, and the last header without its
    // value.
    let most = 64 * 1024 - 2 - 2_000 * "\"header-00000\": true, ".len() - "\"last\": \"\"".len();
    outbox.publish(&mut tx, headers(most)).await.unwrap();
    let error = outbox
        .publish(&mut tx, headers(most + 1))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            PublishError::TooLarge {
                field: "headers",
                bytes: 65_537,
                ..
            }
        ),
        "{error}"
    );
    tx.commit().await.unwrap();
    assert_eq!(ids(&database).await.len(), 1);
}

#[tokio::test]
async fn one_bad_message_keeps_the_whole_call_from_being_written() {
    let (database, pool) = producer().await;
    let outbox = Outbox::new();
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let too_large = (0..3).try_fold(message("t").unwrap(), |message, n| {
        message.header(&format!("h{n}"), "x".repeat(32_768))
    });
    let refused = outbox
        .publish_all(&mut tx, [message("t").unwrap(), too_large.unwrap()])
        .await;
    assert!(matches!(refused, Err(PublishError::TooLarge { .. })));
    tx.commit().await.unwrap();
    assert!(ids(&database).await.is_empty());
}

#[tokio::test]
async fn header_values_and_correlation_ids_that_database_or_broker_would_refuse_are_refused() {
    let (_database, pool) = producer().await;
    let outbox = Outbox::new();
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let nul = message("t").unwrap().header("note", "a\0b").unwrap();
    let nan = HeaderValue::Float(f64::NAN);
    let nan = message("t").unwrap().header("ratio", nan).unwrap();
    for (refused, expected) in [
        (nul, "header \"note\" holds a NUL character"),
        (nan, "header \"ratio\" is not a finite number"),
    ] {
        let error = outbox.publish(&mut tx, refused).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let context = MessageContext::new().correlation_id("x".repeat(256));
    let publishing = outbox.publish(&mut tx, message("t").unwrap());
    let error = outbox::context::scope(context, publishing)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("correlation id of 256 bytes, the limit is 255"),
        "{error}"
    );
    outbox
        .publish(&mut tx, message("t").unwrap())
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// RabbitMQ and consumers count and route by these headers, and would believe a forged one.
#[test]
fn names_that_rabbitmq_sets_or_reads_are_refused() {
    for name in [
        "x-death",
        "x-first-death-queue",
        "x-last-death-reason",
        "x-delivery-count",
        "x-acquired-count",
        "x-received-from",
        "x-shovelled",
    ] {
        let error = message("t").unwrap().header(name, "1").unwrap_err();
        let expected = format!("header {name:?} is one that RabbitMQ sets or reads itself");
        assert!(error.to_string().contains(&expected), "{error}");
    }
    message("t").unwrap().header("x-request-id", "7").unwrap();
}

#[tokio::test]
async fn times_outside_the_years_1_to_9999_are_refused_and_the_transaction_stays_usable() {
    let (database, pool) = producer().await;
    let outbox = Outbox::new();
    let first = Utc.with_ymd_and_hms(1, 1, 1, 0, 0, 0).unwrap();
    let last = Utc.with_ymd_and_hms(9999, 12, 31, 23, 59, 59).unwrap();
    let second = chrono::TimeDelta::seconds(1);
    let before = first - second;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let one = || message("t").unwrap();
    for (field, refused) in [
        (
            "deliver_after",
            one().deliver_after(DateTime::<Utc>::MIN_UTC),
        ),
        ("deliver_after", one().deliver_after(before)),
        ("expires_at", one().expires_at(DateTime::<Utc>::MAX_UTC)),
        ("expires_at", one().expires_at(last + second)),
    ] {
        let expected = format!("publishing a message: {field} is ");
        let error = outbox.publish(&mut tx, refused.clone()).await.unwrap_err();
        assert!(error.to_string().starts_with(&expected), "{error}");
        let error = outbox.publish_all(&mut tx, [one(), refused]).await;
        let error = error.unwrap_err();
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    for time in [first, last] {
        let message = one().deliver_after(time).expires_at(time);
        outbox.publish(&mut tx, message).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(ids(&database).await.len(), 2);
    let read: Vec<(DateTime<Utc>, DateTime<Utc>)> =
        sqlx::query_as("SELECT deliver_after, expires_at FROM outbox.message ORDER BY position")
            .fetch_all(&mut database.connect(postroom_testkit::Login::Relay).await)
            .await
            .unwrap();
    assert_eq!(read, [(first, first), (last, last)]);
}
