//! Many streams open at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::calls::{self, Reading};
use crate::figures::Figure;
use crate::lanes::Lane;
use crate::proxies::Proxy;
use crate::upstream;

/// Streams that are begun at once: no proxy's backlog should decide how long the opening takes.
const AT_ONCE: usize = 64;

/// Opens the lane's streams, watches the proxy for a while, and reads all of them to their ends.
pub fn run(proxy: &Proxy, lane: &Lane, watch: Duration) -> Result<Vec<(Figure, f64)>, String> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let idle = proxy.memory();
    runtime.block_on(async {
        let open = Arc::new(AtomicUsize::new(0));
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let request: Arc<[u8]> = calls::request(&proxy.target, lane).into();
        let mut streams = JoinSet::<io::Result<()>>::new();
        for _ in 0..lane.callers {
            let address = proxy.target.address;
            let (request, turns, open) = (Arc::clone(&request), Arc::clone(&turns), Arc::clone(&open));
            streams.spawn(async move {
                let permit = turns.acquire_owned().await.map_err(io::Error::other)?;
                let mut tcp = TcpStream::connect(address).await?;
                tcp.write_all(&request).await?;
                let (mut reading, mut begun) = (Reading::default(), Some(permit));
                let mut buffer = [0; 2048];
                loop {
                    let count = tcp.read(&mut buffer).await?;
                    if count == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    let whole = reading.take(&buffer[..count])?;
                    if reading.has_body() && begun.take().is_some() {
                        open.fetch_add(1, Ordering::Relaxed);
                    }
                    if whole {
                        return Ok(());
                    }
                }
            });
        }
        let all = lane.callers as usize;
        while open.load(Ordering::Relaxed) < all {
            tokio::select! {
                // A stream that ends before all are open was refused, or the opening takes too long.
                Some(ended) = streams.join_next() => return Err(match ended {
                    Ok(Err(error)) => error.to_string(),
                    _ => format!("a stream ended before all {all} were open"),
                }),
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
        let (spent, events) = (proxy.cpu()?, upstream::events());
        tokio::time::sleep(watch).await;
        let (spent, events) = (proxy.cpu()?.saturating_sub(spent), upstream::events() - events);
        let memory = proxy.memory();
        while let Some(ended) = streams.join_next().await {
            ended.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        }
        Ok(vec![
            (Figure::Memory, mebibytes(memory)),
            (
                Figure::MemoryPerStream,
                (mebibytes(memory) - mebibytes(idle)) * 1024.0 / f64::from(lane.callers),
            ),
            (Figure::CpuPerEvent, spent.as_secs_f64() * 1e6 / f64::from(events)),
        ])
    })
}

/// Exact to a kibibyte, which is what the kernel tells.
fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0
}
