//! Rows of any values: what the table takes is published, or stands alone.

use postroom_testkit::{Login, Stack, Tap, eventually};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sqlx::PgConnection;
use support::seed;

/// Values of the columns, as texts.
#[derive(Debug)]
struct Row {
    topic: String,
    key: String,
    type_name: String,
    content_type: String,
    headers: String,
    occurred_at: &'static str,
    deliver_after: Option<&'static str>,
    expires_at: Option<&'static str>,
}

const TIMES: [&str; 9] = [
    "now",
    "infinity",
    "-infinity",
    "294276-12-31 23:59:59.999999+00",
    "4713-01-01 00:00:00+00 BC",
    "0001-01-01 00:00:00+00",
    "9999-12-31 23:59:59.999999+00",
    "1970-01-01 00:00:00+00",
    "2000-01-01 00:00:00+00",
];

fn pick<T: Copy>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

fn text(rng: &mut StdRng) -> String {
    let length = pick(rng, &[0, 1, 3, 60, 128, 254]);
    let letter = |_| match rng.random_range(0..4) {
        0 => rng.random::<char>(),
        1 => rng.random_range('\u{1}'..='\u{7f}'),
        2 => pick(rng, &['*', '#', '.', '"', '\\', '\'']),
        _ => rng.random_range('a'..='z'),
    };
    let text: String = (0..length).map(letter).collect();
    text.replace('\0', "")
}

/// A name or text that somebody may have written into a header.
fn word(rng: &mut StdRng) -> String {
    let words = [
        "CC",
        "x-death",
        "x-delivery-count",
        "postroom-unreadable",
        "cloudEvents_id",
        "correlation_id",
        "causation_id",
        "event_version",
        "traceparent",
        "a",
    ];
    if rng.random_ratio(1, 3) {
        return pick(rng, &words).to_owned();
    }
    text(rng)
}

/// A number, in any way in which JSON writes one.
fn number(rng: &mut StdRng) -> String {
    let digits = pick(rng, &[1, 5, 18, 19, 20, 310, 2_000]);
    let digits: String = (0..digits).map(|_| rng.random_range('1'..='9')).collect();
    let sign = pick(rng, &["", "-"]);
    let fraction = pick(rng, &["", ".5", ".0"]);
    let exponent = match rng.random_range(0..3) {
        0 => format!("e{}", rng.random_range(-420..420)),
        _ => String::new(),
    };
    format!("{sign}{digits}{fraction}{exponent}")
}

fn value(rng: &mut StdRng, depth: usize) -> String {
    match rng.random_range(0..8) {
        0 => pick(rng, &["null", "true", "false"]).to_owned(),
        1 | 2 => number(rng),
        3 if depth < 3 => format!("[{}, {}]", value(rng, depth + 1), value(rng, depth + 1)),
        4 if depth < 3 => object(rng, depth + 1),
        5 if depth < 3 => {
            let levels = pick(rng, &[10, 123, 126, 127, 300]);
            format!("{}{}", "[".repeat(levels), "]".repeat(levels))
        }
        _ => serde_json::to_string(&word(rng)).unwrap(),
    }
}

fn object(rng: &mut StdRng, depth: usize) -> String {
    let fields = (0..rng.random_range(0..4)).map(|_| {
        let name = serde_json::to_string(&word(rng)).unwrap();
        format!("{name}: {}", value(rng, depth))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
}

fn row(rng: &mut StdRng, number: usize) -> Row {
    let name = |rng: &mut StdRng| match rng.random_range(0..3) {
        0 => text(rng),
        _ => "t".to_owned(),
    };
    Row {
        topic: name(rng),
        key: format!("{number} {}", name(rng)),
        type_name: name(rng),
        content_type: name(rng),
        headers: match rng.random_range(0..8) {
            0 => value(rng, 0),
            _ => object(rng, 0),
        },
        occurred_at: pick(rng, &TIMES),
        deliver_after: rng.random_ratio(1, 4).then(|| pick(rng, &TIMES)),
        expires_at: rng.random_ratio(1, 6).then(|| pick(rng, &TIMES)),
    }
}

/// Writes a row, and a good message of its key; returns `false` if the table refuses the row.
async fn write(producer: &mut PgConnection, row: &Row) -> bool {
    let insert = "INSERT INTO outbox.message (message_id, topic, key, type, content_type, headers,
                                              occurred_at, deliver_after, expires_at, payload)
                  VALUES (gen_random_uuid(), $1::text, $2::text, $3::text, $4::text, $5::text::jsonb,
                          $6::text::timestamptz, $7::text::timestamptz, $8::text::timestamptz, 'bad')";
    let written = sqlx::query(insert)
        .bind(&row.topic)
        .bind(&row.key)
        .bind(&row.type_name)
        .bind(&row.content_type)
        .bind(&row.headers)
        .bind(row.occurred_at)
        .bind(row.deliver_after)
        .bind(row.expires_at)
        .execute(&mut *producer)
        .await;
    if let Err(error) = written {
        assert!(error.as_database_error().is_some(), "{row:?}: {error}");
        return false;
    }
    sqlx::query("SELECT outbox.publish('good', '1', key => $1)")
        .bind(&row.key)
        .execute(producer)
        .await
        .unwrap();
    true
}

#[tokio::test]
#[allow(clippy::print_stdout)] // Shown for a failed test.
async fn g4_no_row_that_the_table_takes_holds_back_its_key() {
    let seed = seed();
    println!("POSTROOM_SEED={seed}");
    let rng = &mut StdRng::seed_from_u64(seed);
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let mut producer = stack.database.connect(Login::Producer).await;
    let mut taken = Vec::new();
    let mut refused = 0;
    for number in 0..600 {
        let row = row(rng, number);
        if write(&mut producer, &row).await {
            taken.push(row);
        } else {
            refused += 1;
        }
    }
    assert!(taken.len() > 100 && refused > 100, "{refused}");
    let relay = stack.relay().await;
    let good = || {
        let messages = tap.seen().into_iter();
        let keys = messages.filter(|seen| seen.topic == "good");
        keys.filter_map(|seen| seen.key)
            .collect::<std::collections::HashSet<_>>()
    };
    eventually("everything is published or stands alone", async || {
        let status = stack.command(&["status", "--json"]).await.json();
        status["waiting"] == 0
    })
    .await;
    // The tap may read the last ones later.
    eventually("a message of each key arrives", async || {
        good().len() == taken.len()
    })
    .await;
    let parked = stack.command(&["parked", "list", "--json"]).await.json();
    for parked in parked.as_array().unwrap() {
        let alone = parked["reason"] == "scheduled"
            || parked["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("its deliver_after is"));
        assert!(alone, "{parked}");
    }
    let lost = relay.metric("postroom_relay_sessions_lost_total");
    assert!(lost < 1.0, "{lost} sessions were lost");
    let losses = relay.metric("postroom_relay_broker_losses_total");
    assert!(losses < 1.0, "{losses} connections were lost");
}
