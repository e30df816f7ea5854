//! What a trusted proxy that passes connections on as they are says first: whom it connects for (the PROXY protocol, v1 and
//! v2: <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>). From anybody else it is a malformed request.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::prefixed::Prefixed;

/// What the two versions begin with.
const BEGINNINGS: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];
/// The longest that is read: v1 is 107 bytes at the most, v2 says how long it is.
const LONGEST: usize = 4 << 10;
/// Only the addresses count.
const WHAT: ParseConfig = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };

/// Reads what a proxy says first, if it says anything, and whom it connects for, if it is for somebody.
///
/// # Errors
/// When it cannot be read, or is none.
pub(super) async fn preamble<T>(io: &mut Prefixed<T>) -> io::Result<Option<SocketAddr>>
where
    T: AsyncRead + Unpin,
{
    let mut read = BytesMut::with_capacity(512);
    loop {
        if io.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let may_be = |beginning: &&&[u8]| {
            let length = beginning.len().min(read.len());
            beginning[..length] == read[..length]
        };
        let Some(beginning) = BEGINNINGS.iter().find(may_be) else {
            io.put_back(read.freeze());
            return Ok(None);
        };
        if read.len() < beginning.len() {
            continue;
        }
        match ProxyHeader::parse(&read, WHAT) {
            Ok((header, length)) => {
                let source = header.proxied_address().map(|address| address.source);
                io.put_back(read.freeze().split_off(length));
                return Ok(source);
            }
            Err(Error::BufferTooShort) if read.len() < LONGEST => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn heard(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        for piece in [1, 7, 4096] {
            let mut io = tokio_test_io(bytes, piece);
            let said = preamble(&mut io).await;
            let mut rest = Vec::new();
            let _ = io.read_to_end(&mut rest).await;
            if piece == 4096 {
                return (said, rest);
            }
        }
        unreachable!("the last piece returns")
    }

    fn tokio_test_io(bytes: &[u8], piece: usize) -> Prefixed<tokio::io::DuplexStream> {
        let (mut near, far) = tokio::io::duplex(piece);
        let bytes = bytes.to_vec();
        tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut near, &bytes).await });
        Prefixed::new(far)
    }

    #[tokio::test]
    async fn both_versions_are_read_and_what_is_neither_comes_again() {
        let v2 = |command: u8, family: u8, addresses: &[u8]| {
            let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
            [BEGINNINGS[1], &[command, family], &length, addresses, b"GET /"].concat()
        };
        let four = [192, 0, 2, 9, 192, 0, 2, 1, 0x12, 0x34, 0, 80];
        for (bytes, source) in [
            (b"PROXY TCP4 192.0.2.9 192.0.2.1 4660 80\r\nGET /".to_vec(), Some("192.0.2.9:4660")),
            (b"PROXY TCP6 2001:db8::9 2001:db8::1 4660 80\r\nGET /".to_vec(), Some("[2001:db8::9]:4660")),
            (b"PROXY UNKNOWN\r\nGET /".to_vec(), None),
            (v2(0x21, 0x11, &four), Some("192.0.2.9:4660")),
            // A check of the proxy's own.
            (v2(0x20, 0x00, &[]), None),
            (b"GET /".to_vec(), None),
        ] {
            let (said, rest) = heard(&bytes).await;
            assert_eq!(said.unwrap(), source.map(|source| source.parse().unwrap()));
            assert_eq!(rest, b"GET /");
        }
        for bytes in [&b"PROXY TCP4 x y 1 2\r\n"[..], b"PROXY TCP4 192.0.2.9", &v2(0x31, 0x11, &four), b""] {
            assert!(heard(bytes).await.0.is_err(), "{bytes:?}");
        }
    }
}
