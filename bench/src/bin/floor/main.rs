//! The floor: what a gateway costs that is made of the same parts and does nothing. hyper's server and hyper's client, a
//! pool of connections per worker, each driven by the task of the request that uses it; of a request it swaps the key, of
//! an answer nothing. No limit, no check, no record, no deadline.

mod body;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{LocalSet, spawn_local};

use body::Driven;
use upstream::Upstream;

/// Passes requests on with another key.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Where callers connect.
    #[arg(long)]
    listen: SocketAddr,
    /// Where their requests go.
    #[arg(long)]
    upstream: SocketAddr,
    /// The roots that sign the upstream's certificate, if it speaks TLS.
    #[arg(long, value_name = "PATH")]
    roots: Option<PathBuf>,
    /// A file with the upstream's key.
    #[arg(long, value_name = "PATH")]
    key: PathBuf,
    /// Threads, each with an event loop, a listener and a pool of its own.
    #[arg(long, value_name = "N")]
    workers: usize,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // All of them before the first accepts: one that joins later would take over callers that are on their way to another.
    let listeners = {
        let _inside = runtime.enter();
        (0..arguments.workers).map(|_| listen(arguments.listen)).collect::<Result<Vec<_>, _>>()?
    };
    for listener in listeners {
        let arguments = arguments.clone();
        std::thread::spawn(move || {
            if let Err(error) = worker(&arguments, listener) {
                eprintln!("floor: {error}");
                std::process::exit(1);
            }
        });
    }
    // Asked to stop, and not killed: what counts its instructions writes them down when it ends.
    runtime.block_on(async {
        signal(SignalKind::terminate())?.recv().await;
        Ok(())
    })
}

fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(4096)?.into_std()
}

fn worker(arguments: &Arguments, listener: std::net::TcpListener) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let key = std::fs::read_to_string(&arguments.key)?;
        let mut credential = HeaderValue::try_from(format!("Bearer {}", key.trim()))?;
        credential.set_sensitive(true);
        let upstream = Rc::new(Upstream::new(arguments.upstream, arguments.roots.as_deref())?);
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (caller, _) = listener.accept().await?;
            caller.set_nodelay(true)?;
            let (upstream, credential) = (Rc::clone(&upstream), credential.clone());
            let pass = service_fn(move |request| pass(Rc::clone(&upstream), credential.clone(), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(caller), pass);
            // A caller that leaves ends its connection, and nothing else.
            spawn_local(async move { drop(connection.await) });
        }
    })
}

async fn pass(
    upstream: Rc<Upstream>,
    credential: HeaderValue,
    mut request: Request<Incoming>,
) -> Result<Response<Driven>, Failure> {
    request.headers_mut().insert(header::AUTHORIZATION, credential);
    let mut connection = upstream.obtain().await?;
    let answer = connection.send(request).await?;
    Ok(answer.map(|body| Driven::new(body, connection, upstream)))
}
