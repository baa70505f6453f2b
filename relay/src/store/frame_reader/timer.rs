//! Timer for waits of a millisecond or two.

use std::{io, time::Duration};

use tokio::time::sleep;

/// Sleeps with a resolution below a millisecond, where the system can.
///
/// The runtime's own timer counts whole milliseconds from its start and rounds up twice: polls
/// meant for every two milliseconds came every three. Linux has timers of nanoseconds that can be
/// awaited like a socket (timerfd); without one, the runtime's timer is used.
#[derive(Debug)]
pub(crate) struct Timer {
    #[cfg(target_os = "linux")]
    fine: Option<linux::TimerFd>,
}

impl Timer {
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            fine: linux::TimerFd::new().ok(),
        }
    }

    pub(super) async fn sleep(&self, time: Duration) {
        if self.sleep_finely(time).await.is_err() {
            sleep(time).await;
        }
    }

    #[cfg(target_os = "linux")]
    async fn sleep_finely(&self, time: Duration) -> io::Result<()> {
        let fine = self.fine.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        fine.sleep(time).await
    }

    #[cfg(not(target_os = "linux"))]
    async fn sleep_finely(&self, _: Duration) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{io, os::fd::OwnedFd, time::Duration};

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::{Interest, unix::AsyncFd};

    #[derive(Debug)]
    pub(super) struct TimerFd(AsyncFd<OwnedFd>);

    impl TimerFd {
        #[allow(
            deprecated,
            reason = "sound for an owned descriptor, which never becomes another; what replaces it is unsafe"
        )]
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            AsyncFd::with_interest(timer, Interest::READABLE).map(Self)
        }

        pub(super) async fn sleep(&self, time: Duration) -> io::Result<()> {
            if time.is_zero() {
                return Ok(());
            }
            let once = Itimerspec {
                it_interval: Timespec::default(),
                it_value: time.try_into().map_err(io::Error::other)?,
            };
            // This also clears the expiry of an earlier wait that was cancelled.
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            let read = |timer: &OwnedFd| Ok(rustix::io::read(timer, &mut [0_u8; 8])?);
            self.0.async_io(Interest::READABLE, read).await.map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::time::timeout;

    use super::Timer;

    #[tokio::test]
    async fn it_sleeps_at_least_as_long_as_asked() {
        let timer = Timer::new();
        for micros in [0, 1, 900, 2_000, 0, 5_000] {
            let (time, began) = (Duration::from_micros(micros), Instant::now());
            timer.sleep(time).await;
            assert!(began.elapsed() >= time);
        }
    }

    #[tokio::test]
    async fn a_cancelled_wait_does_not_shorten_the_next() {
        let timer = Timer::new();
        let cancelled = timeout(
            Duration::from_millis(5),
            timer.sleep(Duration::from_mins(1)),
        );
        cancelled.await.unwrap_err();
        // Nor does a wait that expired before it was cancelled.
        let mut expired = Box::pin(timer.sleep(Duration::from_micros(100)));
        let _ = futures_util::poll!(&mut expired);
        tokio::time::sleep(Duration::from_millis(2)).await;
        drop(expired);
        let (time, began) = (Duration::from_millis(10), Instant::now());
        timer.sleep(time).await;
        assert!(began.elapsed() >= time);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn linux_has_fine_timers() {
        let timer = Timer::new();
        timer.sleep_finely(Duration::from_micros(1)).await.unwrap();
    }
}
