//! Messages that the broker cannot carry are refused by the table, for each writer.

use postroom_testkit::{Database, Login};
use sqlx::{AssertSqlSafe, PgConnection};

/// Columns with values that are accepted.
const GOOD: [(&str, &str); 7] = [
    ("message_id", "outbox.uuid_v7()"),
    ("topic", "'t'"),
    ("type", "'t'"),
    ("key", "'k'"),
    ("content_type", "'text/plain'"),
    ("headers", "'{}'"),
    ("payload", "'x'"),
];

/// Inserts a row with one column's value replaced; the violated constraint, if one is.
async fn insert(
    producer: &mut PgConnection,
    column: &str,
    value: &str,
) -> Result<(), Option<String>> {
    let columns = GOOD.map(|(name, _)| name).join(", ");
    let values = GOOD.map(|(name, good)| if name == column { value } else { good });
    let sql = format!(
        "INSERT INTO outbox.message ({columns}) VALUES ({})",
        values.join(", ")
    );
    let inserted = sqlx::query(AssertSqlSafe(sql)).execute(producer).await;
    inserted.map(drop).map_err(|error| {
        let error = error.into_database_error().expect("the server's refusal");
        error.constraint().map(str::to_owned)
    })
}

#[tokio::test]
async fn texts_that_a_short_string_cannot_carry_are_refused() {
    let database = Database::new().await;
    let mut producer = database.connect(Login::Producer).await;
    for column in ["topic", "key", "type", "content_type"] {
        // Two bytes each.
        for (value, fits) in [
            ("repeat('x', 255)", true),
            ("repeat('x', 256)", false),
            ("repeat('ä', 127)", true),
            ("repeat('ä', 128)", false),
            ("''", false),
        ] {
            let inserted = insert(&mut producer, column, value).await;
            let expected = if fits {
                Ok(())
            } else {
                Err(Some(format!("message_{column}")))
            };
            assert_eq!(inserted, expected, "{column} {value}");
        }
    }
}

#[tokio::test]
async fn headers_that_route_or_do_not_fit_are_refused() {
    let database = Database::new().await;
    let mut producer = database.connect(Login::Producer).await;
    for (headers, fits) in [
        (r#"'{"CC": ["elsewhere"]}'"#, false),
        (r#"'{"BCC": "elsewhere"}'"#, false),
        (r#"'{"cc": "a name like any other"}'"#, true),
        ("'[]'", false),
        ("'1'", false),
        ("jsonb_build_object('a', repeat('x', 65527))", true),
        ("jsonb_build_object('a', repeat('x', 65528))", false),
    ] {
        let inserted = insert(&mut producer, "headers", headers).await;
        let expected = if fits {
            Ok(())
        } else {
            Err(Some("message_headers".to_owned()))
        };
        assert_eq!(inserted, expected, "{headers}");
    }
}

#[tokio::test]
async fn a_payload_beyond_16_mib_is_refused() {
    let database = Database::new().await;
    let mut producer = database.connect(Login::Producer).await;
    let payload = |bytes: usize| format!("convert_to(repeat('x', {bytes}), 'UTF8')");
    let most = outbox::limits::PAYLOAD_BYTES;
    let inserted = insert(&mut producer, "payload", &payload(most)).await;
    assert_eq!(inserted, Ok(()));
    let inserted = insert(&mut producer, "payload", &payload(most + 1)).await;
    assert_eq!(inserted, Err(Some("message_payload".to_owned())));
}

#[tokio::test]
async fn the_function_refuses_what_the_table_refuses() {
    let database = Database::new().await;
    let mut producer = database.connect(Login::Producer).await;
    for (call, constraint) in [
        ("outbox.publish('', '1')", "message_topic"),
        ("outbox.publish('t', '1', key => '')", "message_key"),
        (
            "outbox.publish('t', '1', headers => '{\"CC\": \"x\"}')",
            "message_headers",
        ),
    ] {
        let sql = AssertSqlSafe(format!("SELECT {call}"));
        let refused = sqlx::query(sql).execute(&mut producer).await.unwrap_err();
        let refused = refused.into_database_error().unwrap();
        assert_eq!(refused.constraint(), Some(constraint), "{call}");
    }
}

/// No relay would publish such a row, and its leaf would be emptied nevertheless.
#[tokio::test]
async fn a_lane_that_no_relay_reads_is_refused() {
    let database = Database::new().await;
    let mut owner = database.connect(Login::Owner).await;
    for (lane, expected) in [(0, None), (1, Some("message_lane_is_0"))] {
        let sql = format!(
            "INSERT INTO outbox.message (lane, message_id, topic, type, payload)
             VALUES ({lane}, outbox.uuid_v7(), 't', 't', 'x')"
        );
        let inserted = sqlx::query(AssertSqlSafe(sql)).execute(&mut owner).await;
        let refused = inserted.err().and_then(sqlx::Error::into_database_error);
        let constraint = refused.as_ref().and_then(|error| error.constraint());
        assert_eq!(constraint, expected, "{lane}");
    }
}

#[tokio::test]
async fn the_function_refuses_times_that_never_come_or_never_end() {
    let database = Database::new().await;
    let mut producer = database.connect(Login::Producer).await;
    for (column, time, fits) in [
        ("deliver_after", "infinity", false),
        ("deliver_after", "-infinity", false),
        ("expires_at", "infinity", false),
        ("expires_at", "294276-12-31", false),
        ("expires_at", "9999-12-31", true),
        ("deliver_after", "4713-01-01 BC", false),
    ] {
        for call in [
            format!("outbox.publish('t', '1', {column} => '{time}')"),
            format!("outbox.publish_bytes('t', 'x', 'text/plain', {column} => '{time}')"),
        ] {
            let sql = AssertSqlSafe(format!("SELECT {call}"));
            let published = sqlx::query(sql).execute(&mut producer).await;
            let refused = published.err().and_then(sqlx::Error::into_database_error);
            let said = refused.map(|error| error.message().to_owned());
            let expected = (!fits).then(|| {
                "deliver_after and expires_at must be null or times of the years 1 to 9999"
                    .to_owned()
            });
            assert_eq!(said, expected, "{call}");
        }
    }
}
