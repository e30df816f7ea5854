//! A lane, measured: proxies take turns, one working while the others idle.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::figures::Figure;
use crate::instructions::Instructions;
use crate::lanes::{Lane, Work};
use crate::proxies::{Kind, Proxy, Site, Target};
use crate::statistics::{median, percentile};
use crate::{certificate, load, open, schedule, upstream};

/// What all lanes run in.
pub struct Ground {
    gateway: PathBuf,
    floor: PathBuf,
    folder: PathBuf,
    /// An address for each of [`Kind::ALL`], in clear text and with TLS.
    clear: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    roots: PathBuf,
}

impl Ground {
    /// Starts the upstreams.
    pub fn prepare(gateway: &Path, folder: &Path) -> Result<Self, String> {
        // The floor is built with the harness, and lies beside it.
        let floor = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("floor");
        let listeners = || {
            let listeners = upstream::bind().map_err(|error| format!("upstream: {error}"))?;
            let addresses =
                listeners.iter().map(std::net::TcpListener::local_addr).collect::<Result<Vec<_>, _>>();
            Ok::<_, String>((listeners, addresses.map_err(|error| error.to_string())?))
        };
        let (clear, tls) = (listeners()?, listeners()?);
        let (roots, acceptor) = certificate::make(folder, &tls.1)?;
        upstream::start(clear.0, None).map_err(|error| error.to_string())?;
        upstream::start(tls.0, Some(acceptor)).map_err(|error| error.to_string())?;
        Ok(Self { gateway: gateway.into(), floor, folder: folder.into(), clear: clear.1, tls: tls.1, roots })
    }

    /// Where configurations, ledgers and logs of this run go.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a proxy for a lane.
    pub fn start(&self, lane: &Lane, kind: Kind) -> Result<Proxy, String> {
        self.start_in(&self.folder, &[], lane, kind)
    }

    /// Starts a proxy for a lane inside another program, with its files in a folder of its own.
    pub fn start_in(
        &self,
        folder: &Path,
        inside: &[String],
        lane: &Lane,
        kind: Kind,
    ) -> Result<Proxy, String> {
        let index = Kind::ALL.iter().position(|one| *one == kind).unwrap_or_default();
        let site = Site {
            gateway: &self.gateway,
            floor: &self.floor,
            folder,
            upstream: if lane.tls { self.tls[index] } else { self.clear[index] },
            roots: lane.tls.then_some(self.roots.as_path()),
            callers: lane.callers,
            token: lane.token,
        };
        Proxy::start(inside, kind, &site)
    }
}

/// One proxy's figures in a lane, each by round.
pub type Figures = Vec<(Figure, Vec<f64>)>;

/// One lane.
#[derive(Debug)]
pub struct Measured {
    /// Which.
    pub lane: Lane,
    /// In the order of [`Kind::ALL`], or why there are none.
    pub figures: Result<Vec<Figures>, String>,
    /// Of one call, where the lane has them counted.
    pub instructions: Option<Instructions>,
}

impl Measured {
    /// Whether a call takes more than it may: of all figures the one that is the same everywhere.
    pub fn is_above_its_bound(&self) -> bool {
        self.instructions.map(|counted| counted.gateway) > self.lane.instructions.map(f64::from)
    }
}

/// Measures a lane.
pub fn lane(ground: &Ground, lane: Lane, rounds: usize, descriptors: u64) -> Result<Measured, String> {
    if lane.descriptors() > descriptors {
        let why = format!(
            "not measured: it needs {} open files in one process, and the hard limit is {descriptors}",
            lane.descriptors()
        );
        return Ok(Measured { lane, figures: Err(why), instructions: None });
    }
    let mut figures = vec![Figures::new(); Kind::ALL.len()];
    if let Work::Open(watch) = lane.work {
        // Each in a process of its own, so that no round starts with the memory of the one before. A round takes
        // long, and memory differs little between two.
        for round in 0..rounds.div_ceil(3) {
            for index in turns(round) {
                let proxy = ground.start(&lane, Kind::ALL[index])?;
                warm_up(&proxy, &lane)
                    .and_then(|()| open::run(&proxy, &lane, watch))
                    .map(|round| add(&mut figures[index], round))
                    .map_err(|error| lane.failed(proxy.kind, &error))?;
            }
        }
        return Ok(Measured { lane, figures: Ok(figures), instructions: None });
    }
    let proxies = Kind::ALL.iter().map(|kind| ground.start(&lane, *kind)).collect::<Result<Vec<_>, _>>()?;
    for proxy in &proxies {
        warm_up(proxy, &lane).map_err(|error| lane.failed(proxy.kind, &error))?;
    }
    for round in 0..rounds {
        let direct = direct(ground, &lane).map_err(|error| format!("{}, upstream: {error}", lane.name))?;
        for index in turns(round) {
            let round = round_of(&proxies[index], &lane, &direct);
            add(&mut figures[index], round.map_err(|error| lane.failed(proxies[index].kind, &error))?);
        }
    }
    Ok(Measured { lane, figures: Ok(figures), instructions: None })
}

