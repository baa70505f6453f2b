//! The state of a consumer, as health checks see it.

use std::future::pending;

use inbox::{ConsumerState, ConsumerStatus, Context, HandlerError, health_router};
use metrics_exporter_prometheus::PrometheusBuilder;
use postroom_testkit::{DEADLINE, eventually};
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};

use crate::world::{Placed, Proxy, Running, World, insert_effect, metric};

async fn keep(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

/// A server with the health checks of one consumer.
struct Health {
    address: String,
    task: JoinHandle<()>,
}

impl Health {
    async fn serve(status: ConsumerStatus) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = health_router([status]);
        let task = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { address, task }
    }

    /// Returns the status code of a path, and the report of the consumer.
    async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let asking = tokio::task::spawn_blocking(move || {
            let config = ureq::Agent::config_builder();
            let agent = config.http_status_as_error(false).build().new_agent();
            let mut answer = agent.get(&url).call().unwrap();
            let body = answer.body_mut().read_to_string().unwrap();
            (answer.status().as_u16(), body)
        });
        let (code, body) = asking.await.unwrap();
        let mut body: Value = serde_json::from_str(&body).unwrap();
        (code, body["consumers"][0].take())
    }

    async fn becomes(&self, path: &str, code: u16) -> Value {
        eventually("the health check changes", || async {
            self.get(path).await.0 == code
        })
        .await;
        self.get(path).await.1
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The pool repeats attempts to connect for 30 s, and would say only that no connection became free.
#[tokio::test]
async fn a_database_that_is_down_at_the_start_is_named_with_its_cause() {
    let world = World::new().await;
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut url = world.database.url();
    let port = unused.local_addr().unwrap().port();
    url.set_port(Some(port)).unwrap();
    drop(unused);
    let pool = PgPoolOptions::new().max_connections(12);
    let pool = pool.connect_lazy(url.as_str()).unwrap();
    let consumer = world.consumer().database(pool).on(keep).build().unwrap();
    let status = consumer.status();
    assert_eq!(status.report().state, ConsumerState::Created);
    let running = tokio::spawn(consumer.run(pending()));
    eventually("the problem is named", || async {
        let report = status.report();
        let problem = report.problem.unwrap_or_default();
        report.state == ConsumerState::WaitingForDatabase && problem.contains("refused")
    })
    .await;
    running.abort();
}

#[tokio::test]
async fn a_consumer_is_ready_while_its_servers_serve_it() {
    let world = World::new().await;
    let database = Proxy::new(world.database.address(), true).await;
    let broker = Proxy::new(world.broker.address(), false).await;
    let consumer = world
        .consumer()
        .database(world.database.pool_through(database.port, 12))
        .amqp_url(world.broker.url_through(broker.port))
        .on(keep)
        .build()
        .unwrap();
    let status = consumer.status();
    let health = Health::serve(status.clone()).await;
    assert_eq!(health.get("/ready").await.0, 503);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(consumer.run(async {
        let _ = stopped.await;
    }));
    let waits =
        |report: &Value| report["state"] == "waiting_for_broker" && report["problem"].is_string();
    eventually("it waits for the broker", || async {
        waits(&health.get("/ready").await.1)
    })
    .await;
    assert_eq!(health.get("/live").await.0, 200);
    broker.mend();
    status.ready().await;
    let (code, report) = health.get("/ready").await;
    assert_eq!(code, 200);
    assert_eq!(report["state"], "subscribed");
    assert_eq!(report["queue"], "billing");
    assert!(report["last_delivery"].is_null() && report["problem"].is_null());
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    eventually("nothing is in flight", || async {
        let report = status.report();
        report.in_flight == 0 && report.last_delivery.is_some()
    })
    .await;
    database.cut();
    let report = health.becomes("/ready", 503).await;
    assert!(report["problem"].is_string(), "{report}");
    database.mend();
    let report = health.becomes("/ready", 200).await;
    assert!(report["problem"].is_null(), "{report}");
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(status.report().state, ConsumerState::Stopped);
    assert_eq!(health.get("/ready").await.0, 503);
    assert_eq!(health.get("/live").await.0, 200);
}

#[tokio::test]
async fn a_consumer_that_only_an_operator_can_help_is_not_live() {
    let world = World::new().await;
    let mut url = world.database.url();
    url.set_password(Some("wrong")).unwrap();
    let pool = PgPoolOptions::new().max_connections(12);
    let pool = pool.connect_lazy(url.as_str()).unwrap();
    let consumer = world.consumer().database(pool).on(keep).build().unwrap();
    let health = Health::serve(consumer.status()).await;
    consumer.run(pending()).await.unwrap_err();
    let (code, report) = health.get("/live").await;
    assert_eq!(code, 503);
    assert_eq!(report["state"], "failed");
    let problem = report["problem"].as_str().unwrap();
    assert!(problem.contains("password"), "{problem}");
}

#[tokio::test]
async fn a_process_that_stands_by_says_so() {
    let world = World::new().await;
    let consumer = || world.consumer().on(keep).build().unwrap();
    let (active, standby) = (consumer(), consumer());
    let (first, second) = (active.status(), standby.status());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let active = tokio::spawn(active.run(async {
        let _ = stopped.await;
    }));
    first.ready().await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    let standby = tokio::spawn(standby.run(pending()));
    let stands_by = |state| state == ConsumerState::StandingBy;
    let waiting = second.wait_for(stands_by);
    timeout(DEADLINE, waiting)
        .await
        .expect("the second stands by");
    assert!(second.report().is_ready);
    assert_eq!(first.report().state, ConsumerState::Subscribed);
    stop.send(()).unwrap();
    active.await.unwrap().unwrap();
    world.broker.publish(&Placed::new("a", 2)).await;
    let served = second.wait_for(|state| state == ConsumerState::Subscribed);
    timeout(DEADLINE, served)
        .await
        .expect("the second is served");
    standby.abort();
}

#[tokio::test]
async fn counters_exist_before_their_first_event() {
    let world = World::new().await;
    // Everything here runs on this thread.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let running = Running::start(&world.broker, "billing", world.consumer().on(keep)).await;
    let counted = recorder.handle().render();
    for name in [
        "postroom_inbox_handled_total",
        "postroom_inbox_dead_total",
        "postroom_inbox_duplicates_total",
    ] {
        assert_eq!(metric(&counted, name), Some(0.0), "{name}");
    }
    assert_eq!(
        metric(&counted, "postroom_inbox_connected_total"),
        Some(1.0)
    );
    running.stop().await;
}
