//! Headers arrive as they were given: through the table, and over the wire.

use chrono::{DateTime, Utc};
use outbox::{HeaderValue, Headers, Message, Outbox, PublishError};
use postroom_testkit::Login;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use support::seed;
use uuid::Uuid;

use crate::statements::{message, producer};

type Given = Vec<(String, HeaderValue)>;

/// Numbers that are written in a way of their own, at the ends of what there is.
const ODD: [f64; 14] = [
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    -1e-300,
    1e300,
    9_007_199_254_740_993.0,
    1e16,
    9_223_372_036_854_775_808.0,
    1e20,
    1e-7,
    0.1,
    1.0,
    -0.0,
];

/// Any bits, of which some are no numbers.
fn number(rng: &mut StdRng) -> f64 {
    let number = f64::from_bits(rng.random());
    if number.is_finite() { number } else { f64::MAX }
}

fn text(rng: &mut StdRng) -> String {
    let length = rng.random_range(0..40);
    let text = (0..length).map(|_| match rng.random_range(0..3) {
        0 => rng.random::<char>(),
        1 => rng.random_range('\u{1}'..='\u{7f}'),
        _ => rng.random_range('a'..='z'),
    });
    text.filter(|letter| *letter != '\0').collect()
}

fn value(rng: &mut StdRng) -> HeaderValue {
    match rng.random_range(0..8) {
        0 => rng.random::<bool>().into(),
        1 => rng.random::<i64>().into(),
        2 => rng.random_range(-9_i32..9).into(),
        3 => rng.random::<u32>().into(),
        4 => text(rng).into(),
        5 => ODD[rng.random_range(0..ODD.len())].into(),
        6 => f64::from(rng.random::<f32>()).into(),
        _ => number(rng).into(),
    }
}

/// A few of any kind; now and then so many, and so long, that they fit or not.
fn random(rng: &mut StdRng) -> Given {
    let many = rng.random_ratio(1, 8);
    let count = rng.random_range(if many { 180..700 } else { 0..30 });
    let mut given: Given = (0..count)
        .map(|n| {
            let long = many && rng.random::<bool>();
            let value = if long { number(rng).into() } else { value(rng) };
            (format!("h{n:03}{}", text(rng)), value)
        })
        .collect();
    given.sort_by(|a, b| a.0.cmp(&b.0));
    given
}

fn with(given: &Given) -> Result<Message, PublishError> {
    given.iter().try_fold(message("t")?, |message, (name, v)| {
        message.header(name, v.clone())
    })
}

/// Returns the headers that a consumer receives for the headers of a row.
fn arrived(message_id: Uuid, headers: serde_json::Value) -> Given {
    let serde_json::Value::Object(headers) = headers else {
        panic!("{headers}");
    };
    let outgoing = amqp::Outgoing {
        message_id,
        topic: "t",
        key: None,
        type_name: "t",
        content_type: "text/plain",
        headers: &Headers::from_json(headers),
        occurred_at: DateTime::<Utc>::UNIX_EPOCH,
        source: "s",
        user_id: None,
    };
    let published = amqp::encode(&outgoing).expect("what the library takes can be carried");
    let incoming = amqp::decode("t", &published.properties);
    let headers = incoming.headers.iter();
    headers.map(|(n, v)| (n.to_owned(), v.clone())).collect()
}

#[tokio::test]
#[allow(clippy::print_stdout)] // Shown for a failed test.
async fn whatever_the_library_takes_the_table_takes_and_a_consumer_sees() {
    let seed = seed();
    println!("POSTROOM_SEED={seed}");
    let rng = &mut StdRng::seed_from_u64(seed);
    let (database, pool) = producer().await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let mut taken = Vec::new();
    let mut too_large = 0;
    for _ in 0..400 {
        let given = random(rng);
        // After a refusal by the database nothing more could be written.
        match Outbox::new().publish(&mut tx, with(&given).unwrap()).await {
            Ok(id) => taken.push((id.as_uuid(), given)),
            Err(PublishError::TooLarge { field, .. }) => {
                assert_eq!(field, "headers");
                too_large += 1;
            }
            Err(error) => panic!("{error:?}: {given:?}"),
        }
    }
    tx.commit().await.unwrap();
    assert!(too_large > 0 && taken.len() > 100, "{too_large}");
    let rows: Vec<(Uuid, serde_json::Value)> =
        sqlx::query_as("SELECT message_id, headers FROM outbox.message ORDER BY position")
            .fetch_all(&mut database.connect(Login::Relay).await)
            .await
            .unwrap();
    assert_eq!(rows.len(), taken.len());
    for ((id, headers), (written, given)) in rows.into_iter().zip(taken) {
        assert_eq!(id, written);
        assert_eq!(arrived(id, headers), given);
    }
}

#[tokio::test]
async fn numbers_are_measured_as_the_table_writes_them() {
    let (database, pool) = producer().await;
    let headers = |last: usize| {
        let mut given: Given = vec![("last".to_owned(), "x".repeat(last).into())];
        given.push(("least".to_owned(), i64::MIN.into()));
        let odd = ODD.iter().enumerate();
        given.extend(odd.map(|(n, number)| (format!("odd{n}"), (*number).into())));
        with(&given).unwrap()
    };
    let outbox = Outbox::new();
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    outbox.publish(&mut tx, headers(0)).await.unwrap();
    tx.commit().await.unwrap();
    let bytes: i32 = sqlx::query_scalar("SELECT octet_length(headers::text) FROM outbox.message")
        .fetch_one(&mut database.connect(Login::Relay).await)
        .await
        .unwrap();
    let most = outbox::limits::HEADERS_BYTES - bytes as usize;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let refused = outbox.publish(&mut tx, headers(most + 1)).await;
    let error = refused.unwrap_err();
    assert!(
        matches!(error, PublishError::TooLarge { bytes: 65_537, .. }),
        "{error}"
    );
    outbox.publish(&mut tx, headers(most)).await.unwrap();
    outbox.publish_all(&mut tx, [headers(most)]).await.unwrap();
}
