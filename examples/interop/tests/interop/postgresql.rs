//! Statements on a real PostgreSQL, cut short by a cancel.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use postgres::error::SqlState;
use postgres::{Client, Error, NoTls};
use taskgroup::{CancelToken, Cancelled, TaskGroup};
use taskgroup_interop::Pool;

use crate::postgres_server::{Server, server};
use crate::support::{LONG, until, watch};
use crate::{assert_cancel, cancelled_during};

/// Returns the id of the server's process for this connection.
fn pid(client: &mut Client) -> Result<i32, Error> {
    Ok(client.query_one("SELECT pg_backend_pid()", &[])?.get(0))
}

/// Waits until a statement with this text runs on the server.
fn until_running(server: &Server, text: &str) {
    let mut look = server.client();
    let active = "SELECT count(*) FROM pg_stat_activity \
                  WHERE state = 'active' AND pid <> pg_backend_pid() AND query = $1";
    until(|| look.query_one(active, &[&text]).unwrap().get::<_, i64>(0) > 0);
}

#[test]
fn a_statement_ends_on_the_server_and_its_connection_is_thrown_away() {
    let _watch = watch();
    let Some(server) = server() else { return };
    let pool = Pool::new(server.config());
    let first = pool.run(pid).unwrap();
    assert_eq!(pool.run(pid).unwrap(), first, "a connection is used again");

    let sleep = "SELECT pg_sleep(1000), 'thrown away'";
    let error = cancelled_during(
        || pool.run(|client| client.execute(sleep, &[])),
        || until_running(&server, sleep),
    );

    assert_cancel(&error);
    assert_ne!(pool.run(pid).unwrap(), first);
    let mut look = server.client();
    let there = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
    until(|| look.query_one(there, &[&first]).unwrap().get::<_, i64>(0) == 0);
}

#[test]
fn a_deadline_ends_a_statement() {
    let _watch = watch();
    let Some(server) = server() else { return };
    let pool = Pool::new(server.config());
    let slow = || pool.run(|client| client.execute("SELECT pg_sleep(1000)", &[]));
    let outcome = taskgroup::timeout(Duration::from_millis(50), slow);
    assert_eq!(outcome.unwrap(), None);
}

#[test]
fn no_statement_of_a_scope_that_goes_on_is_hit_by_a_late_cancel() {
    let _watch = watch();
    let Some(server) = server() else { return };
    let pool = Pool::new(server.config());
    let mut cut = 0;
    for round in 0..150 {
        // It ends by itself at about the time of the cancel, before or after it.
        let statement = format!("SELECT pg_sleep({})", f64::from(round % 30) / 10_000.0);
        let token = CancelToken::new();
        let outcome = TaskGroup::scope(|g| {
            let task = g.spawn(|| {
                let run = || pool.run(|client| client.execute(&statement, &[]));
                Ok(token.run(run))
            });
            std::thread::sleep(Duration::from_millis(1));
            token.cancel();
            Ok(task.join()?)
        });
        if let Err(error) = outcome.unwrap() {
            assert!(Cancelled::find(error.as_ref()).is_some(), "{error:?}");
            cut += 1;
        }
        // Long enough for a cancel request that is still on its way.
        let next = pool.run(|client| client.execute("SELECT pg_sleep(0.002)", &[]));
        next.unwrap_or_else(|error| panic!("round {round}, after {cut} were cut: {error:?}"));
    }
}

/// The trap of which the pool keeps clear.
#[test]
fn a_cancel_request_that_comes_late_ends_the_next_statement() {
    let _watch = watch();
    let Some(server) = server() else { return };
    let mut client = server.client();
    let cancel = client.cancel_token();
    client
        .batch_execute("SELECT 'the one that is meant'")
        .unwrap();

    let next = "SELECT pg_sleep(1000), 'the next one'";
    let ended = std::thread::scope(|threads| {
        let ended = threads.spawn(|| client.batch_execute(next));
        until_running(&server, next);
        cancel.cancel_query(NoTls).unwrap();
        ended.join().unwrap()
    });
    let error = ended.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
}

#[test]
fn the_cancel_of_a_transaction_leaves_nothing_of_it() {
    let _watch = watch();
    let Some(server) = server() else { return };
    let pool = Pool::new(server.config());
    pool.run(|client| client.batch_execute("CREATE TABLE entries (n INT)"))
        .unwrap();
    let sleep = "SELECT pg_sleep(1000), 'a transaction'";
    let transaction = |client: &mut Client| {
        let mut transaction = client.transaction()?;
        transaction.execute("INSERT INTO entries VALUES (1)", &[])?;
        transaction.execute(sleep, &[])?;
        transaction.commit()
    };

    let error = cancelled_during(|| pool.run(transaction), || until_running(&server, sleep));
    assert_cancel(&error);
    let entries = |client: &mut Client| client.query_one("SELECT count(*) FROM entries", &[]);
    assert_eq!(pool.run(entries).unwrap().get::<_, i64>(0), 0);
}

