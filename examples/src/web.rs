use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use taskgroup::CancelToken;
use tiny_http::{Header, Request, Response, Server};

/// How many requests a host answers at once.
const HANDLERS: usize = 16;

/// Longer than any client waits.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The reaction of a host of a [`Web`] to a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// It sends a page with links, each to a page of a host.
    Page(Vec<(usize, String)>),
    /// It sends this status and no page.
    Status(u16),
    /// It sends `503 Service Unavailable`, and asks for another try after so many seconds.
    Busy(u32),
    /// It sends nothing.
    Nothing,
}

/// Some HTTP servers on free ports of 127.0.0.1, with pages that link to each other.
///
/// Dropping it cuts its delays short and joins its handlers.
pub struct Web {
    hosts: Vec<(Arc<Server>, Vec<JoinHandle<()>>)>,
    shared: Arc<Shared>,
}

struct Shared {
    addresses: Vec<SocketAddr>,
    /// How often each page of each host was asked for.
    requests: Mutex<HashMap<(usize, String), usize>>,
    now: AtomicUsize,
    most: AtomicUsize,
    stop: CancelToken,
}

impl Web {
    /// Starts so many hosts. A host answers the request for a path as `reply(host, path, n)` says,
    /// where it is the `n`th request for that page. There is one more host, which does not exist:
    /// a connection to it is refused.
    ///
    /// # Errors
    ///
    /// If a port cannot be bound or a handler cannot be started.
    pub fn start(
        hosts: usize,
        reply: impl Fn(usize, &str, usize) -> Reply + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let servers = (0..hosts)
            .map(|_| Server::http("127.0.0.1:0").map_err(anyhow::Error::from_boxed))
            .collect::<Result<Vec<_>, _>>()
            .context("cannot bind a port of 127.0.0.1")?;
        let mut addresses = servers
            .iter()
            .map(|server| server.server_addr().to_ip().context("no IP address"))
            .collect::<Result<Vec<_>, _>>()?;

        // Nothing has served port 1 for decades.
        addresses.push(SocketAddr::from(([127, 0, 0, 1], 1)));

        let mut web = Web {
            hosts: Vec::new(),
            shared: Arc::new(Shared {
                addresses,
                requests: Mutex::default(),
                now: AtomicUsize::new(0),
                most: AtomicUsize::new(0),
                stop: CancelToken::new(),
            }),
        };

        let reply = Arc::new(reply);
        for (host, server) in servers.into_iter().enumerate() {
            let server = Arc::new(server);
            let mut handlers = Vec::new();
            for _ in 0..HANDLERS {
                let (http, shared, reply) = (server.clone(), web.shared.clone(), reply.clone());
                let handle = move || {
                    // `Server::unblock` ends the loop by a failed `recv`.
                    while let Ok(request) = http.recv() {
                        shared.respond(host, request, &*reply);
                    }
                };
                handlers.push(thread::Builder::new().name("web".into()).spawn(handle)?);
            }
            web.hosts.push((server, handlers));
        }
        Ok(web)
    }

    /// Starts a web of five hosts:
    ///
    /// | host | pages |
    /// |---|---|
    /// | 0 | fifteen, a tree with its root at `/1`, with links to the other hosts |
    /// | 1 | three in a row, each busy the first two times |
    /// | 2 | a page that links to two which are never sent |
    /// | 3 | a page that does not exist and a page that always fails |
    /// | 4 | does not exist itself |
    ///
    /// # Errors
    ///
    /// Like [`start`](Self::start).
    pub fn small() -> anyhow::Result<Self> {
        Self::start(4, Self::small_reply)
    }

    /// Returns the reply of a host of the [small](Self::small) web.
    pub fn small_reply(host: usize, path: &str, nth: usize) -> Reply {
        let page = path.trim_start_matches('/').parse().unwrap_or(0);
        let links = |links: &[(usize, usize)]| {
            Reply::Page(links.iter().map(|(h, n)| (*h, format!("/{n}"))).collect())
        };

        match (host, page) {
            (0, 2) => links(&[(0, 4), (0, 5), (0, 1), (1, 1)]),
            (0, 3) => links(&[(0, 6), (0, 7), (0, 1), (2, 1)]),
            (0, 8) => links(&[(0, 1), (3, 1), (3, 2)]),
            (0, 9) => links(&[(0, 1), (4, 1)]),
            (0, n @ 1..8) => links(&[(0, 2 * n), (0, 2 * n + 1), (0, 1)]),
            (0, 8..16) => links(&[(0, 1)]),
            (1, 1..=3) if nth < 3 => Reply::Busy(0),
            (1, n @ 1..3) => links(&[(1, n + 1)]),
            (1, 3) => links(&[]),
            (2, 1) => links(&[(2, 2), (2, 3)]),
            (2, 2..=3) => Reply::Nothing,
            (3, 2) => Reply::Status(500),
            _ => Reply::Status(404),
        }
    }

    /// Returns the address of a page.
    pub fn url(&self, host: usize, path: &str) -> String {
        self.shared.url(host, path)
    }

    /// Returns how often a page was asked for.
    pub fn requests(&self, host: usize, path: &str) -> usize {
        let requests = self.shared.requests.lock().expect("no handler panics");
        requests.get(&(host, path.to_owned())).copied().unwrap_or(0)
    }

    /// Returns the largest number of requests that were answered at once, over all hosts.
    pub fn most_at_once(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn url(&self, host: usize, path: &str) -> String {
        format!("http://{}{path}", self.addresses[host])
    }

    fn respond(&self, host: usize, request: Request, reply: &impl Fn(usize, &str, usize) -> Reply) {
        self.most.fetch_max(
            self.now.fetch_add(1, Ordering::SeqCst) + 1,
            Ordering::SeqCst,
        );

        let nth = {
            let page = (host, request.url().to_owned());
            let mut requests = self.requests.lock().expect("no handler panics");
            let count = requests.entry(page).or_default();
            *count += 1;
            *count
        };

        let mut answer = Response::from_string("");
        match reply(host, request.url(), nth) {
            Reply::Page(links) => {
                let mut page = String::new();
                for (host, path) in links {
                    let _ = writeln!(page, "<a href=\"{}\">", self.url(host, &path));
                }
                answer = Response::from_string(page);
            }
            Reply::Status(status) => answer = answer.with_status_code(status),
            Reply::Busy(seconds) => {
                let after = Header::from_bytes("Retry-After", seconds.to_string());
                answer = answer
                    .with_status_code(503)
                    .with_header(after.expect("it is a header"));
            }
            Reply::Nothing => {
                // Only the drop ends it.
                let _ = self.stop.run(|| taskgroup::sleep(NEVER));
            }
        }

        self.now.fetch_sub(1, Ordering::SeqCst);

        // A client that has gone away wants no answer.
        let _ = request.respond(answer);
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        for (server, handlers) in &self.hosts {
            handlers.iter().for_each(|_| server.unblock());
        }
        for handler in self.hosts.drain(..).flat_map(|(_, handlers)| handlers) {
            // If a handler panicked, the panic is on stderr, and its client has seen the connection
            // close.
            let _ = handler.join();
        }
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web")
            .field("addresses", &self.shared.addresses)
            .finish_non_exhaustive()
    }
}
