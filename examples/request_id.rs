//! A request id in every log line, even in the lines of tasks that know nothing of requests.
//!
//! ```text
//! cargo run --release --example request_id [-- --requests N]
//! ```
//!
//! Two requests are handled at once, by threads that take one request after the other. Each opens a
//! scope of its own, with tasks that run on other threads of the pool. Look at the ids: each line
//! has the id of its request, and no function passes it on. The last request is of a user without
//! an account: its look-up fails, which ends the sleep of the other task.

use std::{fmt, time::Duration};

use anyhow::Context;
use clap::Parser;
use taskgroup::{GroupError, ScopedValue, TaskGroup};
use taskgroup_examples::println;

/// Handles some requests, and logs what it does.
#[derive(Parser)]
struct Options {
    /// How many requests come
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=1000),
    )]
    requests: u32,
}

struct Request {
    id: u32,
    user: String,
}

/// The request that this code is for, however deep it is called.
static REQUEST: ScopedValue<Request> = ScopedValue::new();

fn main() -> Result<(), GroupError> {
    let Options { requests } = Options::parse();
    TaskGroup::builder().name("requests").limit(2).scope(|g| {
        let handled = (1..=requests).map(|id| {
            // A request that fails is not a reason to stop the others.
            g.spawn_isolated(move || {
                let user = if id == requests { "nobody" } else { "ada" };
                let user = user.to_owned();
                REQUEST.with(&Request { id, user }, handle)
            })
        });
        let handled: Vec<_> = handled.collect();
        log("all have come");
        let outcomes = handled.into_iter().map(|task| task.join());
        let failed = outcomes.filter(|outcome| !matches!(outcome, Ok(Ok(()))));
        let failed = failed.count();
        log(format_args!("{failed} of {requests} failed"));
        Ok(())
    })
}

/// Answers the request.
fn handle() -> anyhow::Result<()> {
    log("begins");
    let outcome = TaskGroup::scope(|g| {
        let (account, prices) = (g.spawn(account), g.spawn(prices));
        Ok((account.join()?, prices.join()?))
    });
    match &outcome {
        Ok((account, price)) => log(format_args!("account {account} pays {price}")),
        Err(error) => log(format_args!("fails: {}", first(error))),
    }
    Ok(outcome.map(drop)?)
}

/// Looks the account of the user up.
fn account() -> anyhow::Result<usize> {
    let user = REQUEST.get(|request| request.map(|request| request.user.clone()));
    log("looks for the account");
    let accounts = ["bob", "ada"];
    let found = accounts
        .iter()
        .position(|name| Some(*name) == user.as_deref());
    found.context("there is no such account")
}

/// Asks for the prices, which takes its time.
fn prices() -> anyhow::Result<u32> {
    log("asks for the prices");
    taskgroup::sleep(Duration::from_millis(20))?;
    Ok(REQUEST.get(|request| request.map_or(0, |request| 10 * request.id)))
}

fn first(error: &GroupError) -> String {
    error
        .errors()
        .next()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Prints a line with the request that it is about.
fn log(text: impl fmt::Display) {
    REQUEST.get(|request| match request {
        Some(Request { id, user }) => println!("request {id} of {user}: {text}"),
        None => println!("server: {text}"),
    });
}
