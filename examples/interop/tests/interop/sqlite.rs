//! Statements of rusqlite that compute, wait for a lock, or change data when the cancel comes.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use taskgroup::{CancelToken, TaskGroup};
use taskgroup_interop::{cancellable, statement};

use crate::support::{Gate, watch};
use crate::{assert_cancel, cancelled_during};

/// Computes for ever, after a call of `begun()`.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT begun() UNION ALL SELECT i + 1 FROM n) \
                       SELECT count(*) FROM n";

/// Takes more instructions than the handler waits for.
const SHORT: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000) \
                     SELECT count(*) FROM n";

/// Returns a cancellable connection with a table `t`, and the gate that the SQL function `begun()`
/// opens.
fn connection() -> (Connection, Arc<Gate>) {
    let connection = Connection::open_in_memory().unwrap();
    cancellable(&connection).unwrap();
    connection
        .execute_batch("CREATE TABLE t (i INTEGER)")
        .unwrap();
    let gate = begun(&connection);
    (connection, gate)
}

fn begun(connection: &Connection) -> Arc<Gate> {
    let gate = Arc::new(Gate::default());
    let opened = gate.clone();
    connection
        .create_scalar_function("begun", 0, FunctionFlags::SQLITE_UTF8, move |_| {
            opened.open();
            Ok(1)
        })
        .unwrap();
    gate
}

fn number(connection: &Connection, sql: &str) -> rusqlite::Result<i64> {
    connection.query_row(sql, [], |row| row.get(0))
}

#[test]
fn a_statement_that_computes_ends_and_the_connection_goes_on() {
    let _watch = watch();
    let (connection, begun) = connection();
    let (error, connection) = {
        let connection = std::sync::Mutex::new(connection);
        let run = || statement(|| number(&connection.lock().unwrap(), ENDLESS));
        let error = cancelled_during(run, || begun.wait());
        (error, connection.into_inner().unwrap())
    };
    assert_cancel(&error);
    assert_eq!(statement(|| number(&connection, SHORT)).unwrap(), 2000);
}

#[test]
fn a_deadline_ends_a_statement() {
    let _watch = watch();
    let (connection, _) = connection();
    let outcome = taskgroup::timeout(Duration::from_millis(5), || {
        statement(|| number(&connection, ENDLESS))
    });
    assert_eq!(outcome.unwrap(), None);
}

#[test]
fn a_cancel_between_two_statements_spares_the_next_one() {
    let _watch = watch();
    let (connection, _) = connection();
    let token = CancelToken::new();
    token.run(|| {
        statement(|| number(&connection, SHORT)).unwrap();
        token.cancel();
        // In the cancelled scope no statement begins, however short.
        let refused = statement(|| connection.execute("INSERT INTO t VALUES (1)", []));
        assert_cancel(&refused.unwrap_err());
    });

    assert_eq!(statement(|| number(&connection, SHORT)).unwrap(), 2000);
    assert_eq!(number(&connection, "SELECT count(*) FROM t").unwrap(), 0);
}

#[test]
fn an_interrupt_handle_acts_on_what_runs_when_it_is_called() {
    let _watch = watch();
    let (connection, _) = connection();
    let handle = connection.get_interrupt_handle();
    let token = CancelToken::new();
    token.cancel();
    let outcome = token.run(|| {
        // The hook of a cancelled scope is called before the statement, and has no effect there.
        let run = || number(&connection, "SELECT 1");
        taskgroup::with_cancel_hook(|| handle.interrupt(), run)
    });

    assert_eq!(outcome.unwrap(), 1);

    // Called again and again, it ends the statement. Without the handlers of `cancellable`:
    connection
        .progress_handler(0, None::<fn() -> bool>)
        .unwrap();
    let outcome = token.run(|| {
        taskgroup::with_cancel_hook_repeating(
            Duration::from_millis(1),
            || handle.interrupt(),
            || number(&connection, ENDLESS),
        )
    });

    assert_eq!(
        outcome.unwrap_err().sqlite_error_code(),
        Some(ErrorCode::OperationInterrupted)
    );
}

