//! Accepting connections: one listener per worker on the same port, one task per connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection;
use crate::gateway::Gateway;
use crate::metrics::Counted;
use crate::outbound::connect::Connect;
use crate::outbound::pool::Pool;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long to wait after an error that more of the same would not mend, such as no descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Binds `address` so that several workers can listen on it; the kernel spreads the connections.
///
/// # Errors
/// What the system says, most often that the address is in use or not ours.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds as many listeners as there are workers, all on one port, chosen by the system if it is 0.
///
/// # Errors
/// As [`bind`].
pub fn bind_all(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    // Sharing a port lets any process of this user join in. One that listens already would silently
    // get a part of the callers, so that is tried first, without sharing.
    drop(std::net::TcpListener::bind(address)?);
    let first = bind(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    while listeners.len() < workers {
        listeners.push(bind(address)?);
    }
    Ok((address, listeners))
}

/// Listeners for as many workers as there are, all on one socket that was bound by somebody else.
///
/// # Errors
/// When the system has no descriptors for them.
pub fn share(
    listener: std::net::TcpListener,
    workers: usize,
) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    let address = listener.local_addr()?;
    let mut listeners = Vec::new();
    while listeners.len() + 1 < workers {
        listeners.push(listener.try_clone()?);
    }
    listeners.push(listener);
    Ok((address, listeners))
}

/// Accepts until the shutdown begins. Each connection is served by a task of its own that the
/// gateway's tracker knows.
pub async fn accept<C: Connect>(
    listener: TcpListener,
    gateway: Gateway,
    pool: Arc<Pool<C>>,
    room: Arc<Semaphore>,
) {
    let open = gateway.recorder.metrics().connections.clone();
    let stack = gateway.stack(&pool);
    loop {
        // Without room, connections wait in the backlog, where they cost us nothing.
        let accepted = tokio::select! {
            biased;
            // A backlog that never empties must not keep the shutdown from its end.
            () = gateway.closing.cancelled() => return,
            accepted = next(&listener, &room) => accepted,
            // Only when the backlog is empty: who is connected already would be cut by closing the listener.
            () = gateway.draining.cancelled() => return,
        };
        let (tcp, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
        };
        // Events must not wait for company.
        if tcp.set_nodelay(true).is_err() {
            continue;
        }
        let (service, gateway, open) = (stack.clone(), gateway.clone(), Counted::new(&open));
        let tasks = gateway.tasks.clone();
        tasks.spawn(async move {
            let _held = (permit, open);
            let cut = gateway.cut.clone();
            cut.run_until_cancelled(connection::serve(tcp, service, &gateway)).await;
        });
    }
}

async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    // In this order, so that a worker without callers keeps no place from one that has them.
    let (tcp, _) = listener.accept().await?;
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    Ok((tcp, permit))
}

/// Errors that concern the connection that was about to be accepted, and not the next.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
