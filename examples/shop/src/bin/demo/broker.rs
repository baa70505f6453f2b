//! The demo's virtual host, and queries to the broker.

use std::time::Duration;

use anyhow::{Context as _, bail};
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use serde_json::Value;
use url::Url;

use crate::address;

/// Queues of the demo: the queue of the tap, and those of the services.
pub(crate) const QUEUES: [&str; 5] = ["tap", "orders", "billing", "loyalty", "shipping"];
/// Exchanges of the demo, which end with it: those through which services are commanded.
const OWN_EXCHANGES: [&str; 2] = ["postroom.in.orders", "postroom.in.shipping"];
const EXCHANGE: &str = "postroom";
/// Longest wait for an answer of the management API.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Broker and virtual host of the demo.
#[derive(Debug)]
pub(crate) struct Broker {
    amqp: Url,
    /// URL of the management API; `None` to do without it.
    admin: Option<Url>,
    suffix: String,
    home: VirtualHost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VirtualHost {
    /// No virtual host is chosen yet.
    None,
    /// A virtual host made for this demo.
    Own,
    /// The virtual host of the given URL, used without a management API.
    Given,
}

/// Numbers of a queue's messages and consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) messages: u32,
    pub(crate) consumers: u32,
}

impl Broker {
    pub(crate) fn new(amqp: Url, admin: Option<Url>, suffix: &str) -> Self {
        Self {
            amqp,
            admin,
            suffix: suffix.to_owned(),
            home: VirtualHost::None,
        }
    }

    /// Returns the URL for the demo's processes.
    pub(crate) fn url(&self) -> String {
        let mut url = self.amqp.clone();
        if self.home == VirtualHost::Own {
            url.set_path(&self.virtual_host());
        }
        url.into()
    }

    fn virtual_host(&self) -> String {
        format!("shop_{}", self.suffix)
    }

    /// Makes a virtual host, or uses the given one if there is no management API. Returns the virtual
    /// host's description.
    pub(crate) async fn create(&mut self) -> anyhow::Result<String> {
        if self.admin.is_some() {
            let made = self.make_virtual_host().await;
            made.context("making a virtual host (unset POSTROOM_AMQP_ADMIN_URL to use the one of POSTROOM_AMQP_URL)")?;
            return Ok(format!("virtual host {}", self.virtual_host()));
        }
        let channel = self.channel().await?;
        for queue in QUEUES {
            if inspect(&channel, queue).await.is_ok() {
                bail!(
                    "{} has a queue {queue:?} already, which the demo would use: give it an empty virtual host, or set POSTROOM_AMQP_ADMIN_URL so that it makes one",
                    address::shown(&self.amqp)
                );
            }
        }
        self.home = VirtualHost::Given;
        Ok(format!("virtual host of {}", address::shown(&self.amqp)))
    }

    async fn make_virtual_host(&mut self) -> anyhow::Result<()> {
        self.home = VirtualHost::Own;
        let name = self.virtual_host();
        self.ask("PUT", format!("vhosts/{name}")).await?;
        // The user who made the virtual host has the permissions already, but AMQP may use another user.
        let user = match self.amqp.username() {
            "" => "guest",
            user => user,
        };
        self.ask("PUT", format!("permissions/{name}/{user}"))
            .await?;
        Ok(())
    }

    /// Removes all that [`Broker::create`] and the demo's processes made.
    pub(crate) async fn delete(&self) -> anyhow::Result<()> {
        match self.home {
            VirtualHost::None => Ok(()),
            VirtualHost::Own => {
                let path = format!("vhosts/{}", self.virtual_host());
                self.ask("DELETE", path).await.map(drop)
            }
            VirtualHost::Given => {
                let channel = self.channel().await?;
                for queue in QUEUES {
                    let options = QueueDeleteOptions::default();
                    channel.queue_delete(queue.into(), options).await?;
                }
                for exchange in OWN_EXCHANGES.into_iter().chain([EXCHANGE]) {
                    let options = ExchangeDeleteOptions::default();
                    channel.exchange_delete(exchange.into(), options).await?;
                }
                Ok(())
            }
        }
    }

    /// Returns the state of the demo's queues, in the order of [`QUEUES`]; `None` for a queue that does not
    /// exist.
    pub(crate) async fn queues(&self) -> anyhow::Result<[Option<Queue>; QUEUES.len()]> {
        let connection = self.connect().await?;
        let mut queues = [None; QUEUES.len()];
        for (queue, name) in queues.iter_mut().zip(QUEUES) {
            // Asking for a missing queue closes the channel.
            let channel = connection.create_channel().await?;
            *queue = inspect(&channel, name).await.ok();
        }
        let _ = connection.close(200, "thanks".into()).await;
        Ok(queues)
    }

    /// Closes all connections to the demo's virtual host, as an operator would. Returns their number.
    pub(crate) async fn close_connections(&self) -> anyhow::Result<usize> {
        let all = self.ask("GET", "connections".to_owned()).await?;
        let all = all.as_array().context("a list of connections")?;
        let mine = all.iter().filter(|c| c["vhost"] == *self.virtual_host());
        let mut closed = 0;
        for name in mine.filter_map(|connection| connection["name"].as_str()) {
            let escaped: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
            let path = format!("connections/{}", escaped.replace('+', "%20"));
            // A connection that has ended meanwhile is not counted.
            closed += usize::from(self.ask("DELETE", path).await.is_ok());
        }
        Ok(closed)
    }

    async fn ask(&self, method: &'static str, path: String) -> anyhow::Result<Value> {
        let admin = self.admin.clone();
        let admin = admin.context("this needs the management API: set POSTROOM_AMQP_ADMIN_URL")?;
        let description = format!("{method} {path} of {}", address::shown(&admin));
        let asked = tokio::task::spawn_blocking(move || ask(&admin, method, &path));
        asked.await?.context(description)
    }

    #[expect(clippy::disallowed_methods, reason = "nothing is read")]
    async fn connect(&self) -> anyhow::Result<Connection> {
        let connected = Connection::connect(&self.url(), ConnectionProperties::default()).await;
        connected
            .with_context(|| format!("connecting to RabbitMQ at {}", address::shown(&self.amqp)))
    }

    async fn channel(&self) -> anyhow::Result<Channel> {
        Ok(self.connect().await?.create_channel().await?)
    }
}

async fn inspect(channel: &Channel, name: &str) -> lapin::Result<Queue> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel.queue_declare(name.into(), options, FieldTable::default());
    let queue = queue.await?;
    Ok(Queue {
        messages: queue.message_count(),
        consumers: queue.consumer_count(),
    })
}

fn ask(admin: &Url, method: &str, path: &str) -> anyhow::Result<Value> {
    let agent = ureq::Agent::config_builder();
    let agent = agent
        .timeout_global(Some(ANSWER_TIMEOUT))
        .build()
        .new_agent();
    let url = format!("{}/api/{path}", admin.as_str().trim_end_matches('/'));
    let mut answer = match method {
        "GET" => agent.get(&url).call()?,
        "DELETE" => agent.delete(&url).call()?,
        _ => {
            let everything = serde_json::json!({"configure": ".*", "write": ".*", "read": ".*"});
            agent.put(&url).send_json(everything)?
        }
    };
    Ok(answer.body_mut().read_json().unwrap_or(Value::Null))
}
