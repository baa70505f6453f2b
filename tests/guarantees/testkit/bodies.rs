//! Bodies that releases have published, and the changes that break them.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use inbox::{Consumer, Context, HandlerError};
use outbox::Event;
use postroom_testkit::{Bodies, unique};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

#[derive(Serialize, Deserialize)]
struct PlacedV1 {
    price: f64,
}

#[derive(Serialize, Deserialize)]
struct PlacedV2 {
    cents: i64,
}

#[derive(Serialize, Deserialize)]
struct PlacedV2WithCoupon {
    cents: i64,
    coupon: Option<String>,
}

macro_rules! placed {
    ($event:ty, $version:literal) => {
        impl Event for $event {
            const TOPIC: &'static str = "orders.placed";
            const VERSION: u32 = $version;

            fn key(&self) -> Option<String> {
                None
            }
        }
    };
}

placed!(PlacedV1, 1);
placed!(PlacedV2, 2);
placed!(PlacedV2WithCoupon, 2);

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(unique("bodies")))
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn check(&self, consumer: &Consumer, event: &impl Event, writes: bool) {
        let bodies = Bodies::in_folder(&self.0).event(event).read_by(consumer);
        bodies.write_missing(writes).check();
    }

    fn failure(&self, consumer: &Consumer, event: &impl Event, writes: bool) -> String {
        let check = AssertUnwindSafe(|| self.check(consumer, event, writes));
        let panicked = catch_unwind(check).unwrap_err();
        panicked.downcast_ref::<String>().unwrap().clone()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

async fn handle<E>(_: Context, _: E) -> Result<(), HandlerError> {
    Ok(())
}

fn builder() -> inbox::ConsumerBuilder {
    let pool = PgPool::connect_lazy("postgres://localhost:1/none").unwrap();
    let consumer = Consumer::builder("billing").database(pool);
    consumer.amqp_url("amqp://guest:guest@localhost:1")
}

#[tokio::test]
async fn a_change_without_a_new_version_fails_with_what_changed() {
    let folder = Folder::new();
    let consumer = builder().on::<PlacedV2, _, _>(handle).build().unwrap();
    let cents = PlacedV2 { cents: 150 };
    let missing = folder.failure(&consumer, &cents, false);
    let problem = "orders.placed version 2 is kept in no file; run the test with POSTROOM_BLESS=1";
    assert!(missing.ends_with(problem), "{missing}");
    folder.check(&consumer, &cents, true);
    folder.check(&consumer, &PlacedV2 { cents: 7 }, false);

    let coupon = PlacedV2WithCoupon {
        cents: 150,
        coupon: Some("x".into()),
    };
    let changed = folder.failure(&consumer, &coupon, false);
    let problem = "orders.placed has another shape than version 2 in orders.placed.v2.json:\n      /coupon is new\n";
    assert!(changed.contains(problem), "{changed}");
    // A compatible change keeps both shapes, and both are read from then on.
    folder.check(&consumer, &coupon, true);
    assert_eq!(
        folder.files(),
        ["orders.placed.v2.2.json", "orders.placed.v2.json"]
    );
    folder.check(&consumer, &coupon, false);
    folder.check(&consumer, &cents, false);
}

#[tokio::test]
async fn a_change_that_breaks_an_old_body_fails_with_its_file() {
    let folder = Folder::new();
    let old = builder().on::<PlacedV1, _, _>(handle).build().unwrap();
    folder.check(&old, &PlacedV1 { price: 1.5 }, true);

    let cents = PlacedV2 { cents: 150 };
    let forgetful = builder().on::<PlacedV2, _, _>(handle).build().unwrap();
    let broken = folder.failure(&forgetful, &cents, true);
    assert!(
        broken.contains("\n  orders.placed.v1.json cannot be read any more: "),
        "{broken}"
    );
    assert!(broken.contains("missing field `cents`"), "{broken}");

    let consumer = builder().on::<PlacedV2, _, _>(handle);
    let consumer = consumer.upcast::<PlacedV2, _, _>(1, |old: PlacedV1| PlacedV2 {
        cents: (old.price * 100.0).round() as i64,
    });
    folder.check(&consumer.build().unwrap(), &cents, false);
}

#[tokio::test]
async fn a_body_that_no_consumer_handles_fails() {
    let folder = Folder::new();
    let consumer = builder().on::<crate::world::Placed, _, _>(handle);
    let cents = crate::world::Invoiced { n: 1 };
    let unhandled = folder.failure(&consumer.build().unwrap(), &cents, true);
    let problem = "billing.invoiced.v1.json: no consumer handles billing.invoiced";
    assert!(unhandled.contains(problem), "{unhandled}");
}
