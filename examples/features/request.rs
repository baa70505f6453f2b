//! A service asks another by a command, and waits for its reply.

use std::time::Duration;

use example::Countdown;
use inbox::{Consumer, Context, HandlerError, NoReply};
use outbox::{Event, Outbox, ReplyTo};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(topic = "credits.grant", key = customer)]
struct GrantCredit {
    customer: String,
    cents: i64,
}

#[derive(Serialize, Deserialize, Event)]
#[event(topic = "credits.granted", unkeyed)]
struct CreditGranted {
    cents: i64,
}

async fn grant(mut ctx: Context, command: GrantCredit) -> Result<(), HandlerError> {
    let cents = command.cents;
    if cents > 1_000 {
        return Err(HandlerError::reject("nobody gets more than 1000 cents"));
    }
    if ctx.message().reply_to.is_some() {
        ctx.reply(&CreditGranted { cents }).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let over = Countdown::new(1);
    let builder = |name| -> anyhow::Result<_> {
        let builder = Consumer::builder(name).database(pool.clone());
        Ok(builder.amqp_url(example::amqp_url()?))
    };
    let credits = builder("credits")?.on_command(grant).build()?;
    let accounts = builder("accounts")?
        .keep_replies(Duration::from_hours(1))
        .build()?;
    let replies = accounts.replies();
    let credits = tokio::spawn(credits.run(over.over()));
    let accounts = tokio::spawn(accounts.run(over.over()));

    let longest = Duration::from_mins(1);
    for cents in [500, 5_000] {
        let mut tx = outbox::transaction::begin(&pool).await?;
        let command = GrantCredit {
            customer: "ann".to_owned(),
            cents,
        };
        let reply_to = ReplyTo::new("accounts", longest);
        let request = Outbox::new()
            .request(&mut tx, "credits", &command, &reply_to)
            .await?;
        tx.commit().await?;
        match replies.wait::<CreditGranted>(request, longest).await {
            Ok(granted) => println!("granted: {} cents", granted.cents),
            Err(NoReply::Fault(fault)) => {
                println!("{}: {}", fault.reason, fault.error.unwrap_or_default())
            }
            Err(error) => return Err(error.into()),
        }
    }
    over.count(1);
    credits.await??;
    accounts.await??;
    Ok(())
}
