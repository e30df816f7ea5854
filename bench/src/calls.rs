//! One call in bytes: the request, and where its answer ends. Without input or output, so that waiting callers and
//! blocking ones share it.

use std::io;

use crate::lanes::Lane;
use crate::proxies::Target;

/// The request of a lane.
pub fn request(target: &Target, lane: &Lane) -> Vec<u8> {
    let Target { address, key } = target;
    let head =
        format!("host: {address}\r\nauthorization: Bearer {key}\r\naccept: */*\r\nuser-agent: bench\r\n");
    if lane.read {
        return format!("GET /api/v1/video-analyses HTTP/1.1\r\n{head}\r\n").into_bytes();
    }
    let marker = lane.answer.marker();
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":"Which moment loses viewers?"}}],"stream":true,"answer":"{marker}"}}"#
    );
    format!(
        "POST /api/v1/video-analyses/clx1demo/chat HTTP/1.1\r\n{head}content-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// How far an answer has come.
#[derive(Debug, Default)]
pub struct Reading {
    head: Vec<u8>,
    length: Option<usize>,
    /// Bytes after the head so far.
    body: usize,
    /// The last bytes of the body, in which a chunked one's end is recognised.
    tail: [u8; END.len()],
}

/// The last chunk, after the line that ends the one before.
const END: [u8; 7] = *b"\r\n0\r\n\r\n";

impl Reading {
    /// Takes what was read, and returns whether the answer is whole. Fails if it is not one with 200.
    pub fn take(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        if !self.begun_body() {
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
                return Ok(false);
            };
            bytes = &bytes[end + 4 - before..];
            let head = String::from_utf8_lossy(&self.head[..end]).to_lowercase();
            if !head.starts_with("http/1.1 200") {
                return Err(io::Error::other(String::from_utf8_lossy(&self.head).into_owned()));
            }
            self.length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
            self.head.truncate(end + 4);
        }
        self.body += bytes.len();
        if let Some(length) = self.length {
            return Ok(self.body >= length);
        }
        let last = &bytes[bytes.len().saturating_sub(END.len())..];
        self.tail.rotate_left(last.len());
        let from = END.len() - last.len();
        self.tail[from..].copy_from_slice(last);
        Ok(self.tail == END)
    }

    /// Whether a byte of the body has come.
    pub fn has_body(&self) -> bool {
        self.body > 0
    }

    fn begun_body(&self) -> bool {
        self.head.ends_with(b"\r\n\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

    #[test]
    fn an_answer_ends_where_it_ends_however_it_is_cut() {
        let sized: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        for answer in [CHUNKED, sized] {
            for cut in 1..answer.len() {
                let mut reading = Reading::default();
                assert!(!reading.take(&answer[..cut]).unwrap(), "{cut}");
                assert!(reading.take(&answer[cut..]).unwrap(), "{cut}");
            }
            let mut reading = Reading::default();
            let (last, rest) = answer.split_last().unwrap();
            for byte in rest {
                assert!(!reading.take(&[*byte]).unwrap());
            }
            assert!(reading.take(&[*last]).unwrap());
        }
    }

    #[test]
    fn the_first_byte_of_a_body_is_not_one_of_the_head() {
        let mut reading = Reading::default();
        let head = CHUNKED.len() - 13;
        reading.take(&CHUNKED[..head]).unwrap();
        assert!(!reading.has_body());
        reading.take(&CHUNKED[head..=head]).unwrap();
        assert!(reading.has_body());
    }

    #[test]
    fn a_refusal_fails_the_run() {
        let refused = Reading::default().take(b"HTTP/1.1 429 Too Many Requests\r\n\r\n");
        assert!(refused.unwrap_err().to_string().contains("429"));
    }
}
