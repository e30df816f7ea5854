//! Callers that call as fast as they are answered: each on a connection of its own, one call after the other.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use crate::calls::{self, Reading};
use crate::lanes::Lane;
use crate::now;
use crate::proxies::Target;

/// Makes `calls` calls of a lane, and fails if any is not answered whole with 200. Returns what each took, in
/// microseconds.
pub fn run(target: &Target, lane: &Lane, calls: u32) -> Result<Vec<f64>, String> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let callers = lane.callers.min(calls);
    let request = calls::request(target, lane);
    runtime.block_on(async {
        let callers: Vec<_> = (0..callers)
            .map(|_| tokio::spawn(call(target.clone(), request.clone(), calls / callers)))
            .collect();
        let mut latencies = Vec::with_capacity(calls as usize);
        for caller in callers {
            let called = caller.await.map_err(|error| error.to_string())?;
            latencies.extend(called.map_err(|error| error.to_string())?);
        }
        Ok(latencies)
    })
}

async fn call(target: Target, request: Vec<u8>, times: u32) -> io::Result<Vec<f64>> {
    let mut tcp = TcpStream::connect(target.address).await?;
    tcp.set_nodelay(true)?;
    let mut buffer = vec![0; 256 << 10];
    let mut latencies = Vec::with_capacity(times as usize);
    for _ in 0..times {
        let began = now();
        tcp.write_all(&request).await?;
        let mut reading = Reading::default();
        loop {
            let count = tcp.read(&mut buffer).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if reading.take(&buffer[..count])? {
                break;
            }
        }
        latencies.push((now() - began).as_secs_f64() * 1e6);
    }
    Ok(latencies)
}
