//! A caller over real sockets.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::assert_no_canary;
use super::rig::chat_path;

/// What came of one call.
#[derive(Debug)]
pub struct Outcome {
    pub status: u16,
    pub body: Bytes,
}

/// A chat as a caller sends it.
pub fn chat_request(address: SocketAddr, key: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(chat_path())
        .header("host", address.to_string())
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

/// One chat on a connection of its own.
pub async fn chat(address: SocketAddr, key: &str, body: String) -> Result<Outcome, String> {
    send(address, chat_request(address, key, body)).await
}

/// One request on a connection of its own.
pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<Outcome, String> {
    let tcp = TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(tcp)).await.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| format!("head: {error}"))?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|error| format!("body: {error}"))?.to_bytes();
    assert_no_canary("an answer", &body);
    connection.abort();
    Ok(Outcome { status, body })
}
