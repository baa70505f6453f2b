//! Commands with the documented rights: nobody else commands the consumer.

use postroom_testkit::{Login, Stack};

use crate::{
    attempts::Intruder,
    consumer::{self, Running, handled},
    documented,
};

#[tokio::test]
async fn g3_with_the_documented_rights_one_service_commands_the_consumer_and_no_other() {
    let stack = Stack::new().await;
    consumer::prepare(&stack.database).await;
    let fence = documented::declare_exchange_and_find_fence(&stack).await;
    let of_credits = documented::commanded(&stack);
    let of_accounts = documented::commanding(&stack, &fence);
    let settings = documented::settings(&of_accounts);
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let relay = stack.relay_with(&settings).await;
    let credits = Running::start_commanded(&stack, "credits", &of_credits);
    let mut producer = stack.database.connect(Login::Producer).await;
    let send = "SELECT outbox.publish('postroom.in.credits', jsonb_build_object('n', n), type => 'orders.placed')
                FROM generate_series(0, 9) AS n";
    sqlx::query(send).execute(&mut producer).await.unwrap();
    handled(&stack, "credits", 0..10).await;

    let of_orders = documented::relay(&stack, &fence);
    let of_billing = documented::consumer(&stack, "billing");
    for user in [&of_orders, &of_billing, &of_credits] {
        let intruder = Intruder::new(user).await;
        intruder
            .may_not_publish("postroom.in.credits", "orders.placed")
            .await;
        intruder
            .may_not_bind_exchange("postroom.in.credits", "amq.topic", "#")
            .await;
        intruder
            .may_not_declare_exchange("postroom.in.billing", None)
            .await;
    }
    let intruder = Intruder::new(&of_billing).await;
    intruder
        .may_not_delete_exchange("postroom.in.credits")
        .await;
    intruder
        .may_not_bind_queue("billing", "postroom.in.credits", "#")
        .await;
    relay.ready().await;
    credits.stop().await;
}
