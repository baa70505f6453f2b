//! Clients that connect to the port of health and metrics and send nothing.

use std::{fs, io::Write as _, net::TcpStream};

use postroom_testkit::{Stack, eventually};

#[tokio::test]
async fn callers_that_say_nothing_keep_neither_file_descriptors_nor_others_out() {
    let stack = Stack::new().await;
    let relay = stack.relay().await;
    let open = || {
        let open = fs::read_dir(format!("/proc/{}/fd", relay.pid())).expect("a running relay");
        open.count()
    };
    let before = open();
    let callers: Vec<TcpStream> = (0..60)
        .map(|number| {
            let mut caller = TcpStream::connect(relay.admin).unwrap();
            if number % 2 == 0 {
                caller.write_all(b"GET /health/live HTTP/1.1\r\n").unwrap();
            }
            caller
        })
        .collect();
    // The callers connected first.
    eventually("it answers", async || relay.is_live()).await;
    let more = open().saturating_sub(before);
    assert!(more < 40, "{more} of {} are open", callers.len());
    eventually("they are gone", async || open() <= before + 2).await;
}
