//! Each user works with the documented rights, and may do nothing beside.

use postroom_testkit::{Login, Stack, eventually};
use sqlx::AssertSqlSafe;

use crate::{
    attempts::{Intruder, definitions},
    consumer::{self, Running, bound, handled},
    documented,
};

/// Publishes orders of these numbers.
pub(crate) async fn publish(stack: &Stack, numbers: std::ops::Range<i64>) {
    let sql = format!(
        "SELECT outbox.publish('orders.placed', jsonb_build_object('n', n))
         FROM generate_series({}, {}) AS n",
        numbers.start,
        numbers.end - 1
    );
    let mut producer = stack.database.connect(Login::Producer).await;
    let published = sqlx::query(AssertSqlSafe(sql)).execute(&mut producer);
    published.await.unwrap();
}

/// Tries everything that the owner of the queue `own` must not do.
async fn consumers_limits(stack: &Stack, intruder: &Intruder<'_>, fence: &str, own: &str) {
    // The exchange: not deleted, nor declared as another one, nor with an alternate one.
    intruder.may_not_delete_exchange("postroom").await;
    intruder.may_not_declare_exchange("postroom", None).await;
    intruder
        .may_not_declare_exchange("postroom", Some(own))
        .await;
    // An exchange of its own leads nowhere else.
    intruder.may_not_declare_exchange("mine", None).await;
    intruder
        .may_not_declare_exchange(own, Some("postroom"))
        .await;
    intruder
        .may_not_bind_exchange("postroom", "amq.topic", "#")
        .await;
    intruder.may_not_bind_exchange("postroom", own, "#").await;
    intruder.may_not_bind_exchange(own, "postroom", "#").await;
    intruder
        .may_not_bind_exchange("amq.topic", "postroom", "orders.placed")
        .await;
    // Others' topics.
    for pattern in [
        "#",
        "orders.#",
        "orders.*",
        "*.placed",
        "*.*",
        "#.placed",
        "orders.paid",
        "",
    ] {
        intruder.may_not_bind_queue(own, "postroom", pattern).await;
    }
    for exchange in ["amq.topic", "amq.fanout", "amq.rabbitmq.trace"] {
        intruder.may_not_bind_queue(own, exchange, "#").await;
    }
    // Others' queues, and what has no owner.
    intruder.may_not_touch_queue("loyalty").await;
    intruder.may_not_touch_queue(fence).await;
    for name in ["mine", "", &format!("{own}.more"), &format!("more.{own}")] {
        intruder.may_not_declare_queue(name, None).await;
    }
    for (exchange, topic) in [
        ("postroom", "orders.placed"),
        ("", "loyalty"),
        ("", own),
        ("amq.topic", "orders.placed"),
        ("amq.direct", "loyalty"),
    ] {
        intruder.may_not_publish(exchange, topic).await;
    }
    intruder.may_not_manage(&stack.broker);
}

/// Tries everything that the relays of an outbox must not do.
async fn relays_limits(stack: &Stack, intruder: &Intruder<'_>, fence: &str) {
    intruder.may_not_delete_exchange("postroom").await;
    intruder.may_not_declare_exchange("postroom", None).await;
    intruder
        .may_not_declare_exchange("postroom", Some("mine"))
        .await;
    intruder.may_not_declare_exchange("mine", None).await;
    for (to, from) in [("postroom", "amq.topic"), ("amq.topic", "postroom")] {
        intruder.may_not_bind_exchange(to, from, "#").await;
    }
    // Others' fences: of another server, another database, another lane.
    let parts: Vec<&str> = fence.split('.').collect();
    let [.., server, database, lane] = parts[..] else {
        panic!("{fence}");
    };
    for other in [
        format!("postroom.fence.{server}0.{database}.{lane}"),
        format!("postroom.fence.{server}.{database}0.{lane}"),
        format!("postroom.fence.{server}.{database}.{lane}0"),
        format!("more.postroom.fence.{server}.{database}.{lane}"),
        format!("postroom-fence-{server}-{database}-{lane}"),
        "postroom.fence.check".to_owned(),
        "postroom".to_owned(),
        String::new(),
    ] {
        intruder.may_not_declare_queue(&other, None).await;
    }
    // Others' queues, and messages to its own fence.
    for queue in ["billing", "loyalty"] {
        intruder.may_not_touch_queue(queue).await;
    }
    intruder.may_not_bind_queue(fence, "postroom", "#").await;
    // Others' topics.
    for (exchange, topic) in [
        ("postroom", "payments.received"),
        ("postroom", "order"),
        ("postroom", "more.orders.placed"),
        ("", "billing"),
        ("", fence),
        ("amq.topic", "orders.placed"),
    ] {
        intruder.may_not_publish(exchange, topic).await;
    }
    intruder.may_not_manage(&stack.broker);
}

