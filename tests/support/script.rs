//! Upstreams that do exactly what a test says, in bytes.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Every byte that any upstream connection received.
#[derive(Clone, Debug, Default)]
pub struct Received(Arc<Mutex<Vec<Vec<u8>>>>);

impl Received {
    /// Whole requests received so far, as text.
    pub fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|request| String::from_utf8_lossy(request).into_owned()).collect()
    }

    pub fn push(&self, request: Vec<u8>) {
        self.0.lock().unwrap().push(request);
    }
}

/// Reads one request: a head, and the body its `content-length` announces. `None` at the end.
pub async fn read_request(io: &mut DuplexStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match io.read(&mut byte).await {
            Ok(1) => request.push(byte[0]),
            _ => return (!request.is_empty()).then_some(request),
        }
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    io.read_exact(&mut body).await.ok()?;
    request.extend(body);
    Some(request)
}

/// Writes bytes, whether or not anybody still reads them.
pub async fn write(io: &mut DuplexStream, bytes: impl AsRef<[u8]>) {
    let _ = io.write_all(bytes.as_ref()).await;
    let _ = io.flush().await;
}

/// One chunk of a chunked message.
pub fn chunk(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// The head of a streamed answer.
pub const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// A JSON answer with its length.
pub fn json_answer(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The last event of a stream, with its cost.
pub fn completed(credits: u64) -> String {
    format!(
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\"id\":\"resp_x\",\"usage\":{{\"input_tokens\":1,\"output_tokens\":2,\"credits_used\":{credits}}}}}}}\n\ndata: [DONE]\n\n"
    )
}
