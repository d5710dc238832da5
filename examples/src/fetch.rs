/// What is at `url`: a blocking request of a library that knows nothing of task groups, made to
/// stop with its scope.
///
/// The hook closes the connection under the request. Only a `connect` in progress goes on, and on
/// the loopback interface that takes no time.
///
/// # Cancellation
///
/// The request is cut, whatever it was waiting for, and the error is the `Cancelled` of the scope.
///
/// # Errors
///
/// Those of the client, as `ureq::Error`; a status other than a success is one of them.
pub fn fetch(url: &str) -> anyhow::Result<Vec<u8>> {
    let client: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let request = || client.get(url).call()?.into_body().read_to_vec();
    match taskgroup::with_cancel_hook(|| client.clone().shutdown(), request) {
        // The client cannot say why its connection was closed. If it was the hook, the checkpoint
        // does.
        Err(broken @ ureq::Error::Io(_)) => {
            taskgroup::checkpoint()?;
            Err(broken.into())
        }
        reply => Ok(reply?),
    }
}
