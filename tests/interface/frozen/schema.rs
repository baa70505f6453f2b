//! The schema as a database administrator dumps it.

use std::process::Command;

use postroom_testkit::{Database, Login};

/// Other releases of PostgreSQL write some of the same definitions in another way.
const FROZEN_WITH: i32 = 15;

/// Tables whose leaves differ in their number only.
const RINGS: [&str; 3] = ["message_", "dropped_", "processed_"];

#[tokio::test]
#[allow(clippy::print_stdout)] // Shown by `--nocapture`.
async fn the_schema_and_its_grants_are_as_before() {
    let database = Database::new().await;
    let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut database.connect(Login::Owner).await)
        .await
        .unwrap();
    if version / 10_000 != FROZEN_WITH {
        println!("not compared: frozen with PostgreSQL {FROZEN_WITH}, the server is {version}");
        return;
    }
    golden::check("schema.sql", &folded(&definitions(&dump(&database))));
}

fn dump(database: &Database) -> String {
    let dumped = Command::new("pg_dump")
        .args(["--schema-only", "-d", &database.url(Login::Owner)])
        .output()
        .expect("running pg_dump");
    let errors = String::from_utf8_lossy(&dumped.stderr);
    assert!(dumped.status.success(), "pg_dump failed: {errors}");
    String::from_utf8(dumped.stdout).expect("a dump in UTF-8")
}

/// The definitions of a dump, without its comments, versions and settings.
fn definitions(dump: &str) -> Vec<String> {
    let owner = "postroom_test_owner";
    let entries = dump.split("\n--\n-- Name: ").skip(1);
    let definitions = entries.map(|entry| {
        let (_, definition) = entry
            .split_once("\n--\n")
            .expect("a name, then a definition");
        let lines: Vec<&str> = definition
            .split("\n--\n-- PostgreSQL database dump complete")
            .next()
            .unwrap_or_default()
            .lines()
            .filter(|line| !line.starts_with("SET default_"))
            .collect();
        lines.join("\n").trim().replace(owner, "owner")
    });
    definitions.collect()
}

/// The definitions in their order; those of a ring's leaves once, with the number of leaves.
fn folded(definitions: &[String]) -> String {
    let mut folded: Vec<(String, usize)> = Vec::new();
    for definition in definitions {
        let general = without_leaf(definition);
        match folded.iter_mut().find(|(known, _)| *known == general) {
            Some((_, count)) => *count += 1,
            None => folded.push((general, 1)),
        }
    }
    let shown = folded.into_iter().map(|(definition, count)| match count {
        1 => format!("{definition}\n\n"),
        _ => format!("-- {count} times\n{definition}\n\n"),
    });
    shown.collect()
}

/// A definition with `NN` for the number of the leaf that it is about.
fn without_leaf(definition: &str) -> String {
    let numbers = RINGS.iter().filter_map(|ring| {
        let (_, rest) = definition.split_once(ring)?;
        let number = rest.get(..2)?;
        number
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then_some((ring, number))
    });
    let mut general = definition.to_owned();
    for (ring, number) in numbers {
        general = general.replace(&format!("{ring}{number}"), &format!("{ring}NN"));
        let slot = number.trim_start_matches('0');
        let slot = if slot.is_empty() { "0" } else { slot };
        general = general.replace(&format!("IN ('{slot}')"), "IN ('N')");
    }
    general
}
