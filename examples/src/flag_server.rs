use std::{
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use taskgroup::CancelToken;
use tiny_http::{Request, Response, Server};

use crate::COUNTRIES;

/// How the server answers a request for the flag of a country.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// The image, after this delay, or `404 Not Found` if there is no such country.
    Flag(Duration),
    /// `500 Internal Server Error`, after this delay.
    Error(Duration),
}

/// An HTTP server on a free port of 127.0.0.1, which answers `/flags/xx/xx.gif` with the flag of
/// country `XX`.
///
/// Dropping the server cuts the delays short and joins its handlers.
pub struct FlagServer {
    http: Arc<Server>,
    address: SocketAddr,
    stop: CancelToken,
    handlers: Vec<JoinHandle<()>>,
}

impl FlagServer {
    /// Starts a server that answers for the country with code `XX` as `answer("XX")` says, up to
    /// `handlers` requests at once. With at least as many handlers as its client has requests in
    /// flight, the client waits for the delay and never for a handler.
    ///
    /// # Errors
    ///
    /// If no port can be bound or a handler cannot be started.
    pub fn start(
        handlers: usize,
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let http = Server::http("127.0.0.1:0")
            .map_err(anyhow::Error::from_boxed)
            .context("cannot bind a port of 127.0.0.1")?;
        let address = http
            .server_addr()
            .to_ip()
            .context("the server has no IP address")?;
        let mut server = FlagServer {
            http: Arc::new(http),
            address,
            stop: CancelToken::new(),
            handlers: Vec::new(),
        };

        let answer = Arc::new(answer);
        for _ in 0..handlers {
            let (http, stop, answer) = (server.http.clone(), server.stop.clone(), answer.clone());
            let handle = move || {
                // `Server::unblock` ends the loop by a failed `recv`.
                while let Ok(request) = http.recv() {
                    respond(request, &*answer);
                }
            };
            server.handlers.push(
                thread::Builder::new()
                    .name("flag server".into())
                    .spawn(move || stop.run(handle))?,
            );
        }

        server.warm_up()?;
        Ok(server)
    }

    /// Returns the address of the flag of the country with this code.
    pub fn url(&self, code: &str) -> String {
        let code = code.to_ascii_lowercase();
        format!("http://{}/flags/{code}/{code}.gif", self.address)
    }

    /// Makes tiny_http start as many connection threads as there are handlers. It takes a thread
    /// that has been woken but has not yet run for an idle one, so of a burst of connections some
    /// would wait until others close.
    fn warm_up(&self) -> anyhow::Result<()> {
        let mut connections = Vec::new();
        for _ in &self.handlers {
            let mut connection = TcpStream::connect(self.address)?;
            connection.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            connection.read_exact(&mut [0])?;
            connections.push(connection);
        }
        Ok(())
    }
}

impl Drop for FlagServer {
    fn drop(&mut self) {
        self.stop.cancel();
        for _ in &self.handlers {
            self.http.unblock();
        }
        for handler in self.handlers.drain(..) {
            // If a handler panicked, the panic is on stderr, and its client has seen the connection
            // close.
            let _ = handler.join();
        }
    }
}

impl fmt::Debug for FlagServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlagServer")
            .field("address", &self.address)
            .field("handlers", &self.handlers.len())
            .finish_non_exhaustive()
    }
}

fn respond(request: Request, answer: &impl Fn(&str) -> Answer) {
    let (status, body) = match code(request.url()) {
        None => (404, Vec::new()),
        Some(code) => {
            let (delay, reply) = match answer(&code) {
                Answer::Flag(delay) if COUNTRIES.contains(&code.as_str()) => {
                    (delay, (200, gif(&code)))
                }
                Answer::Flag(delay) => (delay, (404, Vec::new())),
                Answer::Error(delay) => (delay, (500, Vec::new())),
            };
            if taskgroup::sleep(delay).is_err() {
                return;
            }
            reply
        }
    };

    // A client that has gone away wants no answer.
    let _ = request.respond(Response::from_data(body).with_status_code(status));
}

/// Returns the code that a path `/flags/xx/xx.gif` asks for.
fn code(path: &str) -> Option<String> {
    let (folder, file) = path
        .strip_prefix("/flags/")?
        .strip_suffix(".gif")?
        .split_once('/')?;
    let is_code =
        folder == file && file.len() == 2 && file.bytes().all(|letter| letter.is_ascii_lowercase());
    is_code.then(|| file.to_ascii_uppercase())
}

/// Returns a valid image of one pixel, with the code as its colour.
fn gif(code: &str) -> Vec<u8> {
    let [first, second] = [code.as_bytes()[0], code.as_bytes()[1]];
    let mut image = b"GIF89a\x01\0\x01\0\x80\0\0".to_vec();
    image.extend([first, second, 0, 0, 0, 0]);
    image.extend(b",\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0;");
    image
}
