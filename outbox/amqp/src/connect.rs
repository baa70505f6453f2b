//! Connects to a broker.

use async_rs::Runtime;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, types::LongString};

use crate::{Address, DeliveryLimit, runtime::TokioKit, server::Greeting, stream::BrokerStream};

/// An open connection, and the broker's default delivery limit.
#[derive(Debug)]
pub struct Connected {
    /// The client's connection.
    pub connection: Connection,
    /// The broker's treatment of a message that is delivered again and again.
    pub delivery_limit: DeliveryLimit,
}

/// Connects to a broker; `name` is shown in its list of connections.
///
/// The client's automatic recovery stays off. The call has no time limit.
///
/// # Errors
/// Fails if the broker cannot be reached or refuses the connection.
pub async fn connect(address: &Address, name: &str) -> Result<Connected, lapin::Error> {
    let properties = ConnectionProperties::default().with_connection_name(LongString::from(name));
    let greeting = Greeting::default();
    let received = greeting.clone();
    let runtime = Runtime::new(TokioKit::current());
    let open = async move |uri, _| {
        let stream = BrokerStream::connect(&uri, greeting.clone()).await;
        Ok(AsyncTcpStream::Plain(stream?))
    };
    let connection = Connection::connector(address.uri().clone(), runtime, open, properties);
    Ok(Connected {
        connection: connection.await?,
        delivery_limit: received.delivery_limit(),
    })
}
