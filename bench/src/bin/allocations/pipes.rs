//! A caller and an upstream over in-memory pipes that allocate nothing for a frame.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Semaphore;

/// As much as a socket's buffer.
const PIPE: usize = 64 << 10;

/// A request without a gateway: the upstream looks for its end alone.
pub const BARE_REQUEST: &[u8] = b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}";

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const USAGE: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":\
    {\"input_tokens\":42,\"output_tokens\":68,\"total_tokens\":110,\"credits_used\":3}}}\n\ndata: [DONE]\n\n";
const END: &[u8] = b"\r\n0\r\n\r\n";

/// A stream as the upstream sends it.
#[derive(Clone)]
pub struct Stream {
    frame: Arc<[u8]>,
    last: Arc<[u8]>,
    frames: u32,
    /// Frames that the upstream may send, if it waits for the caller.
    turns: Option<Arc<Semaphore>>,
}

impl Stream {
    /// A stream of so many frames of so many bytes, and a last one with the usage.
    pub fn new(frames: u32, bytes: usize, one_at_a_time: bool) -> Self {
        let (begin, end) = ("data: {\"type\":\"response.output_text.delta\",\"delta\":\"", "\"}\n\n");
        let text = "x".repeat(bytes - begin.len() - end.len());
        Self {
            frame: chunk(&format!("{begin}{text}{end}")).into(),
            last: [chunk(USAGE).as_slice(), b"0\r\n\r\n"].concat().into(),
            frames,
            turns: one_at_a_time.then(|| Arc::new(Semaphore::new(0))),
        }
    }

    /// Answers every request that comes through a pipe.
    pub async fn serve(self, mut pipe: DuplexStream) {
        // Whatever breaks here is seen by the caller.
        let _ = self.answer_all(&mut pipe).await;
    }

    async fn answer_all(&self, pipe: &mut DuplexStream) -> io::Result<()> {
        let mut request = vec![0; 16 << 10];
        loop {
            let mut length = 0;
            // Every request here has an object as its body, and none in its head.
            while !request[..length].ends_with(b"}") {
                match pipe.read(&mut request[length..]).await? {
                    0 => return Ok(()),
                    count => length += count,
                }
            }
            pipe.write_all(HEAD).await?;
            for _ in 0..self.frames {
                pipe.write_all(&self.frame).await?;
                if let Some(turns) = &self.turns {
                    turns.acquire().await.map_err(io::Error::other)?.forget();
                }
            }
            pipe.write_all(&self.last).await?;
        }
    }

    /// Makes one call, and reads its answer to the end.
    pub async fn call(&self, pipe: &mut DuplexStream, request: &[u8]) -> io::Result<()> {
        pipe.write_all(request).await?;
        let mut buffer = [0; 8 << 10];
        let (mut tail, mut total, mut first) = ([0; END.len()], 0, true);
        loop {
            let count = pipe.read(&mut buffer).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if first && !buffer[..count].starts_with(b"HTTP/1.1 200") {
                return Err(io::Error::other(String::from_utf8_lossy(&buffer[..count]).into_owned()));
            }
            total += count;
            // A head that comes alone is no frame.
            let head_alone = first && buffer[..count].ends_with(b"\r\n\r\n");
            if let Some(turns) = self.turns.as_ref().filter(|_| !head_alone) {
                turns.add_permits(1);
            }
            first = false;
            let last = &buffer[count.saturating_sub(END.len())..count];
            tail.rotate_left(last.len());
            tail[END.len() - last.len()..].copy_from_slice(last);
            if tail == END {
                break;
            }
        }
        // A short answer would flatter.
        let least = (self.frame.len() - 16) * self.frames as usize;
        if total < least { Err(io::Error::other(format!("{total} bytes of {least}"))) } else { Ok(()) }
    }
}

/// The upstream itself.
pub fn upstream(stream: &Stream) -> DuplexStream {
    let (near, far) = tokio::io::duplex(PIPE);
    tokio::spawn(stream.clone().serve(far));
    near
}

fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}
