//! Commands whose connection falls silent, as behind a firewall that forgot it, end and say so.

use futures_util::future::join_all;
use postroom_testkit::{Login, Proxy, Stack, Wire, command, eventually};
use sqlx::Executor as _;

use crate::assert_says;

#[tokio::test]
async fn a_command_ends_when_its_connection_falls_silent() {
    let stack = Stack::new().await;
    let proxy = Proxy::new(&stack.database.url(Login::Relay), Wire::Forward).await;
    let mut environment = stack.environment();
    for (name, value) in &mut environment {
        if name == "POSTROOM_DATABASE_URL" {
            *value = proxy.url(value);
        }
    }
    let commands: [&[&str]; 4] = [&["status"], &["parked", "list"], &["rebase"], &["check"]];
    // Statement that each command executes first.
    let mut owner = stack.database.connect(Login::Owner).await;
    owner
        .execute("BEGIN; LOCK TABLE outbox.migration")
        .await
        .unwrap();
    let silenced = async {
        let pool = stack.database.pool(Login::Owner).await;
        eventually("all of them are connected and wait", async || {
            let waiting = "SELECT count(*) FROM pg_locks
                           WHERE NOT granted AND relation = 'outbox.migration'::regclass";
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&pool).await.unwrap();
            waiting == commands.len() as i64
        })
        .await;
        proxy.set(Wire::BlackHole).await;
        owner.execute("COMMIT").await.unwrap();
    };
    let running = commands.map(|command| command::relay(command, &environment));
    let (ended, ()) = tokio::join!(join_all(running), silenced);
    for (ended, command) in ended.iter().zip(commands) {
        assert_eq!(ended.code, Some(1), "{command:?}: {ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert_says(&said, &["the database gave no answer within 45s"]);
    }
}
