//! Published messages are compared with the expected ones.

use postroom_testkit::{Expected, VirtualHost, assert_nothing_else, assert_published, published};
use sqlx::PgPool;

use crate::world::{Invoiced, Placed, Service};

/// Runs an assertion that must fail, and returns its message.
async fn failure(assertion: impl Future<Output = ()> + Send + 'static) -> String {
    let panicked = tokio::spawn(assertion).await.unwrap_err().into_panic();
    panicked.downcast_ref::<String>().unwrap().clone()
}

async fn nothing_else(pool: PgPool, expected: Vec<Expected>) {
    assert_nothing_else(&pool, expected).await;
}

#[tokio::test]
async fn published_events_are_read_and_compared() {
    let orders = Service::new("orders", &VirtualHost::new()).await;
    let pool = &orders.pool;
    assert_nothing_else(pool, []).await;
    orders.publish(&Placed { n: 1 }).await;
    orders.publish(&Placed { n: 2 }).await;
    orders.publish(&Invoiced { n: 3 }).await;
    assert_eq!(
        published::<Placed>(pool).await,
        [Placed { n: 1 }, Placed { n: 2 }]
    );
    let of = |n| Expected::of(&Placed { n });
    let invoiced = || Expected::of(&Invoiced { n: 3 });
    assert_published(pool, [of(2)]).await;
    assert_nothing_else(pool, [of(2), invoiced(), of(1)]).await;

    // As often as expected.
    let twice = failure(nothing_else(pool.clone(), vec![of(1), of(1), invoiced()])).await;
    assert_eq!(
        twice,
        "other messages were published (- expected, + published):\n  \
         = orders.placed {\"n\":1}\n  \
         = billing.invoiced {\"n\":3}\n  \
         - orders.placed {\"n\":1}\n  \
         + orders.placed {\"n\":2}\n      \
         /n: expected 1, published 2"
    );
    let more = failure(nothing_else(pool.clone(), vec![of(1), of(2)])).await;
    assert!(more.ends_with("\n  + billing.invoiced {\"n\":3}"), "{more}");
    let missing = {
        let (pool, expected) = (pool.clone(), [of(7)]);
        failure(async move { assert_published(&pool, expected).await }).await
    };
    assert!(missing.contains("- orders.placed {\"n\":7}"), "{missing}");
}

#[tokio::test]
async fn keys_types_and_bodies_that_are_no_json_are_compared() {
    let orders = Service::new("orders", &VirtualHost::new()).await;
    orders
        .publish_sql("'orders.placed', '{\"n\": 1}', key => 'k', type => 'other'")
        .await;
    let pool = orders.pool.clone();
    let text = failure(nothing_else(pool, vec![Expected::of(&Placed { n: 1 })])).await;
    assert!(text.contains("+ orders.placed type other key k"), "{text}");
    assert!(
        text.contains("type: expected Some(\"orders.placed\"), published Some(\"other\")"),
        "{text}"
    );
    assert!(
        text.contains("key: expected None, published Some(\"k\")"),
        "{text}"
    );
}
