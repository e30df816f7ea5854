//! The callers: each on a connection of its own, one call after the other.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use crate::lanes::Lane;
use crate::proxies::Target;

/// Makes `requests` calls of a lane of a proxy, and fails if any is not answered whole with 200. Returns
/// what each took, in microseconds.
pub fn run(target: &Target, lane: &Lane, requests: u32) -> Result<Vec<f64>, String> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let each = (requests / lane.callers).max(1);
    let request = request(target.address, &target.key, lane);
    runtime.block_on(async {
        let callers: Vec<_> =
            (0..lane.callers).map(|_| tokio::spawn(call(target.address, request.clone(), each))).collect();
        let mut latencies = Vec::with_capacity(requests as usize);
        for caller in callers {
            let called = caller.await.map_err(|error| error.to_string())?;
            latencies.extend(called.map_err(|error| format!("{}: {error}", lane.name))?);
        }
        Ok(latencies)
    })
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn request(address: SocketAddr, key: &str, lane: &Lane) -> Vec<u8> {
    if lane.read {
        return format!(
            "GET /api/v1/video-analyses/clx1demo HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             accept: */*\r\nuser-agent: bench\r\n\r\n"
        )
        .into_bytes();
    }
    let marker = lane.answer.marker();
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":"Which moment loses viewers?"}}],"stream":true,"answer":"{marker}"}}"#
    );
    format!(
        "POST /api/v1/video-analyses/clx1demo/chat HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\naccept: */*\r\nuser-agent: bench\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn call(address: SocketAddr, request: Vec<u8>, times: u32) -> io::Result<Vec<f64>> {
    let mut tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(1 << 20);
    let mut latencies = Vec::with_capacity(times as usize);
    for _ in 0..times {
        let began = now();
        tcp.write_all(&request).await?;
        answer(&mut tcp, &mut buffer).await?;
        latencies.push((now() - began).as_secs_f64() * 1e6);
    }
    Ok(latencies)
}

/// Reads one answer to its end.
async fn answer(tcp: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    let mut head_end = None;
    let mut length = None;
    loop {
        if tcp.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if head_end.is_none()
            && let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            if !head.starts_with("http/1.1 200") {
                return Err(io::Error::other(String::from_utf8_lossy(buffer).into_owned()));
            }
            length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
            head_end = Some(end + 4);
        }
        let Some(head_end) = head_end else { continue };
        let whole = match length {
            Some(length) => buffer.len() >= head_end + length,
            None => buffer.ends_with(b"\r\n0\r\n\r\n"),
        };
        if whole {
            return Ok(());
        }
        // Of a large answer only the end is needed.
        if length.is_none() && buffer.len() > 256 << 10 {
            let keep = buffer.split_off(buffer.len() - 16);
            *buffer = keep;
            buffer.reserve(1 << 20);
        }
    }
}