/// The relay declares it again, and each consumer binds its queue again; what finds no queue until then waits.
#[tokio::test]
async fn g3_an_exchange_that_an_administrator_deletes_costs_no_message() {
    let stack = Stack::new().await;
    consumer::prepare(&stack.database).await;
    let of_billing = documented::consumer(&stack, "billing");
    // Before the relay, which declares the exchange.
    let billing = Running::start(&stack, "billing", &of_billing);
    let relay = stack.relay().await;
    bound(&stack, "billing").await;
    publish(&stack, 0..10).await;
    handled(&stack, "billing", 0..10).await;
    let path = format!("exchanges/{}/postroom", stack.broker.name);
    stack.broker.request("DELETE", &path, None);
    publish(&stack, 10..30).await;
    handled(&stack, "billing", 0..30).await;
    relay.ready().await;
    billing.stop().await;
}

/// A consumer that may delete the exchange and declare it again makes everybody's messages vanish, while the
/// relay sees them confirmed.
#[tokio::test]
async fn g3_with_the_documented_rights_each_works_and_nobody_can_take_what_is_others() {
    let stack = Stack::new().await;
    consumer::prepare(&stack.database).await;
    let pattern = documented::declare_exchange_and_find_fence(&stack).await;
    let fence = pattern.trim_matches(['^', '$']).replace('\\', "");
    let of_relay = documented::relay(&stack, &pattern);
    let of_billing = documented::consumer(&stack, "billing");
    let of_loyalty = documented::consumer(&stack, "loyalty");
    let settings = documented::settings(&of_relay);
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let checked = stack.command_with(&["check"], &settings).await;
    checked.succeeded();
    let relay = stack.relay_with(&settings).await;
    let billing = Running::start(&stack, "billing", &of_billing);
    let loyalty = Running::start(&stack, "loyalty", &of_loyalty);
    for name in ["billing", "loyalty"] {
        bound(&stack, name).await;
    }
    publish(&stack, 0..10).await;
    for name in ["billing", "loyalty"] {
        handled(&stack, name, 0..10).await;
    }

    let before = definitions(&stack.broker);
    let intruder = Intruder::new(&of_billing).await;
    consumers_limits(&stack, &intruder, &fence, "billing").await;
    let intruder = Intruder::new(&of_relay).await;
    relays_limits(&stack, &intruder, &fence).await;
    // A queue that is declared passes nothing on.
    let of_audit = documented::consumer(&stack, "audit");
    let intruder = Intruder::new(&of_audit).await;
    for exchange in ["postroom", "", "amq.topic"] {
        intruder
            .may_not_declare_queue("audit", Some(exchange))
            .await;
    }
    assert_eq!(definitions(&stack.broker), before);

    publish(&stack, 10..30).await;
    for name in ["billing", "loyalty"] {
        handled(&stack, name, 0..30).await;
    }
    eventually("nothing is left behind", async || {
        let status = stack.command(&["status", "--json"]).await.json();
        status["waiting"] == 0 && status["parked"].as_array().unwrap().is_empty()
    })
    .await;
    relay.ready().await;
    billing.stop().await;
    loyalty.stop().await;
}
