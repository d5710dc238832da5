/// Returns the body at `url`, by a blocking request of a library that knows nothing of task groups.
/// The request stops with its scope.
///
/// The hook closes the connection under the request. Only a `connect` in progress goes on, and on
/// the loopback interface that takes no time. For an agent that many requests share, see
/// `docs/interop.md`.
///
/// # Cancellation
///
/// The request is cut short wherever it waits, and the error is the `Cancelled` of the scope.
///
/// # Errors
///
/// The errors of the client, as `ureq::Error`; a status other than a success is an error.
pub fn fetch(url: &str) -> anyhow::Result<Vec<u8>> {
    let client: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let request = || client.get(url).call()?.into_body().read_to_vec();
    let reply = taskgroup::with_cancel_hook(|| client.clone().shutdown(), request);
    if matches!(reply, Ok(_) | Err(ureq::Error::Io(_))) {
        // The client cannot say why its connection was closed, and takes the end of the stream for
        // the end of a body without a length. If the hook closed it, this says so.
        taskgroup::checkpoint()?;
    }
    Ok(reply?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use taskgroup::{CancelToken, Cancelled};

    #[test]
    fn a_body_that_a_cancel_cuts_off_is_no_reply() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let token = CancelToken::new();
        let reply = thread::scope(|threads| {
            threads.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.extend(byte);
                }
                // Without a length, the body lasts until the end of the stream.
                stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhalf").unwrap();
                token.cancel();
                // Until the hook has shut the connection down.
                let _ = stream.read(&mut [0]);
            });
            token.run(|| super::fetch(&url))
        });
        assert!(reply.is_err_and(|error| error.is::<Cancelled>()));
    }
}
