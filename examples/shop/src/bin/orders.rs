//! The orders service: places orders, announces them, marks those that billing has invoiced, and has valuable parcels
//! insured.

use std::{collections::HashSet, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use inbox::{Consumer, Context, HandlerError};
use outbox::{Outbox, ReplyTo};
use shop::{
    CustomerRegistered, InsureParcel, OrderInvoiced, OrderPlaced, ParcelInsured, parallel,
    progress::Progress,
    purchases::{self, Purchase},
    service::{self, Broker, Database},
    terminal::exit_code,
};
use sqlx::PgPool;

/// Places the shop's orders, and marks those that were invoiced
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Args {
    #[command(flatten)]
    database: Database,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Place an order for each line of a file; lines that were placed before are passed over
    Import {
        /// Purchases: customer, date, CDs, dollars
        file: PathBuf,
        /// How many orders to place at the same time
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
        producers: u16,
    },
    /// Mark orders as invoiced when billing says so, and as insured when shipping does, until stopped
    Serve(Broker),
}

/// Places one order. The order and its announcement commit together, or neither exists.
async fn place(pool: &PgPool, purchase: &Purchase) -> anyhow::Result<()> {
    // Not `pool.begin()`, which sqlx does not let you cancel safely.
    let mut tx = outbox::transaction::begin(pool).await?;

    // Takes the next number, and locks the customer's row until the commit: orders of the same customer
    // wait for each other here, and so are announced in the order of their numbers.
    let number: i32 = sqlx::query_scalar(
        "INSERT INTO customers AS c (customer, orders) VALUES ($1, 1)
         ON CONFLICT (customer) DO UPDATE SET orders = c.orders + 1 RETURNING orders",
    )
    .bind(purchase.customer)
    .fetch_one(&mut *tx)
    .await?;

    let inserted = sqlx::query(
        "INSERT INTO orders (order_id, customer, number, date, cds, cents)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (order_id) DO NOTHING",
    )
    .bind(purchase.line)
    .bind(purchase.customer)
    .bind(number)
    .bind(purchase.date)
    .bind(purchase.cds)
    .bind(purchase.cents)
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() == 0 {
        // Another import placed this order first and announced it; the rollback returns the number.
        return Ok(tx.rollback().await?);
    }

    let event = OrderPlaced {
        order_id: purchase.line,
        customer: purchase.customer,
        number,
        date: purchase.date,
        cds: purchase.cds,
        cents: purchase.cents,
    };
    if number == 1 {
        let customer = purchase.customer;
        let registered = CustomerRegistered { customer, number };
        Outbox::new().publish(&mut tx, &registered).await?;
    }
    Outbox::new().publish(&mut tx, &event).await?;
    Ok(tx.commit().await?)
}

/// Places the orders of a file, `producers` at a time, and those of one customer in the file's order.
///
/// A malformed line ends the import with an error that names the line. The lines before it are placed
/// first. After the line is corrected, another import continues there.
async fn import(pool: PgPool, file: PathBuf, producers: u16) -> anyhow::Result<()> {
    let placed = sqlx::query_scalar("SELECT order_id FROM orders");
    let placed = placed.fetch_all(&pool).await;
    let placed: HashSet<i64> = placed
        .context("looking which orders are placed already")?
        .into_iter()
        .collect();
    let progress = Progress::new("placing orders", purchases::count(&file)?);

    let purchases = purchases::read(&file)?;
    let customer = |purchase: &Purchase| purchase.customer;
    parallel::for_each(purchases, producers.into(), customer, async |purchase| {
        if !placed.contains(&purchase.line) {
            let placing = place(&pool, &purchase).await;
            placing.with_context(|| format!("placing the order of line {}", purchase.line))?;
        }
        progress.advance();
        Ok(())
    })
    .await
}

/// Value in cents from which on a parcel is insured.
const INSURED_FROM: i64 = 10_000;

/// Time for which a reply of shipping is of use.
const REPLY_TIME: Duration = Duration::from_hours(1);

/// Handles the invoice of one order, and asks shipping to insure a valuable parcel. The handler does not wait: the reply
/// comes as a message.
async fn mark_invoiced(mut ctx: Context, invoice: OrderInvoiced) -> Result<(), HandlerError> {
    if invoice.cents >= INSURED_FROM {
        let command = InsureParcel {
            order_id: invoice.order_id,
            customer: invoice.customer,
            cents: invoice.cents,
        };
        let reply_to = ReplyTo::new("orders", REPLY_TIME);
        ctx.request("shipping", &command, &reply_to).await?;
    }
    sqlx::query(
        "UPDATE orders SET times_invoiced = times_invoiced + 1, invoiced_at = clock_timestamp()
         WHERE order_id = $1",
    )
    .bind(invoice.order_id)
    .execute(ctx.connection())
    .await?;
    Ok(())
}

/// Handles the reply of shipping.
async fn mark_insured(mut ctx: Context, reply: ParcelInsured) -> Result<(), HandlerError> {
    sqlx::query("UPDATE orders SET policy = $2 WHERE order_id = $1")
        .bind(reply.order_id)
        .bind(reply.policy)
        .execute(ctx.connection())
        .await?;
    Ok(())
}

async fn serve(pool: PgPool, broker: Broker) -> anyhow::Result<()> {
    let consumer = Consumer::builder("orders")
        .database(pool)
        .amqp_url(broker.amqp_url)
        .messages_per_transaction(50)
        .on::<OrderInvoiced, _, _>(mark_invoiced)
        .on_command::<ParcelInsured, _, _>(mark_insured)
        .build()?;
    Ok(consumer.run(service::stop_signal()?).await?)
}

async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Import { file, producers } => {
            let pool = args.database.pool(producers.into())?;
            import(pool, file, producers).await
        }
        Command::Serve(broker) => {
            service::logs();
            serve(args.database.pool(10)?, broker).await
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(run(Args::parse()).await)
}
