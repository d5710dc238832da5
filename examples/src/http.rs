use std::io::{self, BufRead, ErrorKind, Read, Write};

/// The most bytes of a request's head.
const HEAD: u64 = 8 << 10;

/// The most bytes of a request's body.
const BODY: usize = 64 << 10;

/// A request of HTTP/1.0 or 1.1.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Such as `GET`.
    pub method: String,
    /// The path, with what follows it.
    pub path: String,
    /// Whether the client means to send another request on the connection.
    pub keep_alive: bool,
    /// The body, of as many bytes as `Content-Length` says.
    pub body: Vec<u8>,
}

/// A request that is refused, with the status that says why.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub u16);

impl Request {
    /// Reads one request, and nothing behind it.
    ///
    /// # Errors
    ///
    /// The errors of the reader. A stream that ends within the request is `UnexpectedEof`.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Result<Self, Refused>> {
        let mut lines = Vec::new();
        let mut head = reader.take(HEAD);
        loop {
            let mut line = Vec::new();
            head.read_until(b'\n', &mut line)?;
            if head.limit() == 0 {
                return Ok(Err(Refused(431)));
            }
            if line.pop() != Some(b'\n') {
                let error = "the request is cut short";
                return Err(io::Error::new(ErrorKind::UnexpectedEof, error));
            }
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            match String::from_utf8(line) {
                // Some clients send an empty line between two requests.
                Ok(line) if line.is_empty() && lines.is_empty() => {}
                Ok(line) if line.is_empty() => break,
                Ok(line) => lines.push(line),
                Err(_) => return Ok(Err(Refused(400))),
            }
        }

        let (mut request, length) = match parse(&lines) {
            Ok(parsed) => parsed,
            Err(refused) => return Ok(Err(refused)),
        };
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
        Ok(Ok(request))
    }
}

/// Returns the request without its body, and the length of the body.
fn parse(lines: &[String]) -> Result<(Request, usize), Refused> {
    let [first, headers @ ..] = lines else {
        return Err(Refused(400));
    };

    let words: Vec<_> = first.split(' ').collect();
    let [method, path, version] = words[..] else {
        return Err(Refused(400));
    };
    if !is_token(method) || !path.starts_with('/') {
        return Err(Refused(400));
    }

    let mut keep_alive = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return Err(Refused(505)),
    };

    let mut length = None;
    for header in headers {
        let (name, value) = header.split_once(':').ok_or(Refused(400))?;
        if !is_token(name) {
            return Err(Refused(400));
        }
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            // Two lengths let two parsers see two different requests.
            "content-length" if length.is_none() && is_number(value) => {
                length = Some(value.parse().unwrap_or(usize::MAX));
            }
            "content-length" => return Err(Refused(400)),
            "transfer-encoding" => return Err(Refused(501)),
            "connection" if value.eq_ignore_ascii_case("close") => keep_alive = false,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => keep_alive = true,
            _ => {}
        }
    }

    let length = length.unwrap_or(0);
    if length > BODY {
        return Err(Refused(413));
    }

    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        keep_alive,
        body: Vec::new(),
    };
    Ok((request, length))
}

fn is_token(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_part)
}

fn is_number(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// Writes an answer, in one piece.
///
/// # Errors
///
/// The errors of the writer.
pub fn respond(
    writer: &mut impl Write,
    status: u16,
    body: &str,
    keep_alive: bool,
) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    };

    let connection = if keep_alive { "keep-alive" } else { "close" };
    let answer = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{body}",
        body.len()
    );
    writer.write_all(answer.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, ErrorKind, Read};

    use super::{BODY, HEAD, Refused, Request};

    fn read(text: &str) -> Result<Request, Refused> {
        Request::read(&mut text.as_bytes()).expect("the text is a whole request")
    }

    #[test]
    fn requests_follow_each_other() {
        let mut stream = Cursor::new(
            "POST /sum HTTP/1.1\r\nhost: a\r\nContent-Length: 3\r\n\r\n1 2\
             \r\nGET / HTTP/1.1\nConnection: Close\n\nrest",
        );
        let first = Request::read(&mut stream).unwrap().unwrap();
        assert_eq!(
            (&*first.method, &*first.path, &*first.body, first.keep_alive),
            ("POST", "/sum", &b"1 2"[..], true)
        );
        let second = Request::read(&mut stream).unwrap().unwrap();
        assert_eq!(
            (
                &*second.method,
                &*second.path,
                &*second.body,
                second.keep_alive
            ),
            ("GET", "/", &b""[..], false)
        );
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "rest");
    }

    #[test]
    fn the_version_says_whether_the_connection_is_kept() {
        for (head, kept) in [
            ("GET / HTTP/1.1\r\n", true),
            ("GET / HTTP/1.0\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n", true),
        ] {
            assert_eq!(read(&format!("{head}\r\n")).unwrap().keep_alive, kept);
        }
    }

    #[test]
    fn a_bad_request_is_refused_with_the_reason() {
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(HEAD as usize));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(2000));
        let large = format!(
            "PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n",
            BODY as u64 + 1
        );
        for (text, status) in [
            ("hello\r\n\r\n", 400),
            ("GET / HTTP/1.1 x\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\n\r\n", 400),
            ("G\u{1}T / HTTP/1.1\r\n\r\n", 400),
            ("GET x HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nname : value\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n folded: value\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nContent-Length: +3\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nContent-Length: \r\n\r\n", 400),
            (
                "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                400,
            ),
            (
                "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                413,
            ),
            (&*large, 413),
            (&*long, 431),
            (&*many, 431),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
            ("GET / HTTP/2.0\r\n\r\n", 505),
        ] {
            assert_eq!(read(text), Err(Refused(status)), "{text:?}");
        }
        let not_text: &[u8] = b"GET /\xff HTTP/1.1\r\n\r\n";
        assert_eq!(Request::read(&mut { not_text }).unwrap(), Err(Refused(400)));
    }

    #[test]
    fn a_request_that_is_cut_short_is_an_error() {
        let whole = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        for length in 0..whole.len() {
            let error = Request::read(&mut &whole.as_bytes()[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{length}");
        }
    }
}
