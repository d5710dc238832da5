use std::time::Duration;

/// Parses an option as a number of seconds, such as `0.5`.
///
/// # Errors
///
/// If it is not a number, or not the length of a time.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "not a number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