#[test]
fn jobs_that_are_cut_short_are_done_once() {
    const JOBS: i64 = 30;
    let _watch = watch();
    let Some(server) = server() else { return };
    let pool = Pool::new(server.config());
    let tables = format!(
        "CREATE TABLE open_jobs (id BIGINT PRIMARY KEY);
         CREATE TABLE done_jobs (id BIGINT);
         INSERT INTO open_jobs SELECT generate_series(1, {JOBS})"
    );
    pool.run(|client| client.batch_execute(&tables)).unwrap();

    let work_off_one = |client: &mut Client| {
        let mut transaction = client.transaction()?;
        let take = "SELECT id FROM open_jobs ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
        let Some(job) = transaction.query_opt(take, &[])? else {
            return Ok(0);
        };
        let id: i64 = job.get(0);
        transaction.execute("SELECT pg_sleep(0.002)", &[])?;
        transaction.execute("INSERT INTO done_jobs VALUES ($1)", &[&id])?;
        transaction.execute("DELETE FROM open_jobs WHERE id = $1", &[&id])?;
        transaction.commit()?;
        Ok(1)
    };
    let count = |table: &str| {
        let count = format!("SELECT count(*), count(DISTINCT id) FROM {table}");
        pool.run(|client| {
            let row = client.query_one(&count, &[])?;
            Ok((row.get::<_, i64>(0), row.get::<_, i64>(1)))
        })
    };

    let (done, cut) = (AtomicI64::new(0), AtomicI64::new(0));
    TaskGroup::scope(|g| {
        for worker in 0..4 {
            let (pool, done, cut, count) = (&pool, &done, &cut, &count);
            g.task().dedicated().spawn(move || {
                // Asked outside of the time limit, so that there is a connection for the job.
                for round in 1.. {
                    if count("open_jobs")?.0 == 0 {
                        break;
                    }
                    // Now and then there is time enough.
                    let time = match round % 4 {
                        0 => LONG,
                        _ => Duration::from_micros((round * 791 + worker * 333) % 9_000),
                    };
                    match taskgroup::timeout(time, || pool.run(work_off_one))? {
                        Some(jobs) => done.fetch_add(jobs, Ordering::Relaxed),
                        None => cut.fetch_add(1, Ordering::Relaxed),
                    };
                }
                Ok(())
            });
        }
        Ok(())
    })
    .unwrap();

    println!("{} were cut", cut.into_inner());
    assert_eq!(
        done.into_inner(),
        JOBS,
        "what is reported as cut is not done"
    );
    assert_eq!(count("done_jobs").unwrap(), (JOBS, JOBS));
}

#[test]
fn a_time_limit_of_the_server_is_not_taken_for_the_cancel() {
    let _watch = watch();
    let Some(server) = server() else { return };
    let pool = Pool::new(server.config());
    let limited = |client: &mut Client| {
        client.batch_execute("SET statement_timeout = 5")?;
        client.execute("SELECT pg_sleep(1000)", &[])
    };
    let error = pool.run(limited).unwrap_err();
    let error = error.downcast_ref::<Error>().expect("it is the server's");
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
}

#[test]
fn a_scope_that_is_cancelled_takes_no_connection() {
    let _watch = watch();
    let Some(server) = server() else { return };
    let pool = Pool::new(server.config());
    let first = pool.run(pid).unwrap();
    let token = CancelToken::new();
    token.cancel();
    assert_cancel(&token.run(|| pool.run(pid)).unwrap_err());
    assert_eq!(pool.run(pid).unwrap(), first);
}

#[test]
fn a_connect_that_is_not_answered_is_left_behind() {
    let _watch = watch();

    // A server that takes the connection and never says a word.
    let folder = tempfile::tempdir().unwrap();
    let silent = std::os::unix::net::UnixListener::bind(folder.path().join(".s.PGSQL.5432"));
    let silent = silent.unwrap();
    let mut config = Client::configure();
    config.host_path(folder.path()).user("tests");
    let pool = Pool::new(config);
    let mut connection = None;
    let error = cancelled_during(
        || pool.run(pid),
        || connection = Some(silent.accept().unwrap()),
    );

    assert_cancel(&error);

    // Up to here the thread that was left behind waits for a word.
    let left = || {
        taskgroup::abandoned()
            .iter()
            .any(|left| left.location.file().ends_with("postgresql.rs"))
    };

    assert!(left());
    drop(connection);
    until(|| !left());
}
