//! tower: a clone of a ready service is not ready. Whoever clones must call the one that was asked.

use std::{convert::Infallible, panic::AssertUnwindSafe};

use futures_util::FutureExt as _;
use tower::{Service as _, ServiceExt as _, limit::ConcurrencyLimit, service_fn};

#[tokio::test]
async fn a_clone_of_a_ready_service_is_not_ready() {
    let answer = service_fn(async |(): ()| Ok::<_, Infallible>("answer"));
    let mut asked = ConcurrencyLimit::new(answer, 2);
    asked.ready().await.unwrap();
    let mut clone = asked.clone();
    let called = AssertUnwindSafe(async { clone.call(()).await })
        .catch_unwind()
        .await;
    assert!(called.is_err(), "tower's clones are ready now");
    // Take the ready one and leave the clone in its place.
    assert_eq!(asked.call(()).await, Ok("answer"));
}
