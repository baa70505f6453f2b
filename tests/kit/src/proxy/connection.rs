//! One connection through the wire.

use std::{io, ops::RangeInclusive};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp},
    sync::watch,
    time::sleep,
};

use super::Wire;

/// Makes one connection pass nothing on, in each state of the wire.
#[derive(Debug, Clone)]
pub(super) struct Silence {
    pub(super) number: usize,
    pub(super) range: watch::Receiver<RangeInclusive<usize>>,
}

impl Silence {
    async fn ended(&mut self) {
        let number = self.number;
        // If the switch is gone, so is the test.
        drop(self.range.wait_for(|range| !range.contains(&number)).await);
    }
}

/// Passes a connection on to the server until either side ends it, or the wire does.
pub(super) async fn connection(
    mut near: TcpStream,
    server: (String, u16),
    mut wire: watch::Receiver<Wire>,
    silence: Silence,
) {
    let opened = wire.wait_for(|wire| *wire != Wire::BlackHole).await;
    let forwards =
        opened.is_ok_and(|wire| matches!(*wire, Wire::Forward | Wire::Slow(_) | Wire::Deaf));
    let far = if forwards {
        TcpStream::connect(server).await.ok()
    } else {
        None
    };
    if let Some(mut far) = far {
        let (near_read, near_write) = near.split();
        let (far_read, far_write) = far.split();
        let mut cut = wire.clone();
        tokio::select! {
            // Looked at first: what was held back stays so.
            biased;
            _ = cut.wait_for(|wire| matches!(wire, Wire::Refuse | Wire::Reset)) => {}
            _ = async {
                tokio::try_join!(
                    pump(near_read, far_write, wire.clone(), silence.clone(), &[Wire::BlackHole]),
                    pump(
                        far_read,
                        near_write,
                        wire.clone(),
                        silence,
                        &[Wire::BlackHole, Wire::Deaf],
                    ),
                )
            } => {}
        }
    }
    if *wire.borrow() == Wire::Reset {
        // Dropping it now sends a reset instead of an end.
        near.set_zero_linger().unwrap_or_default();
    }
}

/// Passes one direction on, its end included; holds everything back while the wire is so.
async fn pump(
    mut from: tcp::ReadHalf<'_>,
    mut to: tcp::WriteHalf<'_>,
    mut wire: watch::Receiver<Wire>,
    mut silence: Silence,
    held_back_by: &[Wire],
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        // If the switch is gone, so is the test.
        drop(wire.wait_for(|wire| !held_back_by.contains(wire)).await);
        silence.ended().await;
        let now = *wire.borrow();
        if let Wire::Slow(delay) = now {
            sleep(delay).await;
        }
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}
