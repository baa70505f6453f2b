//! Trap 7: plans do not depend on statistics. Plans made for an empty table would walk a full table.

use std::str::FromStr as _;

use postroom_testkit::{Database, Login};
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::statement;

const ROWS: i64 = 50_000;

/// Connects as the relay does to read frames, and prepares the statements of the first leaf; their
/// plans are made when they are first run.
async fn reader(database: &Database) -> PgConnection {
    let mut reader = connect(database, relay::statements::frames_settings()).await;
    let frame = "bigint, bigint, smallint, bigint, text, bigint, bigint";
    for (name, types, statement) in [
        ("look_new", frame.to_owned(), "page::LOOK_AND_NEW_PAGE"),
        (
            "look",
            format!("{frame}, text[], bigint[]"),
            "page::LOOK_AND_PAGE",
        ),
        ("new", format!("{frame}, text"), "page::NEW_PAGE"),
        (
            "page",
            format!("{frame}, text, text[], bigint[]"),
            "page::FRAME_PAGE",
        ),
        (
            "walk",
            "bigint, bigint, smallint, bigint, bigint".to_owned(),
            "page::WALK_PAGE",
        ),
        ("bodies", "bigint[]".to_owned(), "page::BODIES"),
    ] {
        let prepare = format!("PREPARE {name} ({types}) AS {}", of_leaf(statement));
        sqlx::raw_sql(AssertSqlSafe(prepare))
            .execute(&mut reader)
            .await
            .unwrap();
    }
    reader
}

/// Text of a statement for the first leaf.
fn of_leaf(name: &str) -> &'static str {
    let mut all = relay::statements::OF_LEAVES.iter();
    let found = all.find(|(listed, _)| *listed == name);
    found.expect("a listed statement").1[0]
}

async fn connect(database: &Database, settings: Vec<(&'static str, String)>) -> PgConnection {
    let options = PgConnectOptions::from_str(&database.url(Login::Relay)).unwrap();
    PgConnection::connect_with(&options.options(settings))
        .await
        .unwrap()
}

/// Fills the first leaf by many transactions, without autovacuum's help.
async fn fill(database: &Database) {
    let pool = PgPoolOptions::new()
        .connect(&database.url(Login::Owner))
        .await
        .unwrap();
    for _ in 0..10 {
        sqlx::query("SELECT outbox.publish('t', '1') FROM generate_series(1, $1)")
            .bind(ROWS / 10)
            .execute(&pool)
            .await
            .unwrap();
    }
}

async fn analyse(database: &Database) {
    let mut owner = database.connect(Login::Owner).await;
    sqlx::query("ANALYZE outbox.message")
        .execute(&mut owner)
        .await
        .unwrap();
}

/// Plans in the middle of a backlog: of the statements that read new rows, of those that read stragglers'
/// too, of which there are two, and of the one that fetches bodies.
async fn plans(reader: &mut PgConnection) -> [Vec<Value>; 3] {
    let (from, to): (String, String) = sqlx::query_as(
        "SELECT pg_snapshot_xmax(pg_current_snapshot())::text, pg_current_snapshot()::text",
    )
    .fetch_one(&mut *reader)
    .await
    .unwrap();
    // A backlog: all that was written lies above the floor and is new.
    let page = format!(
        "20000, {}, 0::smallint, 20000, '3', 1000, 4096",
        1_i64 << 40
    );
    let late = format!("ARRAY['{from}', '7'], ARRAY[10, 10]::bigint[]");
    let mut plans = [vec![], vec![], vec![]];
    for (kind, execute) in [
        (0, format!("look_new ({page})")),
        (0, format!("new ({page}, '{to}')")),
        (1, format!("look ({page}, {late})")),
        (1, format!("page ({page}, '{to}', {late})")),
        (
            0,
            format!("walk (20000, {}, 0::smallint, 1000, 4096)", 1_i64 << 40),
        ),
        (2, "bodies (ARRAY[20000, 30000]::bigint[])".to_owned()),
    ] {
        let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE {execute}");
        let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain))
            .fetch_one(&mut *reader)
            .await
            .unwrap();
        plans[kind].push(plan[0]["Plan"].clone());
    }
    plans
}

/// A node of a plan, with the types of the nodes above it.
struct Node<'a> {
    above: Vec<&'a str>,
    plan: &'a Value,
}

fn nodes<'a>(plan: &'a Value, above: &[&'a str], all: &mut Vec<Node<'a>>) {
    all.push(Node {
        above: above.to_vec(),
        plan,
    });
    let mut above = above.to_vec();
    above.push(plan["Node Type"].as_str().unwrap());
    for child in plan["Plans"].as_array().into_iter().flatten() {
        nodes(child, &above, all);
    }
}

