use std::{
    error::Error,
    fmt,
    io::{Read, Write},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, ensure};
use taskgroup::net::TcpStream;

/// The most bytes of an answer.
const ANSWER: u64 = 16 << 20;

/// An address that begins with `http://`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    host: String,
    path: String,
}

impl Url {
    /// Returns the host with its port.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for Url {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let rest = url
            .strip_prefix("http://")
            .context("not an address that begins with http://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_odd = |c: char| c.is_control() || c == ' ';
        ensure!(!host.is_empty() && !url.contains(is_odd), "not an address");

        let port = if host.contains(':') { "" } else { ":80" };
        Ok(Url {
            host: format!("{host}{port}"),
            path: format!("/{path}"),
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.host, self.path)
    }
}

/// An answer other than `200 OK`.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    /// The number.
    pub code: u16,
    /// When the server wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.code)
    }
}

impl Error for Status {}

/// Returns the page at `url`. It ends with its scope, wherever it waits.
///
/// It speaks HTTP/1.0: the end of the connection is the end of the page.
///
/// # Errors
///
/// A [`Status`] if the server sends no page, a `Cancelled`, the errors of the connection, and an
/// error if the answer has 16 MiB or more.
pub fn get(url: &Url) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(&*url.host)?;
    let request = format!("GET {} HTTP/1.0\r\nHost: {}\r\n\r\n", url.path, url.host);
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut stream = stream.take(ANSWER);
    stream.read_to_end(&mut answer)?;

    // First, since the limit may be in the middle of a character.
    ensure!(stream.limit() > 0, "the answer is too long");
    let answer = String::from_utf8(answer)?;

    let (head, page) = answer.split_once("\r\n\r\n").context("no answer")?;
    let header = |name: &str| {
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        headers.find_map(|(header, value)| header.eq_ignore_ascii_case(name).then_some(value))
    };

    let length = header("Content-Length").context("no length")?;
    ensure!(page.len() == length.parse()?, "the page is cut short");

    let code = head.split(' ').nth(1).context("no status")?.parse()?;
    let seconds = header("Retry-After").and_then(|seconds| seconds.parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    ensure!(code == 200, Status { code, retry_after });
    Ok(page.to_owned())
}

/// Returns the links of a page that lead to pages.
pub fn links(page: &str) -> Vec<Url> {
    let links = page.split("href=\"").skip(1);
    links
        .filter_map(|link| link.split('"').next()?.parse().ok())
        .collect()
}
