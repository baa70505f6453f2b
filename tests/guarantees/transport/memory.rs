//! The broker in memory.

use support::MemoryBroker;

use crate::suite::World;

struct Memory(MemoryBroker);

impl World for Memory {
    type Transport = MemoryBroker;

    async fn new() -> Self {
        Self(MemoryBroker::new(2))
    }

    async fn alone() -> Self {
        Self::new().await
    }

    fn transport(&self) -> &MemoryBroker {
        &self.0
    }

    async fn bind(&self, queue: &str, pattern: &str, room: usize) {
        self.0.bind(queue, pattern, room);
    }

    async fn take(&self, queue: &str) -> Vec<String> {
        let taken = self.0.take(queue).into_iter();
        taken
            .map(|message| message.message_id.to_string())
            .collect()
    }

    async fn mute(&self, mute: bool) {
        self.0.mute(mute);
    }

    async fn block(&self, block: bool) {
        self.0.block(block.then_some("the test wants it"));
    }

    async fn cut(&self) {
        self.0.cut();
    }
}

suite!(Memory);
