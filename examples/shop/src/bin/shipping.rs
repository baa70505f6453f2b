//! The shipping service: ships each invoiced order, and insures a parcel when the orders service asks for it.
//!
//! An example of a service that keeps a replica of what it needs, waits for what has not arrived yet, and replies to
//! commands.

use std::process::ExitCode;

use clap::Parser;
use inbox::{Consumer, Context, HandlerError};
use shop::{
    CustomerRegistered, InsureParcel, OrderInvoiced, ParcelInsured,
    service::{self, Broker, Database},
    terminal::exit_code,
};

/// Ships each order that was invoiced
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Args {
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    broker: Broker,
}

/// Adds a customer to the replica.
async fn register(mut ctx: Context, event: CustomerRegistered) -> Result<(), HandlerError> {
    sqlx::query("INSERT INTO customers (customer) VALUES ($1)")
        .bind(event.customer)
        .execute(ctx.connection())
        .await?;
    Ok(())
}

/// Ships one order.
///
/// The invoice comes from billing and the customer from orders, so either may arrive first. An invoice of an unknown
/// customer waits: deferring counts no failure, and lets the customer pass, who has the same key.
async fn ship(mut ctx: Context, invoice: OrderInvoiced) -> Result<(), HandlerError> {
    let is_known: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM customers WHERE customer = $1)")
            .bind(invoice.customer)
            .fetch_one(ctx.connection())
            .await?;
    if !is_known {
        let customer = invoice.customer;
        return Err(HandlerError::not_yet(format!(
            "customer {customer} has not arrived yet"
        )));
    }
    sqlx::query("INSERT INTO shipments (order_id, customer, cds, cents) VALUES ($1, $2, $3, $4)")
        .bind(invoice.order_id)
        .bind(invoice.customer)
        .bind(invoice.cds)
        .bind(invoice.cents)
        .execute(ctx.connection())
        .await?;
    Ok(())
}

/// Insures one parcel. The reply commits together with the policy that it names.
async fn insure(mut ctx: Context, command: InsureParcel) -> Result<(), HandlerError> {
    let policy = sqlx::query_scalar("INSERT INTO insured (order_id) VALUES ($1) RETURNING policy")
        .bind(command.order_id)
        .fetch_one(ctx.connection())
        .await?;
    ctx.reply(&ParcelInsured {
        order_id: command.order_id,
        policy,
    })
    .await?;
    Ok(())
}

async fn run(args: Args) -> anyhow::Result<()> {
    let consumer = Consumer::builder("shipping")
        .database(args.database.pool(10)?)
        .amqp_url(args.broker.amqp_url)
        .messages_per_transaction(50)
        .on::<CustomerRegistered, _, _>(register)
        .on::<OrderInvoiced, _, _>(ship)
        // Declares the exchange `postroom.in.shipping`, through which others command this service.
        .on_command::<InsureParcel, _, _>(insure)
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
