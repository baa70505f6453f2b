//! The loyalty service: keeps the sums of each customer's purchases.
//!
//! The sums would show each order that is lost or handled twice. The service also checks that a customer's
//! orders arrive in the order in which they were placed.

use std::process::ExitCode;

use clap::Parser;
use inbox::{Consumer, Context, HandlerError};
use shop::{
    OrderPlaced,
    service::{self, Broker, Database},
    terminal::exit_code,
};

/// Adds up orders, CDs and cents of each customer
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Args {
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    broker: Broker,
}

/// Adds one order to its customer's sums.
///
/// Adding is not idempotent: repeated, it makes the sums wrong. The inbox prevents a repetition by
/// committing the sums together with the record that this message was handled.
///
/// The numbers of a customer's orders must arrive as 1, 2, 3 …; deviations are counted.
async fn add(mut ctx: Context, order: OrderPlaced) -> Result<(), HandlerError> {
    sqlx::query(
        "INSERT INTO members AS m
             (customer, orders, cds, cents, last_number, out_of_order, updated_at)
         VALUES ($1, 1, $2, $3, $4, ($4 <> 1)::integer, clock_timestamp())
         ON CONFLICT (customer) DO UPDATE SET
             orders       = m.orders + 1,
             cds          = m.cds + excluded.cds,
             cents        = m.cents + excluded.cents,
             last_number  = excluded.last_number,
             out_of_order = m.out_of_order + (excluded.last_number <> m.last_number + 1)::integer,
             updated_at   = excluded.updated_at",
    )
    .bind(order.customer)
    .bind(order.cds)
    .bind(order.cents)
    .bind(order.number)
    .execute(ctx.connection())
    .await?;
    Ok(())
}

async fn run(args: Args) -> anyhow::Result<()> {
    let consumer = Consumer::builder("loyalty")
        .database(args.database.pool(10)?)
        .amqp_url(args.broker.amqp_url)
        .messages_per_transaction(50)
        .on::<OrderPlaced, _, _>(add)
        .build()?;
    consumer.run(service::stop_signal()?).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    service::logs();
    exit_code(run(args).await)
}
