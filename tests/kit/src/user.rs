//! A user of the broker with few rights.

use serde_json::json;
use url::Url;

use crate::{VirtualHost, unique};

/// A user of the broker without any rights but those granted here; deleted with this.
#[derive(Debug)]
pub struct User {
    broker: VirtualHost,
    /// Name of the user.
    pub name: String,
}

impl User {
    /// Makes a user, who may connect to the virtual host once something is granted.
    pub fn new(broker: &VirtualHost) -> Self {
        let name = unique("user");
        let made = json!({ "password": "few", "tags": "" });
        broker.request("PUT", &format!("users/{name}"), Some(&made));
        let broker = broker.sibling();
        Self { broker, name }
    }

    /// Grants the rights to objects whose names match these expressions, and no others.
    pub fn grant(&self, configure: &str, write: &str, read: &str) {
        let path = format!("permissions/{}/{}", self.broker.name, self.name);
        let granted = json!({ "configure": configure, "write": write, "read": read });
        self.broker.request("PUT", &path, Some(&granted));
    }

    /// Grants the topics of an exchange that match these expressions, and no others.
    pub fn grant_topics(&self, exchange: &str, write: &str, read: &str) {
        let path = format!("topic-permissions/{}/{}", self.broker.name, self.name);
        let granted = json!({ "exchange": exchange, "write": write, "read": read });
        self.broker.request("PUT", &path, Some(&granted));
    }

    /// Returns the user's URL for AMQP.
    pub fn url(&self) -> String {
        let mut url: Url = self.broker.url().parse().expect("the broker's URL");
        url.set_username(&self.name).expect("a user name");
        url.set_password(Some("few")).expect("a password");
        url.into()
    }

    /// Asks the management API for a change as this user; returns the status of the answer.
    pub fn manage(&self, method: &str, path: &str, body: &serde_json::Value) -> u16 {
        self.broker
            .request_as(&self.name, "few", method, path, body)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let path = format!("users/{}", self.name);
        self.broker.request("DELETE", &path, None);
    }
}
