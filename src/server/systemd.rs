//! What systemd, or whoever starts the gateway like it, hands over and wants to hear: listening sockets that outlive
//! a restart (`sd_listen_fds(3)`), and a word when the gateway is ready, reloads or stops (`sd_notify(3)`).

use std::env;
use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// Sockets that were opened for us. Connections queue in them while nobody accepts.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The callers' listener: the socket named `callers`, or the only one.
    pub callers: Option<TcpListener>,
    /// The operators' listener: the socket named `admin`.
    pub admin: Option<TcpListener>,
}

impl Inherited {
    /// Takes the sockets out of the environment, where they are announced. To be called before there is a second
    /// thread, because it changes the environment.
    ///
    /// # Errors
    /// When what was handed over cannot be listened on, or is one too many.
    pub fn take() -> io::Result<Self> {
        // A colon-separated list, in the order of the sockets; systemd writes `unknown` where it has no name.
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        let mut inherited = Self::default();
        let mut names = names.split(':');
        for index in 0..sockets.len() {
            let name = names.next().unwrap_or_default();
            let Some(listener) = sockets.take_tcp_listener(index)? else { continue };
            listener.set_nonblocking(true)?;
            let place = if name == "admin" { &mut inherited.admin } else { &mut inherited.callers };
            if place.replace(listener).is_some() {
                return Err(io::Error::other(format!(
                    "two sockets were handed over for the same listener; name one of them with FileDescriptorName=callers and the other with FileDescriptorName=admin (names: {:?})",
                    env::var("LISTEN_FDNAMES").unwrap_or_default()
                )));
            }
        }
        Ok(inherited)
    }
}

/// The gateway listens; this is what it serves.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is loaded again. [`ready`] follows.
pub fn reloading() {
    // Newer versions of systemd want the time with it.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The gateway takes no new calls.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining: calls in flight go on to their end")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager how the gateway is");
    }
}
