//! `relay rebase` while transactions are open that began before it.

use std::process::Stdio;

use postroom_testkit::{Login, PgServer, Stack, binary, eventually};
use sqlx::Executor as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use crate::assert_says;

#[tokio::test]
async fn a_rebase_says_which_transactions_it_waits_for() {
    // Of its own: a rebase waits for the transactions of all databases.
    let server = PgServer::start();
    let stack = Stack::on(&server, None).await;
    let pool = stack.database.pool(Login::Owner).await;
    let relay = stack.relay().await;
    eventually("a checkpoint is recorded", async || {
        let count = sqlx::query_scalar("SELECT count(*) FROM outbox.checkpoint");
        let count: i64 = count.fetch_one(&pool).await.unwrap();
        count > 0
    })
    .await;
    assert!(relay.stop().await.success());

    let mut open = stack.database.connect(Login::Producer).await;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut open)
        .await
        .unwrap();
    let mut prepared = stack.database.connect(Login::Producer).await;
    let publish =
        "BEGIN; SELECT outbox.publish('t', '1'); SAVEPOINT s; SELECT outbox.publish('t', '2')";
    for connection in [&mut open, &mut prepared] {
        connection.execute(publish).await.unwrap();
    }
    prepared
        .execute("PREPARE TRANSACTION 'forgotten'")
        .await
        .unwrap();

    let ended = stack.command(&["rebase", "--force", "--wait", "0s"]).await;
    let both = format!(
        "prepared 'forgotten' in database {name}, process {pid} in database {name}; ",
        name = stack.database.name
    );
    assert_says(
        ended.error(),
        &[&both, "pg_terminate_backend", "ROLLBACK PREPARED"],
    );

    let mut waiting = Command::new(binary("relay"))
        .args(["rebase", "--force"])
        .env_clear()
        .envs(stack.environment())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let first = said.next_line().await.unwrap().unwrap();
    assert_says(
        &first,
        &["waiting, at most", "forgotten", &format!("process {pid}")],
    );
    open.execute("ROLLBACK").await.unwrap();
    let second = said.next_line().await.unwrap().unwrap();
    assert!(!second.contains("process"), "{second}");
    prepared
        .execute("ROLLBACK PREPARED 'forgotten'")
        .await
        .unwrap();
    assert!(waiting.wait().await.unwrap().success());
    assert_eq!(said.next_line().await.unwrap(), None);
}
