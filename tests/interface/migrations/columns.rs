//! A row's transaction id exists before its position, and positions come one by one.

use postroom_testkit::{Database, Login};

#[tokio::test]
async fn every_leaf_has_the_columns_in_the_order_of_the_table() {
    let database = Database::new().await;
    let mut owner = database.connect(Login::Owner).await;
    let (leaves, misplaced): (i64, i64) = sqlx::query_as(
        "SELECT count(DISTINCT i.inhrelid),
                count(*) FILTER (WHERE leaf.attname IS DISTINCT FROM parent.attname)
         FROM pg_inherits AS i
         JOIN pg_attribute AS parent ON parent.attrelid = i.inhparent AND parent.attnum > 0
         LEFT JOIN pg_attribute AS leaf ON leaf.attrelid = i.inhrelid
                                       AND leaf.attnum = parent.attnum
         WHERE i.inhparent = 'outbox.message'::regclass",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!((leaves, misplaced), (16, 0));
    let first: Vec<String> = sqlx::query_scalar(
        "SELECT attname::text FROM pg_attribute
         WHERE attrelid = 'outbox.message'::regclass AND attnum > 0 ORDER BY attnum LIMIT 2",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(first, ["xid", "position"]);
}

#[tokio::test]
async fn trap_a_leaf_with_another_column_order_evaluates_defaults_the_other_way_round() {
    let database = Database::new().await;
    database
        .ddl(
            "CREATE SEQUENCE turn;
             CREATE TABLE message (xid bigint DEFAULT nextval('turn'),
                                   position bigint DEFAULT nextval('turn'),
                                   id integer) PARTITION BY LIST (id);
             CREATE TABLE leaf (id integer, position bigint DEFAULT nextval('turn'),
                                xid bigint DEFAULT nextval('turn'));
             ALTER TABLE message ATTACH PARTITION leaf FOR VALUES IN (1)",
        )
        .await;
    let mut owner = database.connect(Login::Owner).await;
    for (table, xid_first) in [("message", true), ("leaf", false)] {
        let sql = format!("INSERT INTO {table} (id) VALUES (1) RETURNING xid < position");
        let found: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut owner)
            .await
            .unwrap();
        assert_eq!(found, xid_first, "{table}");
    }
}

#[tokio::test]
async fn the_sequence_hands_out_no_positions_in_advance() {
    let database = Database::new().await;
    let mut owner = database.connect(Login::Owner).await;
    let (cache, step, cycles): (i64, i64, bool) = sqlx::query_as(
        "SELECT seqcache, seqincrement, seqcycle FROM pg_sequence
         WHERE seqrelid = 'outbox.message_position'::regclass",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!((cache, step, cycles), (1, 1, false));
}

#[tokio::test]
async fn each_leaf_is_read_by_position_and_by_transaction() {
    let database = Database::new().await;
    let mut owner = database.connect(Login::Owner).await;
    let indexes: Vec<(String, i64)> = sqlx::query_as(
        "SELECT regexp_replace(indexdef, '^.* USING ', ''), count(*) FROM pg_indexes
         WHERE schemaname = 'outbox' AND tablename ~ '^message_[0-9]{2}$' GROUP BY 1 ORDER BY 1",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let expected = [
        ("btree (\"position\")", 16),
        ("btree (xid, \"position\")", 16),
    ];
    assert_eq!(indexes, expected.map(|(index, n)| (index.to_owned(), n)));
}

#[tokio::test]
async fn uuid_v7_holds_the_current_time_and_never_repeats() {
    let database = Database::new().await;
    let mut producer = database.connect(Login::Producer).await;
    let ids: Vec<(uuid::Uuid, f64, f64)> = sqlx::query_as(
        "SELECT outbox.uuid_v7(), extract(epoch FROM statement_timestamp())::float8,
                extract(epoch FROM clock_timestamp())::float8
         FROM generate_series(1, 2000)",
    )
    .fetch_all(&mut producer)
    .await
    .unwrap();
    for (id, before, after) in &ids {
        assert_eq!(id.get_version_num(), 7, "{id}");
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122, "{id}");
        let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
        let time = seconds as f64 + f64::from(nanos) / 1e9;
        assert!(
            time > before - 0.002 && time < after + 0.002,
            "{before} {time} {after}"
        );
    }
    let distinct: std::collections::HashSet<_> = ids.iter().map(|(id, ..)| id).collect();
    assert_eq!(distinct.len(), ids.len());
}
