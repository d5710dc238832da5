//! A crawler: some requests at once, retries, a rate and a deadline for each host.
//!
//! ```text
//! cargo run --release --example crawler                       a small web inside this program
//! cargo run --release --example crawler -- --strict           the first page that fails stops the others
//! cargo run --release --example crawler -- http://127.0.0.1:8000/index.html
//! ```
//!
//! One task for each page spawns the tasks of the pages that it links to, into the same group. Look
//! at `fetch`: the wait for the rate, the pauses of the retry, and the connection all end with the
//! deadline of the host, with the first failure of a strict crawl, and with Ctrl-C. None of them
//! has a time-out of its own.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use clap::Parser;
use taskgroup::sync::{Mutex, RateLimiter};
use taskgroup::{Backoff, Cancelled, TaskGroup, deadline, retry};
use taskgroup_examples::{Status, Url, Web, get, links, println, until_ctrl_c};

/// Follows the links from some pages on.
#[derive(Parser)]
struct Options {
    /// Where to begin [default: in a small web inside this program]
    urls: Vec<Url>,
    /// Requests at once
    #[arg(long, value_name = "N", default_value = "8")]
    at_once: NonZeroU32,
    /// Requests a second to one host
    #[arg(long, value_name = "N", default_value = "50")]
    rate: NonZeroU32,
    /// Requests for one page, if it fails
    #[arg(long, value_name = "N", default_value = "4")]
    attempts: NonZeroU32,
    /// The time for one host, from its first request on
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    patience_ms: u64,
    /// Stop at the first page that fails
    #[arg(long)]
    strict: bool,
}

struct Crawl {
    options: Options,
    seen: Mutex<HashSet<Url>>,
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
}

struct Host {
    pace: RateLimiter,
    until: OnceLock<Instant>,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    requests: u32,
    pages: u32,
    failed: u32,
    given_up: u32,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    until_ctrl_c(|| crawl(options))
}

fn crawl(mut options: Options) -> anyhow::Result<()> {
    let mut inside = None;
    if options.urls.is_empty() {
        let web = inside.insert(Web::small()?);
        options.urls.push(web.url(0, "/1").parse()?);
    }

    let crawl = Crawl {
        options,
        seen: Mutex::default(),
        hosts: Mutex::default(),
    };

    let outcome = TaskGroup::builder()
        .name("crawl")
        .limit(crawl.options.at_once.get() as usize)
        .scope(|g| Ok(crawl.visit(g, crawl.options.urls.clone())?));
    for (name, host) in &*crawl.hosts.lock_uncancellable() {
        println!("{name}: {}", host.tally.lock_uncancellable());
    }
    Ok(outcome?)
}

impl Crawl {
    /// Spawns a task for each page that is new. The tasks above the limit wait in the queue.
    fn visit<'scope>(
        &'scope self,
        g: &'scope TaskGroup<'scope, '_>,
        urls: Vec<Url>,
    ) -> Result<(), Cancelled> {
        for url in urls {
            if self.seen.lock()?.insert(url.clone()) {
                let host = self.host(&url)?;
                let task = g.task().name(url.to_string());
                task.spawn(move || Ok(self.visit(g, self.page(&host, &url)?)?));
            }
        }
        Ok(())
    }

    /// Fetches a page, prints how that ended, and returns its links.
    fn page(&self, host: &Host, url: &Url) -> anyhow::Result<Vec<Url>> {
        let page = match self.fetch(host, url) {
            Err(error) if self.options.strict || Cancelled::find(&*error).is_some() => {
                return Err(error);
            }
            page => page,
        };

        // A page that was fetched counts, whatever has been cancelled meanwhile.
        let mut tally = host.tally.lock_uncancellable();
        match page {
            Ok(Some(page)) => {
                tally.pages += 1;
                println!("{url}: {} bytes", page.len());
                return Ok(links(&page));
            }
            Ok(None) => {
                tally.given_up += 1;
                println!("{url}: given up, no time is left for its host");
            }
            Err(error) => {
                tally.failed += 1;
                println!("{url}: {error:#}");
            }
        }
        Ok(Vec::new())
    }

    /// Returns the page, or `None` if the deadline of the host passed first.
    fn fetch(&self, host: &Host, url: &Url) -> anyhow::Result<Option<String>> {
        let patience = Duration::from_millis(self.options.patience_ms);
        let until = *host.until.get_or_init(|| Instant::now() + patience);
        let policy = Backoff::exponential(Duration::from_millis(20))
            .attempts(self.options.attempts.get())
            .when(|error: &anyhow::Error| {
                let status = error.downcast_ref::<Status>();
                status.is_none_or(|status| status.code >= 500)
            })
            .after(|error| error.downcast_ref::<Status>()?.retry_after);

        deadline(until, || {
            retry(policy, |_| {
                host.pace.acquire()?;
                host.tally.lock_uncancellable().requests += 1;
                get(url)
            })
        })
    }

    fn host(&self, url: &Url) -> Result<Arc<Host>, Cancelled> {
        let mut hosts = self.hosts.lock()?;
        let host = hosts.entry(url.host().to_owned()).or_insert_with(|| {
            Arc::new(Host {
                pace: RateLimiter::new(Duration::from_secs(1), self.options.rate)
                    .burst(NonZeroU32::MIN),
                until: OnceLock::new(),
                tally: Mutex::default(),
            })
        });
        Ok(host.clone())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            requests,
            pages,
            failed,
            given_up,
        } = self;
        write!(
            f,
            "{pages} pages, {failed} failed, {given_up} given up, {requests} requests"
        )
    }
}
