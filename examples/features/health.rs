//! A consumer says over HTTP whether it works, and on what it waits.

use example::{Countdown, OrderPlaced};
use inbox::{Consumer, Context, HandlerError, extract::State, health_router};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

async fn handle(
    _: Context,
    State(countdown): State<Countdown>,
    _: OrderPlaced,
) -> Result<(), HandlerError> {
    countdown.count(1);
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    example::place(&pool, vec![OrderPlaced::new(1, "ann")]).await?;

    let countdown = Countdown::new(1);
    let consumer = Consumer::builder("billing")
        .database(pool)
        .amqp_url(example::amqp_url()?)
        .with_state(countdown.clone())
        .on(handle)
        .build()?;
    let status = consumer.status();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let health = health_router([status.clone()]);
    tokio::spawn(async { axum::serve(listener, health).await });

    println!("before the start: {}", get(address, "/ready").await?);
    let running = tokio::spawn(consumer.run(countdown.over()));
    status.ready().await;
    println!("once subscribed: {}", get(address, "/ready").await?);
    running.await??;
    println!("{}", status.report());
    Ok(())
}

/// Returns the first line of the answer.
async fn get(address: std::net::SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
