//! Another server takes the database's place: a promoted standby, a restored dump.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::process::Command;

use postroom_testkit::{Login, PgServer, RelayProcess, Stack, Tap};
use support::{judged, load::Load};

const LEASE: (&str, &str) = ("POSTROOM_LEASE_TIMEOUT", "2s");

fn load() -> Load {
    Load {
        slow: false,
        ..Load::new(40)
    }
}

/// Fails over under load; producers and relay follow to the promoted standby.
async fn fail_over(synchronous: bool) -> (Stack, Tap, RelayProcess, (Stack, [PgServer; 2])) {
    let mut primary = PgServer::start();
    let standby = primary.standby();
    if synchronous {
        primary.configure("synchronous_standby_names = 'standby'");
        primary.reload();
    }
    let stack = Stack::on(&primary, None).await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let before = stack.relay_with(&[LEASE]).await;
    let load = load();
    load.prepare(&stack.database).await;
    tokio::select! {
        () = load.run(&stack.database) => panic!("the load ended before the fault"),
        () = async {
            tap.distinct(300).await;
            primary.kill();
        } => {}
    }
    standby.promote();
    before.kill().await;
    let promoted = Stack {
        database: stack.database.at(&standby.url()),
        broker: stack.broker.sibling(),
    };
    let relay = promoted.relay_with(&[LEASE]).await;
    load.end_orphans(&promoted.database).await;
    load.end_orphans(&promoted.database).await;
    // Other names for what it prepares.
    let more = Load {
        rounds: 10,
        seed: load.seed.wrapping_add(1_000),
        ..load
    };
    more.run(&promoted.database).await;
    (promoted, tap, relay, (stack, [primary, standby]))
}

#[tokio::test(flavor = "multi_thread")]
async fn g2_a_synchronous_standby_is_promoted_and_nothing_published_is_taken_back() {
    let (stack, tap, relay, _servers) = fail_over(true).await;
    judged(&stack.database, &tap).await.assert_clean();
    assert!(relay.logged().contains("promoted"), "a promotion is told");
}

/// Only the documented may happen: ghosts, whose places later messages take.
#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_standby_is_promoted_and_nothing_that_it_holds_is_lost() {
    let (stack, tap, relay, _servers) = fail_over(false).await;
    let report = judged(&stack.database, &tap).await;
    assert!(report.lost.is_empty(), "{report}");
    assert!(report.excess.is_empty(), "{report}");
    assert!(
        relay.logged().contains("asynchronous standby"),
        "the danger is told"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_dump_is_refused_and_completed_by_a_rebase() {
    let old = PgServer::start();
    let new = PgServer::start();
    let stack = Stack::on(&old, None).await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let load = Load {
        rounds: 10,
        ..load()
    };
    load.prepare(&stack.database).await;
    let relay = stack.relay_with(&[LEASE]).await;
    load.run(&stack.database).await;
    judged(&stack.database, &tap).await.assert_clean();
    assert!(relay.stop().await.success());
    // These are undelivered when the dump is made.
    Load {
        rounds: 5,
        seed: load.seed + 100,
        ..load.clone()
    }
    .run(&stack.database)
    .await;
    let restored = stack.database.at(&new.url());
    dump_and_restore(&old, &new, &restored.name);
    let there = Stack {
        database: restored,
        broker: stack.broker.sibling(),
    };
    let mut refused = there.start_relay(&[LEASE]);
    assert!(!refused.exited().await.success());
    assert!(
        refused.logged().contains("relay rebase"),
        "{}",
        refused.logged()
    );
    let rebased = Command::new(postroom_testkit::binary("relay"))
        .args([
            "rebase",
            "--database-url",
            &there.database.url(Login::Relay),
        ])
        .output()
        .unwrap();
    assert!(
        rebased.status.success(),
        "{}",
        String::from_utf8_lossy(&rebased.stderr)
    );
    let _relay = there.relay_with(&[LEASE]).await;
    Load {
        rounds: 5,
        seed: load.seed + 200,
        ..load
    }
    .run(&there.database)
    .await;
    judged(&there.database, &tap).await.assert_clean();
}

fn dump_and_restore(old: &PgServer, new: &PgServer, name: &str) {
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let (from, to) = (old.url(), new.url());
    let roles = run("pg_dumpall", &["--roles-only", "-d", &from]);
    let ours: Vec<&str> = roles
        .lines()
        .filter(|line| !line.contains("ROLE postgres") && !line.starts_with('\\'))
        .collect();
    let roles = ours.join("\n");
    run(
        "psql",
        &["-X", "-q", "-v", "ON_ERROR_STOP=1", &to, "-c", &roles],
    );
    let file = std::env::temp_dir().join(format!("{name}.dump"));
    let file = file.to_str().unwrap();
    let database = format!("postgres://postgres@127.0.0.1:{}/{name}", old.port);
    run("pg_dump", &["-Fc", "-f", file, "-d", &database]);
    run("pg_restore", &["-C", "-d", &to, file]);
    std::fs::remove_file(file).unwrap();
}
