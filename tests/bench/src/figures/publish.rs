//! Figures of a producer's cost of publishing.

use std::time::{Duration, Instant};

use outbox::{Message, Outbox};
use postroom_testkit::{Login, Stack};
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{Bench, figure::Figure, load::BODY, pairs::Pairs};

const TABLES: &str = "
CREATE TABLE account (id bigint PRIMARY KEY, total bigint NOT NULL);
INSERT INTO account SELECT n, 0 FROM generate_series(0, 99) AS n;
CREATE TABLE bare (id uuid PRIMARY KEY, topic text, key text, type text, content_type text,
                   headers jsonb, at timestamptz DEFAULT clock_timestamp(), payload bytea);";

/// Same columns as a message's row, except position and transaction id, which only the outbox needs.
const INSERT_BARE: &str = "
INSERT INTO bare (id, topic, key, type, content_type, headers, payload)
VALUES ($1, 'bench.event', $2, 'bench.event', 'application/json', '{}', $3)";

/// Duration of one side of a pair.
const DURATION: Duration = Duration::from_secs(2);

/// Table to which a transaction writes its message.
#[derive(Debug, Clone, Copy)]
enum Table {
    Outbox,
    Bare,
}

/// A business statement and a message, beside the same bytes in a user's table.
pub(crate) async fn publish(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let stack = bench.servers.stack().await;
    stack.database.ddl(TABLES).await;
    let mut figures = Vec::new();
    for connections in [1, 4, 16] {
        let mut pairs = Pairs::default();
        for _ in 0..bench.times(5) {
            let ours = rate(&stack, connections, Table::Outbox).await?;
            pairs.add(ours, rate(&stack, connections, Table::Bare).await?);
        }
        let name = format!("publish_vs_bare_insert_{connections}");
        figures.push(pairs.figure(&name, "transactions/s"));
    }
    figures.push(hundred(bench, &stack).await?);
    Ok(figures)
}

/// Returns the transactions per second. Each writer has its own connection: a pool would cost both sides
/// the same and hide their difference.
async fn rate(stack: &Stack, connections: i64, table: Table) -> anyhow::Result<f64> {
    let mut open = Vec::new();
    for account in 0..connections {
        let mut connection = stack.database.connect(Login::Producer).await;
        once(&mut connection, account, table).await?;
        open.push((connection, account));
    }
    let began = Instant::now();
    let mut writers = JoinSet::new();
    for (mut connection, account) in open {
        writers.spawn(async move {
            let mut count = 0_u32;
            while began.elapsed() < DURATION {
                once(&mut connection, account, table).await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut count = 0;
    while let Some(written) = writers.join_next().await {
        count += written??;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

async fn once(connection: &mut PgConnection, account: i64, table: Table) -> anyhow::Result<()> {
    let mut tx = connection.begin().await?;
    transaction(&mut tx, account, table).await?;
    Ok(tx.commit().await?)
}

async fn transaction(
    tx: &mut Transaction<'_, Postgres>,
    account: i64,
    table: Table,
) -> anyhow::Result<()> {
    sqlx::query("UPDATE account SET total = total + 1 WHERE id = $1")
        .bind(account)
        .execute(&mut **tx)
        .await?;
    let key = account.to_string();
    match table {
        Table::Outbox => {
            let message = Message::bytes("bench.event", "application/json", vec![b'x'; BODY])?;
            Outbox::new().publish(tx, message.key(key)?).await?;
        }
        Table::Bare => {
            sqlx::query(INSERT_BARE)
                .bind(Uuid::now_v7())
                .bind(key)
                .bind(vec![b'x'; BODY])
                .execute(&mut **tx)
                .await?;
        }
    }
    Ok(())
}

/// A hundred messages in one call beside a hundred calls, each in one transaction.
async fn hundred(bench: &Bench, stack: &Stack) -> anyhow::Result<Figure> {
    let pool = stack.database.pool(Login::Producer).await;
    let outbox = Outbox::new();
    let message = || Message::bytes("bench.event", "application/json", vec![b'x'; BODY]);
    let mut pairs = Pairs::default();
    for _ in 0..bench.times(5) {
        let mut rates = [0.0; 2];
        for (rate, at_once) in rates.iter_mut().zip([true, false]) {
            let began = Instant::now();
            for _ in 0..20 {
                let mut tx = outbox::transaction::begin(&pool).await?;
                let messages = (0..100).map(|_| message()).collect::<Result<Vec<_>, _>>()?;
                if at_once {
                    outbox.publish_all(&mut tx, messages).await?;
                } else {
                    for message in messages {
                        outbox.publish(&mut tx, message).await?;
                    }
                }
                tx.commit().await?;
            }
            *rate = 2_000.0 / began.elapsed().as_secs_f64();
        }
        pairs.add(rates[0], rates[1]);
    }
    Ok(pairs.figure("publish_all_100_vs_1", "messages/s"))
}
