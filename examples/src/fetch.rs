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
    if let Err(ureq::Error::Io(_)) = reply {
        // The client cannot say why its connection was closed. If the hook did it, this says so.
        taskgroup::checkpoint()?;
    }
    Ok(reply?)
}
