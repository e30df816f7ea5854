//! What lies between a client and its database: bytes go through, until they are held up or cut off where it hurts most.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// What is done to the next commits that pass.
#[derive(Debug, Default)]
pub struct Faults {
    /// So many are answered to nobody: they arrive, and the connection ends before the answer is back.
    pub unanswered: AtomicUsize,
    /// So many never arrive.
    pub lost: AtomicUsize,
    /// So many are held up for a third of a second.
    pub held_up: AtomicUsize,
}

fn takes(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// Starts to pass bytes on to a server's socket. Returns where.
pub async fn start(socket: PathBuf, faults: Arc<Faults>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((client, _)) = listener.accept().await else { return };
            tokio::spawn(pass(client, socket.clone(), Arc::clone(&faults)));
        }
    });
    address
}

async fn pass(mut client: TcpStream, socket: PathBuf, faults: Arc<Faults>) {
    let Ok(mut server) = UnixStream::connect(socket).await else { return };
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                let commits = asked[..count].windows(6).any(|window| window == b"COMMIT");
                if commits && takes(&faults.lost) {
                    return;
                }
                if commits && takes(&faults.held_up) {
                    tokio::time::sleep(Duration::from_millis(330)).await;
                }
                if server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
                if commits && takes(&faults.unanswered) {
                    // It has arrived, and is done.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
