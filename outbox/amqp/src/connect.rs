//! Connecting.

use async_rs::Runtime;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, types::LongString};

use crate::{Address, DeliveryLimit, runtime::TokioKit, server::Greeting, stream::BrokerStream};

/// A connection that is open, and what the broker said of itself.
#[derive(Debug)]
pub struct Connected {
    /// The client's connection.
    pub connection: Connection,
    /// The broker's treatment of a message that is delivered again and again.
    pub delivery_limit: DeliveryLimit,
}

/// Connects to a broker; `name` is shown in its list of connections.
///
/// The client's own recovery stays off. There is no time limit here.
///
/// # Errors
/// Returns why the broker cannot be reached, or its refusal.
pub async fn connect(address: &Address, name: &str) -> Result<Connected, lapin::Error> {
    let properties = ConnectionProperties::default().with_connection_name(LongString::from(name));
    let greeting = Greeting::default();
    let heard = greeting.clone();
    let runtime = Runtime::new(TokioKit::current());
    let open = async move |uri, _| {
        let stream = BrokerStream::connect(&uri, greeting.clone()).await;
        Ok(AsyncTcpStream::Plain(stream?))
    };
    let connection = Connection::connector(address.uri().clone(), runtime, open, properties);
    Ok(Connected {
        connection: connection.await?,
        delivery_limit: heard.delivery_limit(),
    })
}
