//! The whole stack. Order exists here and nowhere else.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use jiff::Timestamp;
use prometheus::IntGauge;
use tower::{Service, ServiceBuilder};

use crate::admit::body::ReadBody;
use crate::admit::concurrency::Concurrency;
use crate::admit::desk::DeskLayer;
use crate::admit::rate::Rate;
use crate::answer::{AnswerLayer, AnsweredBody};
use crate::arrival::Call;
use crate::books::open::Books;
use crate::forward::Forward;
use crate::forward::body::AnswerBody;
use crate::forward::drain::Drain;
use crate::identify::IdentifyLayer;
use crate::inject::Inject;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::outbound::connect::Connect;
use crate::outbound::pool::{Pool, open_connections};
use crate::own::OwnLayer;
use crate::plan::Teller;
use crate::record::Recorder;
use crate::retry::Retries;
use crate::retry::stage::{Answer, RetryLayer};
use crate::routing::Routing;
use crate::shutdown::Shutdown;
use crate::stage::{check, wait};
use crate::usage::Bill;

/// A gateway: its parts, each for whoever needs it. Whole only where it is made and where its workers are started.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// What is exported.
    pub metrics: Arc<Metrics>,
    /// Where records go.
    pub recorder: Arc<Recorder>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// Who may spend how much, and what was spent.
    pub books: Books,
    /// What the upstream said last of what was spent.
    pub bill: Arc<Bill>,
    /// When the gateway began.
    pub started: Timestamp,
    /// How it ends.
    pub shutdown: Shutdown,
    /// Where calls go on whose caller has left.
    pub drain: Drain,
    /// What is known of calls that may be made again.
    pub retries: Arc<Retries>,
    /// Connections of all its pools.
    upstream_connections: IntGauge,
}

/// The body of every response.
pub type GatewayBody<C> = AnsweredBody<Answer<AnswerBody<C>>>;

impl Gateway {
    /// A gateway over a configuration.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, live: Arc<Live>, recorder: Arc<Recorder>, books: Books) -> Self {
        let shutdown = Shutdown::default();
        let started = recorder.clock().wall();
        let desk = Arc::clone(&books.desk);
        let (teller, clock) = (Teller::new(books.reads.clone()), recorder.clock());
        live.on_reload(move |before, after| {
            desk.reconfigure(&after.config);
            teller.changed(&before.config, &after.config, clock.wall());
        });
        let drain = Drain::new(shutdown.clone(), &metrics);
        Self {
            retries: Arc::new(Retries::new(&metrics, recorder.clock(), &books, &live, &drain)),
            drain,
            bill: Arc::new(Bill::new(&metrics)),
            upstream_connections: open_connections(&metrics),
            metrics,
            recorder,
            live,
            books,
            started,
            shutdown,
        }
    }

    /// An empty pool of upstream connections for one worker.
    pub fn pool<C: Connect>(&self, connect: C) -> Arc<Pool<C>> {
        Arc::new(Pool::new(connect, self.recorder.clock(), self.upstream_connections.clone()))
    }

    /// The path of a request, outermost first.
    pub fn stack<C: Connect, B>(&self, pool: &Arc<Pool<C>>) -> impl Stack<C, B>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::fmt::Display,
    {
        ServiceBuilder::new()
            // First, so that whatever happens behind it is recorded, timed and answered.
            .layer(AnswerLayer {
                recorder: Arc::clone(&self.recorder),
                live: Arc::clone(&self.live),
                shutdown: self.shutdown.clone(),
            })
            // Before any look at keys: a malformed head has no trustworthy key in it.
            .layer(check(Routing))
            // Before any limit: limits belong to teams, and strangers use up none of them.
            .layer(IdentifyLayer { desk: Arc::clone(&self.books.desk) })
            // Short of all that guards the upstream, and of the rate, of which it tells: what the gateway answers itself.
            .layer(OwnLayer { books: self.books.clone(), live: Arc::clone(&self.live) })
            // The cheapest limit first; a caller in a loop costs no more than this.
            .layer(check(Rate))
            // Before the body, so that a team's bodies in memory are bounded too.
            .layer(check(Concurrency))
            // Only for callers within their limits: reads the body, and refuses what could not succeed.
            .layer(wait(ReadBody { desk: Arc::clone(&self.books.desk) }))
            // What is made again goes no further, and takes nothing of what is given out behind it.
            .layer(RetryLayer(Arc::clone(&self.retries)))
            // After every limit that could still refuse: what is given here, a place and credits, others go without.
            .layer(DeskLayer(Arc::clone(&self.books.desk)))
            // As late as can be: the key exists in no request that might still be refused.
            .layer(check(Inject))
            .service(Forward::new(Arc::clone(pool), self.drain.clone()))
    }
}

/// What [`Gateway::stack`] returns: a service that is always ready and never fails.
pub trait Stack<C: Connect, B>:
    Service<Call<B>, Response = Response<GatewayBody<C>>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<C: Connect, B, S> Stack<C, B> for S where
    S: Service<Call<B>, Response = Response<GatewayBody<C>>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}