/// Each round begins with another proxy.
fn turns(round: usize) -> impl Iterator<Item = usize> {
    let count = Kind::ALL.len();
    (0..count).map(move |turn| (turn + round) % count)
}

fn add(figures: &mut Figures, round: Vec<(Figure, f64)>) {
    for (figure, value) in round {
        match figures.iter_mut().find(|(known, _)| *known == figure) {
            Some((_, values)) => values.push(value),
            None => figures.push((figure, vec![value])),
        }
    }
}

/// Once for the caches, the connections and the allocators.
fn warm_up(proxy: &Proxy, lane: &Lane) -> Result<(), String> {
    match lane.work {
        Work::BackToBack(calls) => load::run(&proxy.target, lane, (calls / 4).max(lane.callers)),
        Work::Scheduled { per_second, .. } => schedule::run(&proxy.target, lane, per_second / 4, per_second),
        Work::FirstByte(calls) => schedule::first_bytes(&proxy.target, lane, calls / 4),
        Work::Open(_) => {
            let little = Lane { answer: crate::lanes::Answer::Json, callers: 16, ..*lane };
            load::run(&proxy.target, &little, 1600)
        }
    }
    .map(drop)
}

/// The same calls without a proxy, where it is what the proxy adds that counts.
fn direct(ground: &Ground, lane: &Lane) -> Result<Vec<f64>, String> {
    let target = Target { address: ground.clear[0], key: "direct".to_owned() };
    match lane.work {
        Work::Scheduled { calls, per_second } => schedule::run(&target, lane, calls, per_second),
        Work::FirstByte(calls) => schedule::first_bytes(&target, lane, calls),
        Work::BackToBack(_) | Work::Open(_) => Ok(Vec::new()),
    }
}

fn round_of(proxy: &Proxy, lane: &Lane, direct: &[f64]) -> Result<Vec<(Figure, f64)>, String> {
    let (spent, answered) = (proxy.cpu()?, upstream::answered());
    let (latencies, calls) = match lane.work {
        Work::Scheduled { calls, per_second } => {
            (schedule::run(&proxy.target, lane, calls, per_second)?, calls)
        }
        Work::FirstByte(calls) => (schedule::first_bytes(&proxy.target, lane, calls)?, calls),
        Work::BackToBack(calls) => (load::run(&proxy.target, lane, calls)?, calls - calls % lane.callers),
        Work::Open(_) => return Err("open streams are watched, not timed".to_owned()),
    };
    // What is done behind an answer, like booking its cost, is part of it.
    std::thread::sleep(Duration::from_millis(30));
    let spent = proxy.cpu()?.saturating_sub(spent);
    let answered = upstream::answered() - answered;
    if answered != calls {
        return Err(format!("of {calls} calls the upstream saw {answered}"));
    }
    let added = |permille| percentile(&latencies, permille) - percentile(direct, permille);
    let cpu = (Figure::CpuPerCall, spent.as_secs_f64() * 1e6 / f64::from(calls));
    Ok(match lane.work {
        Work::Scheduled { .. } => vec![
            cpu,
            (Figure::AddedMedian, added(500)),
            (Figure::Added99, added(990)),
            (Figure::Added999, added(999)),
        ],
        Work::FirstByte(_) => {
            vec![(Figure::FirstByte, median(&latencies)), (Figure::AddedFirstByte, added(500)), cpu]
        }
        Work::BackToBack(_) | Work::Open(_) => vec![cpu, (Figure::CallTime, median(&latencies))],
    })
}
