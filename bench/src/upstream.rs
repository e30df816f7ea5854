//! The upstream: answers as fast as it can, so that the proxies are what is measured.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use crate::lanes::Answer;

/// Starts the upstream on a thread of its own.
pub fn start() -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (tcp, _) = listener.accept().await?;
                tcp.set_nodelay(true)?;
                tokio::spawn(serve(tcp));
            }
            #[expect(unreachable_code, reason = "names the type of the block")]
            io::Result::Ok(())
        })
    });
    Ok(address)
}

async fn serve(mut tcp: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(16 << 10);
    loop {
        let Some(body) = request(&mut tcp, &mut buffer).await? else { return Ok(()) };
        answer(&mut tcp, Answer::asked_for(&body)).await?;
    }
}

/// Reads one request and returns its body.
async fn request(tcp: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    buffer.clear();
    loop {
        if tcp.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
        let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        let whole = head + 4 + length.unwrap_or(0);
        while buffer.len() < whole {
            if tcp.read_buf(buffer).await? == 0 {
                return Ok(None);
            }
        }
        return Ok(Some(String::from_utf8_lossy(&buffer[head + 4..whole]).into_owned()));
    }
}

async fn answer(tcp: &mut TcpStream, answer: Answer) -> io::Result<()> {
    const USAGE: &str =
        r#""usage":{"input_tokens":42,"output_tokens":68,"total_tokens":110,"credits_used":3}"#;
    let Answer::Events { count, bytes, pause } = answer else {
        let text = "It loses a third of its viewers at 0:07. ".repeat(12);
        let body = format!(
            r#"{{"id":"resp_0a1b2c3d4e5f","object":"response","output":[{{"text":"{text}"}}],{USAGE}}}"#
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        return tcp.write_all((head + &body).as_bytes()).await;
    };
    tcp.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    .await?;
    let event = format!(
        "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"delta\":\"{}\"}}\n\n",
        "x".repeat(bytes)
    );
    let event = chunk(&event);
    for _ in 1..count {
        tcp.write_all(&event).await?;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    let last = format!(
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\"id\":\"resp_0a1b\",{USAGE}}}}}\n\ndata: [DONE]\n\n"
    );
    tcp.write_all(&chunk(&last)).await?;
    tcp.write_all(b"0\r\n\r\n").await
}

fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}