async fn assert_reads_by_index_only(reader: &mut PgConnection) {
    let [of_new_rows, of_all, of_bodies] = plans(reader).await;
    for plan in of_new_rows {
        assert_reads_leaf_by_index_only(&plan, &[NEW]);
    }
    for plan in of_all {
        assert_reads_leaf_by_index_only(&plan, &[NEW, STRAGGLERS]);
    }
    for plan in of_bodies {
        assert_reads_leaf_by_index_only(&plan, &[BODIES]);
    }
}

/// Expected reading of a set of rows: the index, and the conditions that bound the scan.
type Read = (&'static str, &'static [&'static str]);

const BODIES: Read = ("message_00_position", &["\"position\" = ANY"]);

const NEW: Read = (
    "message_00_position",
    &["\"position\" >", "\"position\" <="],
);

const STRAGGLERS: Read = (
    "message_00_xid_position",
    &["ROW(xid, \"position\") >", "ROW(xid, \"position\") <="],
);

fn assert_reads_leaf_by_index_only(plan: &Value, expected: &[Read]) {
    let mut all = Vec::new();
    nodes(plan, &[], &mut all);
    let reads: Vec<&Node<'_>> = all
        .iter()
        .filter(|n| {
            let relation = n.plan["Relation Name"].as_str();
            relation.is_some_and(|name| name != "message_position")
        })
        .collect();
    assert_eq!(reads.len(), expected.len(), "{plan:#}");
    for (read, (index, conditions)) in reads.iter().zip(expected) {
        assert_eq!(read.plan["Relation Name"], "message_00", "{plan:#}");
        assert_eq!(read.plan["Node Type"], "Index Scan", "{plan:#}");
        assert_eq!(read.plan["Index Name"], *index, "{plan:#}");
        let condition = read.plan["Index Cond"].as_str().unwrap();
        for part in *conditions {
            assert!(condition.contains(part), "{part}: {condition}");
        }
        // Nothing sorts what the index gives before the limit ends it.
        let above = read.above.iter().rev();
        let up_to_limit: Vec<&&str> = above.take_while(|node| **node != "Limit").collect();
        assert!(!up_to_limit.contains(&&"Sort"), "{plan:#}");
    }
    // Nor is it made anew on the way to where sets are merged.
    let above = &reads[0].above;
    let merged = above.iter().rposition(|node| node.ends_with("Append"));
    assert!(!above[merged.unwrap_or(0)..].contains(&"Sort"), "{plan:#}");
}

#[tokio::test]
async fn trap_7_plans_made_for_an_empty_table_do_not_make_frames_walk_a_full_one() {
    let database = Database::new().await;
    analyse(&database).await;
    let mut reader = reader(&database).await;
    assert_reads_by_index_only(&mut reader).await;
    fill(&database).await;
    // The plans were kept, statistics are as they were.
    assert_reads_by_index_only(&mut reader).await;
}

#[tokio::test]
async fn trap_7_statistics_of_an_empty_table_do_not_make_frames_walk_it() {
    let database = Database::new().await;
    analyse(&database).await;
    fill(&database).await;
    assert_reads_by_index_only(&mut reader(&database).await).await;
}

#[tokio::test]
async fn trap_7_statistics_of_a_full_table_do_not_either() {
    let database = Database::new().await;
    fill(&database).await;
    analyse(&database).await;
    assert_reads_by_index_only(&mut reader(&database).await).await;
}

#[tokio::test]
async fn trap_7_a_table_that_was_never_analysed_is_read_by_index() {
    let database = Database::new().await;
    assert_reads_by_index_only(&mut reader(&database).await).await;
}

/// G6: however many messages are scheduled, only those that are due are read.
#[tokio::test]
async fn g6_scheduled_messages_are_not_read_before_their_time() {
    let database = Database::new().await;
    let mut reader = connect(&database, relay::statements::reader_settings()).await;
    let sql = format!(
        "PREPARE due (smallint, timestamptz, text[], bigint) AS {};
         EXPLAIN (FORMAT JSON) EXECUTE due (0::smallint, '2020-01-01', '{{}}', 100)",
        statement("read::DUE")
    );
    let row = sqlx::raw_sql(AssertSqlSafe(sql))
        .fetch_one(&mut reader)
        .await
        .unwrap();
    let explained: Value = row.get(0);
    let mut all = Vec::new();
    nodes(&explained[0]["Plan"], &[], &mut all);
    let condition = all.iter().find_map(|node| node.plan["Index Cond"].as_str());
    let condition = condition.unwrap_or_else(|| panic!("{explained:#}"));
    assert!(condition.contains("due_at <="), "{condition}");
}
