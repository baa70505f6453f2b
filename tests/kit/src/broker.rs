//! A virtual host per test.

use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use url::Url;

use crate::{unique, variable};

/// A virtual host of one test's own; deleted with this.
#[derive(Debug)]
pub struct VirtualHost {
    /// Name of the virtual host.
    pub name: String,
    /// `true` if the virtual host is deleted when this is dropped.
    owned: bool,
    amqp_url: String,
    admin_url: String,
}

impl VirtualHost {
    /// Makes one.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::new_on(
            &variable("POSTROOM_AMQP_URL"),
            &variable("POSTROOM_AMQP_ADMIN_URL"),
        )
    }

    /// Makes one on the broker that these URLs lead to.
    pub fn new_on(amqp_url: &str, admin_url: &str) -> Self {
        let name = unique("test");
        let made = Self {
            owned: true,
            name,
            amqp_url: amqp_url.to_owned(),
            admin_url: admin_url.to_owned(),
        };
        made.request("PUT", &format!("vhosts/{}", made.name), Some(&json!({})));
        made
    }

    /// The same virtual host once more; only the original deletes it.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self {
            name: self.name.clone(),
            owned: false,
            amqp_url: self.amqp_url.clone(),
            admin_url: self.admin_url.clone(),
        }
    }

    /// URL for AMQP.
    pub fn url(&self) -> String {
        let mut url: Url = self.amqp_url.parse().expect("the broker's URL");
        url.set_path(&self.name);
        url.into()
    }

    /// Declares the exchange `postroom`, as a relay does, for tests without one.
    pub fn declare_exchange(&self) {
        let exchange = json!({ "type": "topic", "durable": true });
        let path = format!("exchanges/{}/postroom", self.name);
        self.request("PUT", &path, Some(&exchange));
    }

    /// Opens a connection that nothing of ours is involved in.
    #[expect(clippy::disallowed_methods, reason = "any client")]
    pub async fn connect(&self) -> Connection {
        Connection::connect(&self.url(), ConnectionProperties::default())
            .await
            .expect("connecting to the test's virtual host")
    }

    /// Opens a connection and a channel.
    pub async fn channel(&self) -> (Connection, Channel) {
        let connection = self.connect().await;
        let channel = connection
            .create_channel()
            .await
            .expect("opening a channel");
        (connection, channel)
    }

    /// Names of the connections to this virtual host.
    pub fn connections(&self) -> Vec<String> {
        let all = self.request("GET", "connections", None);
        let mine = all
            .as_array()
            .expect("a list")
            .iter()
            .filter(|c| c["vhost"] == *self.name);
        mine.filter_map(|c| c["name"].as_str().map(str::to_owned))
            .collect()
    }

    /// Closes all connections to this virtual host, as an operator would.
    pub fn close_connections(&self) {
        self.close_connections_but(&[]);
    }

    /// As [`VirtualHost::close_connections`], but for those named.
    pub fn close_connections_but(&self, kept: &[String]) {
        let all = self.connections();
        for name in all.into_iter().filter(|name| !kept.contains(name)) {
            let escaped: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
            self.request(
                "DELETE",
                &format!("connections/{}", escaped.replace('+', "%20")),
                None,
            );
        }
    }

    /// Asks the management API.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}/api/{path}", self.admin_url.trim_end_matches('/'));
        let answer = match (method, body) {
            ("GET", _) => ureq::get(&url).call(),
            ("DELETE", _) => ureq::delete(&url).call(),
            // With its length: the management API refuses large bodies in chunks.
            ("POST", Some(body)) => ureq::post(&url)
                .content_type("application/json")
                .send(body.to_string()),
            (_, Some(body)) => ureq::put(&url).send_json(body),
            (_, None) => ureq::put(&url).send_empty(),
        };
        match answer {
            Ok(mut answer) => answer.body_mut().read_json().unwrap_or(Value::Null),
            Err(_) if std::thread::panicking() || method == "DELETE" => Value::Null,
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }
}

impl VirtualHost {
    /// Asks the management API as another user; returns the status of the answer.
    pub fn request_as(
        &self,
        user: &str,
        password: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> u16 {
        let mut url: Url = self.admin_url.parse().expect("the management API's URL");
        url.set_path(&format!("api/{path}"));
        url.set_username(user).expect("a user name");
        url.set_password(Some(password)).expect("a password");
        let agent = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = agent.build().new_agent();
        let answer = match method {
            "DELETE" => agent.delete(url.as_str()).call(),
            _ => agent.put(url.as_str()).send_json(body),
        };
        answer.expect("an answer").status().as_u16()
    }
}

impl Drop for VirtualHost {
    fn drop(&mut self) {
        if self.owned {
            self.request("DELETE", &format!("vhosts/{}", self.name), None);
        }
    }
}
