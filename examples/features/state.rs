//! Handlers take what the service shares, and properties of their message.

use example::{Countdown, OrderPlaced};
use inbox::{
    Consumer, Context, HandlerError,
    extract::{Attempt, FromRef, OrderingKey, State},
};

/// The state that the handlers of this service share.
#[derive(Clone)]
struct App {
    prices: Prices,
    countdown: Countdown,
}

#[derive(Clone)]
struct Prices {
    tax_percent: i64,
}

impl FromRef<App> for Prices {
    fn from_ref(app: &App) -> Self {
        app.prices.clone()
    }
}

impl FromRef<App> for Countdown {
    fn from_ref(app: &App) -> Self {
        app.countdown.clone()
    }
}

async fn price(
    mut ctx: Context,
    State(prices): State<Prices>,
    State(countdown): State<Countdown>,
    OrderingKey(customer): OrderingKey,
    Attempt(attempt): Attempt,
    order: OrderPlaced,
) -> Result<(), HandlerError> {
    let cents = order.cents * (100 + prices.tax_percent) / 100;
    sqlx::query("INSERT INTO orders (id, customer, cents) VALUES ($1, $2, $3)")
        .bind(order.id)
        .bind(&customer)
        .bind(cents)
        .execute(ctx.connection())
        .await?;
    let id = order.id;
    println!("order {id} of {customer}, attempt {attempt}: {cents} cents with tax");
    countdown.count(1);
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let orders = vec![OrderPlaced::new(1, "ann"), OrderPlaced::new(2, "ann")];
    example::place(&pool, orders).await?;

    let app = App {
        prices: Prices { tax_percent: 19 },
        countdown: Countdown::new(2),
    };
    let over = app.countdown.over();
    let consumer = Consumer::builder("billing")
        .database(pool)
        .amqp_url(example::amqp_url()?)
        .with_state(app)
        .on(price)
        .build()?;
    consumer.run(over).await?;
    Ok(())
}
