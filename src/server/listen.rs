//! Accepting connections: one listener per worker on the same port, one task per connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::caller_body::CallerBody;
use super::connection;
use super::door::Door;
use crate::gateway::Stack;
use crate::metrics::Counted;
use crate::outbound::connect::Connect;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long to wait after an error that more of the same would not mend, such as no descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Binds `address` so that several workers can listen on it; the kernel spreads the connections.
///
/// # Errors
/// What the system says, most often that the address is in use or not ours.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Finds out whether [`bind_all`] could have `address`.
///
/// # Errors
/// As [`bind`].
pub fn look(address: SocketAddr) -> io::Result<()> {
    held(address).map(drop)
}

/// Holds `address` without sharing it, and listens on it for no moment: the system would let callers connect, and reset them
/// when the listener is closed.
fn held(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(address)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of the process before, which the system has not forgotten yet, are in nobody's way.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Binds as many listeners as there are workers, all on one port, chosen by the system if it is 0.
///
/// # Errors
/// As [`bind`].
pub fn bind_all(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    // Sharing a port lets any process of this user join in. One that listens already would silently
    // get a part of the callers, so that is tried first, without sharing.
    look(address)?;
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

/// Accepts until the shutdown begins. Each connection is served by a task of its own that the shutdown waits for.
pub(super) async fn accept<C: Connect>(listener: TcpListener, stack: impl Stack<C, CallerBody>, door: Door) {
    let shutdown = &door.shutdown;
    loop {
        // Without room, connections wait in the backlog, where they cost us nothing.
        let accepted = tokio::select! {
            biased;
            // A backlog that never empties must not keep the shutdown from its end.
            () = shutdown.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
            // Only when the backlog is empty: who is connected already would be cut by closing the listener.
            () = shutdown.draining.cancelled() => return,
        };
        let (tcp, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
        };
        // Behind accepting, so that a worker without callers keeps no place from one that has them. Who waits here when
        // the shutdown begins is served as one beyond the limit: it was accepted, and would be cut otherwise.
        let permit = tokio::select! {
            biased;
            permit = Arc::clone(&door.room).acquire_owned() => permit.ok(),
            () = shutdown.draining.cancelled() => None,
        };
        // Events must not wait for company.
        if tcp.set_nodelay(true).is_err() {
            continue;
        }
        let held = (permit, Counted::new(&door.open));
        let (service, door) = (stack.clone(), door.clone());
        shutdown.tasks.spawn(async move {
            let _held = held;
            let serve = connection::serve(tcp, address, service, &door);
            door.shutdown.cut.run_until_cancelled(serve).await;
        });
    }
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[test]
    fn who_connects_while_an_address_is_looked_at_is_not_let_in_to_be_reset() {
        let held = held((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = held.local_addr().unwrap().as_socket().unwrap();
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_address_that_somebody_listens_on_is_not_shared() {
        let (address, _listeners) = bind_all((Ipv4Addr::LOCALHOST, 0).into(), 2).unwrap();
        for taken in [look(address), bind_all(address, 2).map(drop)] {
            assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
    }
}
