//! Rows that the library writes.

use outbox::{Message, MessageId, Outbox, PublishError};
use postroom_testkit::{Database, Login};
use sqlx::PgPool;

pub(crate) fn message(topic: &str) -> Result<Message, PublishError> {
    Message::bytes(topic, "text/plain", "body")
}

/// Ids in the order of their positions.
pub(crate) async fn ids(database: &Database) -> Vec<uuid::Uuid> {
    sqlx::query_scalar("SELECT message_id FROM outbox.message ORDER BY position")
        .fetch_all(&mut database.connect(Login::Owner).await)
        .await
        .unwrap()
}

pub(crate) async fn producer() -> (Database, PgPool) {
    let database = Database::new().await;
    let pool = database.pool(Login::Producer).await;
    (database, pool)
}

#[tokio::test]
async fn publish_all_is_one_statement_however_many_messages() {
    let (database, pool) = producer().await;
    database
        .ddl(
            "CREATE TABLE statement (inserted bigint);
             CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO statement SELECT count(*) FROM written; RETURN NULL; END';
             CREATE TRIGGER counted AFTER INSERT ON outbox.message
                 REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION counted()",
        )
        .await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    for count in [0, 1, 5_000] {
        let messages = (0..count).map(|n| message("t").unwrap().key(format!("k{n}")).unwrap());
        Outbox::new().publish_all(&mut tx, messages).await.unwrap();
    }
    tx.commit().await.unwrap();
    let statements: Vec<i64> = sqlx::query_scalar("SELECT inserted FROM statement")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(statements, [1, 5_000]);
}

#[tokio::test]
async fn ids_are_returned_in_the_order_of_writing() {
    let (database, pool) = producer().await;
    let outbox = Outbox::new();
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let messages = (0..200).map(|_| message("t").unwrap());
    let mut returned = outbox.publish_all(&mut tx, messages).await.unwrap();
    returned.push(
        outbox
            .publish(&mut tx, message("t").unwrap())
            .await
            .unwrap(),
    );
    tx.commit().await.unwrap();
    let returned: Vec<uuid::Uuid> = returned.into_iter().map(MessageId::as_uuid).collect();
    assert_eq!(ids(&database).await, returned);
    assert!(returned.iter().all(|id| id.get_version_num() == 7));
}

#[tokio::test]
async fn a_message_keeps_the_callers_own_id() {
    let (database, pool) = producer().await;
    let own = uuid::Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
    let outbox = Outbox::new();
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let one = message("t").unwrap().id(own);
    assert_eq!(
        outbox.publish(&mut tx, one.clone()).await.unwrap(),
        own.into()
    );
    // A commit whose outcome is unknown is tried again with the same id: no constraint forbids it,
    // consumers drop the second one.
    let again = outbox.publish_all(&mut tx, [one]).await.unwrap();
    assert_eq!(again, [own.into()]);
    tx.commit().await.unwrap();
    assert_eq!(ids(&database).await, [own, own]);
}