#[test]
fn an_interrupt_that_comes_late_ends_the_next_statement() {
    let _watch = watch();
    let (connection, begun) = connection();
    let handle = connection.get_interrupt_handle();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // For a statement that has ended. By now the next one runs.
            begun.wait();
            handle.interrupt();
        });
        number(&connection, SHORT).unwrap();
        // In no scope, so nothing but the interrupt ends it.
        let next = number(&connection, ENDLESS).unwrap_err();
        let code = next.sqlite_error_code();
        assert_eq!(code, Some(ErrorCode::OperationInterrupted));
    });
}

#[test]
fn a_wait_for_a_lock_ends_and_takes_no_lock() {
    let _watch = watch();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    let mut holder = Connection::open(&file).unwrap();
    holder.execute_batch("CREATE TABLE t (i INTEGER)").unwrap();
    let held = holder
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();

    let waiter = Connection::open(&file).unwrap();
    cancellable(&waiter).unwrap();
    let waiter = std::sync::Mutex::new(waiter);
    let insert = || {
        let waiter = waiter.lock().unwrap();
        statement(|| waiter.execute("INSERT INTO t VALUES (1)", []))
    };

    // Whether the cancel comes before the wait or in it.
    for _ in 0..20 {
        assert_cancel(&cancelled_during(insert, || ()));
    }
    held.commit().unwrap();
    assert_eq!(insert().unwrap(), 1);
}

#[test]
fn a_wait_for_a_lock_goes_on_when_the_lock_is_free() {
    let _watch = watch();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    let mut holder = Connection::open(&file).unwrap();
    holder.execute_batch("CREATE TABLE t (i INTEGER)").unwrap();
    let held = holder
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    let inserted = TaskGroup::scope(|g| {
        let insert = g.spawn(|| {
            let waiter = Connection::open(&file)?;
            cancellable(&waiter)?;
            statement(|| waiter.execute("INSERT INTO t VALUES (1)", []))
        });
        held.commit()?;
        Ok(insert.join()?)
    });
    assert_eq!(inserted.unwrap(), 1);
}

#[test]
fn a_wait_for_a_lock_with_a_time_limit_asks_no_handler() {
    let _watch = watch();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    let mut holder = Connection::open(&file).unwrap();
    holder.execute_batch("CREATE TABLE t (i INTEGER)").unwrap();
    let _held = holder
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();

    let waiter = Connection::open(&file).unwrap();
    assert_eq!(number(&waiter, "PRAGMA busy_timeout").unwrap(), 5_000);
    cancellable(&waiter).unwrap();
    // This takes the busy handler away again.
    waiter.busy_timeout(Duration::from_millis(20)).unwrap();
    let token = CancelToken::new();
    token.cancel();
    let busy = token.run(|| waiter.execute("INSERT INTO t VALUES (1)", []));
    assert_eq!(
        busy.unwrap_err().sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy)
    );
    // Nor is the progress handler asked in a statement of a few instructions.
    assert_eq!(token.run(|| number(&waiter, "SELECT 1")).unwrap(), 1);
}

#[test]
fn an_interrupted_change_rolls_its_transaction_back() {
    let _watch = watch();
    let (connection, begun) = connection();
    let connection = std::sync::Mutex::new(connection);
    let change = || {
        let connection = connection.lock().unwrap();
        statement(|| {
            connection.execute_batch("BEGIN; INSERT INTO t VALUES (1)")?;
            connection.execute(&format!("INSERT INTO t {ENDLESS}"), [])
        })
    };

    assert_cancel(&cancelled_during(change, || begun.wait()));
    let connection = connection.into_inner().unwrap();
    assert!(connection.is_autocommit(), "no transaction is open");
    assert_eq!(number(&connection, "SELECT count(*) FROM t").unwrap(), 0);
}

#[test]
fn an_error_of_a_statement_is_not_taken_for_the_cancel() {
    let (connection, _) = connection();
    let token = CancelToken::new();
    let error = token.run(|| {
        statement(|| {
            token.cancel();
            connection.execute("INSERT INTO missing VALUES (1)", [])
        })
    });
    let error = error.unwrap_err();
    assert!(error.downcast_ref::<rusqlite::Error>().is_some(), "{error}");
}
