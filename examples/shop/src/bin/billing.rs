//! The billing service: writes an invoice for each placed order, and announces the invoice.
//!
//! An example of a service that consumes messages, changes its state and publishes messages in one
//! transaction.

use std::process::ExitCode;

use clap::Parser;
use inbox::{Consumer, Context, HandlerError};
use shop::{
    OrderInvoiced, OrderPlaced,
    service::{self, Broker, Database},
    terminal::exit_code,
};

/// Writes one invoice for each order that was placed
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Args {
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    broker: Broker,
}

/// Handles one order.
///
/// The inbox has begun a transaction and recorded in it that this message was handled. Statements through
/// `ctx` and published messages join the transaction: all commit together, and then the message is
/// acknowledged. If anything fails, everything is rolled back and the message is retried. If the broker
/// delivers the message twice, the inbox drops the second delivery before this function is called.
async fn invoice(mut ctx: Context, order: OrderPlaced) -> Result<(), HandlerError> {
    let invoice_id = sqlx::query_scalar(
        "INSERT INTO invoices (order_id, customer, cds, cents) VALUES ($1, $2, $3, $4)
         RETURNING invoice_id",
    )
    .bind(order.order_id)
    .bind(order.customer)
    .bind(order.cds)
    .bind(order.cents)
    .fetch_one(ctx.connection())
    .await?;

    // The key is the customer, as for orders. The inbox handles the orders of a customer one after another,
    // so their invoices are announced in the same order.
    ctx.publish(&OrderInvoiced {
        order_id: order.order_id,
        invoice_id,
        customer: order.customer,
        number: order.number,
        cds: order.cds,
        cents: order.cents,
    })
    .await?;
    Ok(())
}

async fn run(args: Args) -> anyhow::Result<()> {
    let consumer = Consumer::builder("billing")
        // Eight handlers at the same time (the default), and two connections for the inbox.
        .database(args.database.pool(10)?)
        .amqp_url(args.broker.amqp_url)
        // With a backlog, up to fifty messages share a transaction.
        .messages_per_transaction(50)
        // Declares the queue `billing` and binds it to the event's topic.
        .on::<OrderPlaced, _, _>(invoice)
        .build()?;

    // Database and broker may be started before or after this service. A stop lets running handlers finish.
    consumer.run(service::stop_signal()?).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    service::logs();
    exit_code(run(args).await)
}
