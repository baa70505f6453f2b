//! Parallel processing of items that keeps the order of each key.

use futures_util::future::{try_join, try_join_all};
use tokio::sync::mpsc;

/// Number of items that are read ahead for each worker.
const READ_AHEAD: usize = 64;

/// Calls `work` for each item, on up to `workers` items at the same time. Items of the same key are
/// processed one after another, in the order in which they are read.
///
/// # Errors
/// An item that is an error stops the reading: the items before it are processed, then the error is
/// returned. An error of `work` stops everything.
pub async fn for_each<T>(
    items: impl Iterator<Item = anyhow::Result<T>>,
    workers: usize,
    key: impl Fn(&T) -> i64,
    work: impl AsyncFn(T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (queues, receivers): (Vec<_>, Vec<_>) = (0..workers.max(1))
        .map(|_| mpsc::channel(READ_AHEAD))
        .unzip();
    let read = async move {
        for item in items {
            let item = match item {
                Ok(item) => item,
                // Not returned as an error of this future: `try_join` would then drop the workers midway.
                Err(error) => return Ok(Some(error)),
            };
            let worker = key(&item).rem_euclid(queues.len() as i64);
            if queues[worker as usize].send(item).await.is_err() {
                break;
            }
        }
        Ok(None)
    };
    let work = &work;
    let workers = receivers.into_iter().map(|mut items| async move {
        while let Some(item) = items.recv().await {
            work(item).await?;
        }
        anyhow::Ok(())
    });
    match try_join(read, try_join_all(workers)).await? {
        (Some(error), _) => Err(error),
        (None, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use anyhow::bail;
    use tokio::task::yield_now;

    use super::for_each;

    #[tokio::test]
    async fn items_of_a_key_keep_their_order_and_items_before_an_error_are_processed() {
        let items = (0..1_000).map(|item| {
            if item == 900 {
                bail!("item 900");
            }
            Ok(item)
        });
        let done = Mutex::new(Vec::new());
        let ended = for_each(
            items,
            7,
            |item| item % 10,
            async |item| {
                for _ in 0..item % 3 {
                    yield_now().await;
                }
                done.lock().unwrap().push(item);
                Ok(())
            },
        )
        .await;
        assert_eq!(ended.unwrap_err().to_string(), "item 900");
        let done = done.into_inner().unwrap();
        assert_eq!(done.len(), 900);
        for key in 0..10 {
            let of_key: Vec<i64> = done.iter().copied().filter(|i| i % 10 == key).collect();
            assert!(of_key.is_sorted());
        }
    }

    #[tokio::test]
    async fn an_error_of_the_work_ends_everything() {
        let items = (0_i64..).map(Ok);
        let ended = for_each(
            items,
            3,
            |item| *item,
            async |item| {
                if item == 500 {
                    bail!("work {item}");
                }
                Ok(())
            },
        );
        assert_eq!(ended.await.unwrap_err().to_string(), "work 500");
    }
}
