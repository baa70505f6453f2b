//! A consumer over a queue with faults.

use postroom_testkit::{TestQueue, eventually};

use crate::world::{Placed, World, invoice};

fn placed(customer: &str, n: i64) -> Placed {
    Placed {
        customer: customer.to_owned(),
        n,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_g4_effects_happen_once_and_in_order_under_every_fault() {
    let world = World::new().await;
    let queue = TestQueue::default();
    for n in 0..10 {
        queue.push_event(&placed("anna", n));
        queue.push_event(&placed("bert", 100 + n));
    }
    queue.duplicate();
    queue.shuffle(7);
    queue.hold("bert");
    queue.lose_acknowledgements(3);
    let consumer = world.consumer().on::<Placed, _, _>(invoice);
    let consumer = consumer.build().unwrap();
    let handled = async {
        eventually("the messages of one key are handled", async || {
            queue.len() == 20
        })
        .await;
        assert!(world.invoices().await.iter().all(|n| *n < 100));
        queue.cut();
        queue.release("bert");
        eventually("all messages are handled", async || queue.is_empty()).await;
    };
    consumer.run_over(queue.clone(), handled).await.unwrap();
    let (anna, bert): (Vec<i64>, Vec<i64>) =
        world.invoices().await.into_iter().partition(|n| *n < 100);
    assert_eq!(anna, (0..10).collect::<Vec<_>>());
    assert_eq!(bert, (100..110).collect::<Vec<_>>());
}
