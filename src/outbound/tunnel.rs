//! A way through a proxy: `CONNECT` (RFC 9110 §9.3.6). Behind it is TLS with the destination, so that the proxy sees names and
//! lengths, and no key.

use std::io;

use http::StatusCode;
use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a proxy may say before the way is open. Theirs have some lines; pages with reasons come after the head, unread.
const MAX_HEAD: usize = 8 << 10;

/// Connects to the proxy, and through it to a name and port.
pub(super) async fn open(proxy: &Authority, destination: (&str, u16)) -> io::Result<TcpStream> {
    let name = proxy.host().trim_start_matches('[').trim_end_matches(']');
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("the proxy {proxy}: {error}"));
    let mut tcp = TcpStream::connect((name, proxy.port_u16().unwrap_or(80))).await.map_err(failed)?;
    tcp.set_nodelay(true)?;
    through(&mut tcp, destination).await.map_err(failed)?;
    Ok(tcp)
}

async fn through<T: AsyncRead + AsyncWrite + Unpin>(io: &mut T, (name, port): (&str, u16)) -> io::Result<()> {
    let target = if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") };
    io.write_all(format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n").as_bytes()).await?;
    match status(&head(io).await?) {
        None => Err(io::Error::other("what it answers is not HTTP")),
        Some(status) if status.is_success() => Ok(()),
        Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED) => {
            Err(io::Error::other("it wants a user and a password (407), which are not sent to proxies"))
        }
        Some(status) => Err(io::Error::other(format!("it does not connect to {target}: {status}"))),
    }
}

/// Of a status line, `HTTP/1.1 200 …` (RFC 9112 §4): nothing else of the head is of use.
fn status(head: &[u8]) -> Option<StatusCode> {
    match head.strip_prefix(b"HTTP/1.")? {
        [b'0' | b'1', b' ', code @ ..] => StatusCode::from_bytes(code.get(..3)?).ok(),
        _ => None,
    }
}

/// A head to its empty line, and not one byte beyond: those are the destination's. They are read one by one, a hundred or two
/// for a connection.
async fn head<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            return Err(io::Error::other("the head of its answer has no end"));
        }
        head.push(io.read_u8().await?);
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    async fn answered(answer: &[u8]) -> (io::Result<()>, Vec<u8>, Vec<u8>) {
        let (mut ours, mut theirs) = duplex(64 << 10);
        theirs.write_all(answer).await.unwrap();
        let done = through(&mut ours, ("api.example", 443)).await;
        let (mut asked, mut rest) = (vec![0; 1024], Vec::new());
        let length = theirs.read(&mut asked).await.unwrap();
        asked.truncate(length);
        drop(theirs);
        ours.read_to_end(&mut rest).await.unwrap();
        (done, asked, rest)
    }

    #[tokio::test]
    async fn whatever_a_proxy_says_the_way_is_open_or_is_told_why_it_is_not() {
        let (done, asked, rest) =
            answered(b"HTTP/1.1 200 Connection established\r\nvia: p\r\n\r\n\x16tls").await;
        done.unwrap();
        assert_eq!(asked, b"CONNECT api.example:443 HTTP/1.1\r\nhost: api.example:443\r\n\r\n");
        assert_eq!(rest, b"\x16tls", "what comes behind the head is the destination's");
        assert!(answered(b"HTTP/1.0 200 OK\r\n\r\n").await.0.is_ok());

        let endless = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &[b'x'; MAX_HEAD]].concat();
        for (answer, told) in [
            (
                b"HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\n\r\nforbidden".as_slice(),
                "does not connect to api.example:443: 403",
            ),
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "wants a user and a password"),
            (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "is not HTTP"),
            (&endless, "has no end"),
        ] {
            let error = answered(answer).await.0.unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_hangs_up_is_an_error_and_an_address_of_six_is_bracketed() {
        let (mut ours, mut theirs) = duplex(1024);
        let asked = tokio::spawn(async move {
            let mut asked = vec![0; 1024];
            let length = theirs.read(&mut asked).await.unwrap();
            asked.truncate(length);
            asked
        });
        assert!(through(&mut ours, ("::1", 443)).await.is_err());
        assert!(asked.await.unwrap().starts_with(b"CONNECT [::1]:443 HTTP/1.1\r\nhost: [::1]:443\r\n\r\n"));
    }
}
