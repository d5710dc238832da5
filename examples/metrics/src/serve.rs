//! A server of one page, for one client at a time, as a scraper needs it.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use anyhow::anyhow;
use taskgroup::net::{TcpListener, TcpStream};
use taskgroup::{io, timeout};

use crate::output::report;

/// Longer than a scraper on the same machine takes.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most bytes of a request.
const HEAD: u64 = 8 << 10;

/// Answers each `GET /metrics` with a new page, until the scope is cancelled.
///
/// # Errors
///
/// The cancel of the scope.
pub(crate) fn pages(
    listener: &TcpListener,
    mut page: impl FnMut() -> String,
) -> anyhow::Result<()> {
    for stream in listener.incoming() {
        let outcome = timeout(PATIENCE, || answer(&stream?, &mut page));

        // A client that is slow or has gone is not a reason to stop, but a cancel is.
        taskgroup::checkpoint()?;
        match outcome {
            Ok(Some(())) => {}
            Ok(None) => report(&anyhow!("a scrape took longer than {PATIENCE:?}")),
            Err(error) => report(&anyhow!(error).context("a scrape failed")),
        }
    }
    Ok(())
}

fn answer(stream: &TcpStream, page: &mut impl FnMut() -> String) -> io::Result<()> {
    let mut lines = BufReader::new(stream.take(HEAD)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();

    // The headers say nothing that matters here, but a close with bytes unread would be a reset.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }

    let (status, body) = match request.strip_prefix("GET /metrics HTTP/1.") {
        Some(_) => ("200 OK", page()),
        None => ("404 Not Found", "only GET /metrics is here\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    (&*stream).write_all((head + &body).as_bytes())
}
