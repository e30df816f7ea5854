//! The upstream: answers as fast as it can, so that the proxies are what is measured.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Builder;
use tokio_rustls::TlsAcceptor;

use crate::lanes::Answer;
use crate::proxies::Kind;

/// Requests answered, and events sent, by all upstreams of this process.
static ANSWERED: AtomicU32 = AtomicU32::new(0);
static EVENTS: AtomicU32 = AtomicU32::new(0);

/// Requests answered so far.
pub fn answered() -> u32 {
    ANSWERED.load(Ordering::Relaxed)
}

/// Events sent so far.
pub fn events() -> u32 {
    EVENTS.load(Ordering::Relaxed)
}

/// Listens on an address of its own for each proxy: thousands of connections that one proxy has just closed take no
/// ports from the next.
pub fn bind() -> io::Result<Vec<std::net::TcpListener>> {
    let addresses = (2..).take(Kind::ALL.len()).map(|last| Ipv4Addr::new(127, 0, 0, last));
    // A listener is made inside an event loop, and outlives it.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    addresses
        .map(|address| {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((address, 0)))?;
            socket.listen(4096)?.into_std()
        })
        .collect()
}

/// Answers, on a thread of its own.
pub fn start(listeners: Vec<std::net::TcpListener>, tls: Option<TlsAcceptor>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let accepting: Vec<_> =
                listeners.into_iter().map(|listener| tokio::spawn(accept(listener, tls.clone()))).collect();
            for listener in accepting {
                if let Ok(Err(error)) = listener.await {
                    eprintln!("bench: upstream: {error}");
                }
            }
        });
    });
    Ok(())
}

async fn accept(listener: std::net::TcpListener, tls: Option<TlsAcceptor>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        match tls.clone() {
            None => drop(tokio::spawn(serve(tcp))),
            Some(tls) => drop(tokio::spawn(async move { serve(tls.accept(tcp).await?).await })),
        }
    }
}

async fn serve(mut io: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(4 << 10);
    loop {
        let Some(body) = request(&mut io, &mut buffer).await? else { return Ok(()) };
        ANSWERED.fetch_add(1, Ordering::Relaxed);
        answer(&mut io, Answer::asked_for(&body)).await?;
        // TLS keeps what is written until it is told that this is all for now.
        io.flush().await?;
    }
}

/// Reads one request and returns its body.
async fn request(io: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    buffer.clear();
    loop {
        if io.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
        let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        let whole = head + 4 + length.unwrap_or(0);
        while buffer.len() < whole {
            if io.read_buf(buffer).await? == 0 {
                return Ok(None);
            }
        }
        return Ok(Some(String::from_utf8_lossy(&buffer[head + 4..whole]).into_owned()));
    }
}

async fn answer(io: &mut (impl AsyncWrite + Unpin), answer: Answer) -> io::Result<()> {
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
        return io.write_all((head + &body).as_bytes()).await;
    };
    io.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    let event = format!(
        "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"delta\":\"{}\"}}\n\n",
        "x".repeat(bytes)
    );
    let event = chunk(&event);
    for _ in 1..count {
        io.write_all(&event).await?;
        EVENTS.fetch_add(1, Ordering::Relaxed);
        if !pause.is_zero() {
            io.flush().await?;
            tokio::time::sleep(pause).await;
        }
    }
    let last = format!(
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\"id\":\"resp_0a1b\",{USAGE}}}}}\n\ndata: [DONE]\n\n"
    );
    io.write_all(&chunk(&last)).await?;
    io.write_all(b"0\r\n\r\n").await
}

fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}
