//! The operators' listener: no limits of callers, and no queue. It goes on until the last call has ended, so that operators
//! watch the drain too.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::service_fn;

use super::caller_body::CallerBody;
use super::farewell::Parting;
use super::http1::{self, Patience};
use super::io::CallerIo;
use crate::admin::Desk;
use crate::clock::Clock;
use crate::shutdown::{Shutdown, Signal};

/// How long a request head may take, a connection be idle, and a write not be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of one request head.
const MAX_HEAD: usize = 16 << 10;
/// Connections at the same time: scrapers, probes and a few open pages.
const MAX_CONNECTIONS: usize = 256;

/// Serves until `stop`.
pub(super) async fn serve(listener: TcpListener, desk: Desk, clock: Clock, stop: Signal) {
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
        let io = CallerIo::new(tcp, PATIENCE, parting.clone());
        tokio::spawn(async move {
            let _held = permit;
            let service = service_fn(move |request: Request<CallerBody>| {
                let desk = desk.clone();
                async move { Ok::<_, Infallible>(desk.answer(request, peer).await) }
            });
            let patience = Patience { keep_alive: PATIENCE, head: PATIENCE };
            stop.run_until_cancelled(http1::serve(io, false, service, &shutdown, patience, MAX_HEAD)).await
        });
    }
}
