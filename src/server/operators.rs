//! The operators' listener: no limits of callers, and no queue. It goes on until the last call has ended, so that operators
//! watch the drain too.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::service_fn;

use super::caller::Caller;
use super::caller_body::CallerBody;
use super::farewell::Parting;
use super::http1::{self, Patience};
use super::io::CallerIo;
use crate::admin::Desk;
use crate::clock::Clock;
use crate::live::Live;
use crate::shutdown::{Shutdown, Signal};

/// How long a request head may take, a connection be idle, and a write not be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of one request head.
const MAX_HEAD: usize = 16 << 10;
/// Connections at the same time: scrapers, probes and a few open pages.
const MAX_CONNECTIONS: usize = 256;

/// Serves until `stop`, with TLS where what is in force says so.
pub(super) async fn serve(listener: TcpListener, live: Arc<Live>, desk: Desk, clock: Clock, stop: Signal) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let shutdown = Shutdown { closing: stop.clone(), ..Shutdown::default() };
    let parting = Parting::new(MAX_CONNECTIONS, stop.clone(), clock);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((tcp, peer)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Without room a connection is closed: waiting in line would keep the probes waiting too.
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (desk, stop, shutdown) = (desk.clone(), stop.clone(), shutdown.clone());
        let (tls, parting) = (live.current().admin_tls.clone(), parting.clone());
        tokio::spawn(async move {
            let _held = permit;
            let served = async {
                let Some(tls) = tls else { return answer(tcp, peer, desk, &shutdown, parting).await };
                match tokio::time::timeout(PATIENCE, TlsAcceptor::from(tls).accept(tcp)).await {
                    Ok(Ok(io)) => answer(io, peer, desk, &shutdown, parting).await,
                    Ok(Err(error)) => tracing::debug!(%error, %peer, "TLS handshake of an operator failed"),
                    Err(_) => tracing::debug!(%peer, "TLS handshake of an operator took too long"),
                }
            };
            stop.run_until_cancelled(served).await
        });
    }
}

async fn answer<T: Caller>(io: T, peer: SocketAddr, desk: Desk, shutdown: &Shutdown, parting: Parting) {
    let service = service_fn(move |request: Request<CallerBody>| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(desk.answer(request, peer).await) }
    });
    let patience = Patience { keep_alive: PATIENCE, head: PATIENCE };
    let io = CallerIo::new(io, PATIENCE, parting);
    http1::serve(io, false, service, shutdown, patience, MAX_HEAD).await;
}
