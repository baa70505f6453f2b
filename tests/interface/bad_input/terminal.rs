//! Output of commands at terminals and at pipes.

use postroom_testkit::{Database, Login, Stack, command, eventually};

use crate::assert_says;

/// `relay migrate | head -1` migrates, and a check that failed has failed, whether anybody reads on or not.
#[tokio::test]
async fn a_reader_that_goes_away_changes_nothing() {
    let database = Database::empty().await;
    let owner = [("POSTROOM_DATABASE_URL", database.url(Login::Owner))];
    let owner = owner.map(|(name, value)| (name.to_owned(), value));
    let migrated = command::relay_unread(&["migrate", "--roles"], &owner).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    let granted: bool = sqlx::query_scalar(
        "SELECT has_table_privilege('outbox_relay', 'outbox.message', 'SELECT')",
    )
    .fetch_one(&mut database.connect(Login::Owner).await)
    .await
    .unwrap();
    assert!(granted);

    let stack = Stack::new().await;
    let mut environment = stack.environment();
    environment.push(("POSTROOM_AMQP_EXCHANGE".to_owned(), "absent".to_owned()));
    let declare = ("POSTROOM_AMQP_DECLARE_EXCHANGE", "false");
    environment.push((declare.0.to_owned(), declare.1.to_owned()));
    let checked = command::relay_unread(&["check"], &environment).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
}

/// Topics and keys are the producers', and the terminal is not.
#[tokio::test]
async fn topics_and_keys_cannot_move_the_cursor() {
    let stack = Stack::new().await;
    let _relay = stack.relay().await;
    let publish = "SELECT outbox.publish(E't\\u001b[31m', '1', key => E'k\\u009b2J\\r\\u202e')
                   FROM generate_series(1, 2)";
    sqlx::query(publish)
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
    eventually("both are parked", async || {
        let listed = stack.command(&["parked", "list", "--json"]).await;
        listed.json().as_array().unwrap().len() == 2
    })
    .await;
    let listed = stack.command(&["parked", "list", "--json"]).await;
    let listed = listed.json();
    assert_eq!(listed[0]["key"], "k\u{9b}2J\r\u{202e}");
    let position = listed[0]["position"].to_string();
    for arguments in [
        &["status"][..],
        &["parked", "list"],
        &["parked", "show", &position],
        &["status", "--json"],
        &["parked", "list", "--json"],
    ] {
        let ended = stack.command(arguments).await;
        let printed = ended.succeeded();
        assert_says(printed, &["\\u009b2J\\", "\\u202e"]);
        let moves = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!printed.contains(moves), "{arguments:?}: {printed:?}");
    }
}

/// Discarding is final: what was meant must be clear, and what was not found is told.
#[tokio::test]
async fn which_messages_are_meant_is_clear() {
    let stack = Stack::new().await;
    let _relay = stack.relay().await;
    sqlx::query("SELECT outbox.publish('t', '1') FROM generate_series(1, 2)")
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
    let list = async || {
        let listed = stack.command(&["parked", "list", "--json"]).await;
        listed.json().as_array().unwrap().clone()
    };
    eventually("both are parked", async || list().await.len() == 2).await;
    let first = list().await[0]["position"].to_string();
    let none = stack.command(&["parked", "list", "--limit", "0"]).await;
    assert_eq!(none.code, Some(2), "{none:?}");
    let none = stack
        .command(&["parked", "list", "--reason", "rejected"])
        .await;
    assert_eq!(none.succeeded(), "nothing like that is parked\n");
    let some = stack
        .command(&["parked", "discard", &first, &first, "77"])
        .await;
    assert_says(
        some.error(),
        &[
            "no message is parked there",
            "1 of the positions; the others are done",
        ],
    );
    eventually("it is dropped", async || list().await.len() == 1).await;
}
