//! Works off a queue in PostgreSQL: web addresses to call. Any number of processes may run it, on
//! any number of machines: the database is what they share, and a group is inside each of them.
//!
//! cargo run -p taskgroup-interop --example queue_worker -- "host=localhost user=me" 4 60
//!
//! It runs four workers here, and a call may take a minute.
//!
//! - **A job that is cut short is free again at once.** A worker holds the lock of its row, in a
//!   transaction that it commits at the end of the job. An error, a cancel, a `kill -9` or the loss
//!   of the machine ends the transaction, and the next worker takes the job. So a call may be made
//!   twice, but no job is lost, and none is taken by two workers at once (`SKIP LOCKED`).
//! - **A drain finishes the jobs that have begun.** At a SIGTERM or Ctrl-C no worker takes another
//!   job. Jobs in progress have half a minute to end. A second signal ends the process, also while
//!   it waits for a database that hangs: nothing else ends such a wait.
//! - An address that fails is tried three times, and then left in the table with its error. A call
//!   that takes too long is a failure, and so is an answer that the table cannot hold. Otherwise a
//!   few such addresses would keep all workers from the other jobs.

#[cfg(not(unix))]
fn main() {
    eprintln!("it needs the streams of taskgroup, which are there on Unix only");
}

#[cfg(unix)]
fn main() -> anyhow::Result<()> {
    queue::main()
}

#[cfg(unix)]
mod queue {
    use std::{env, time::Duration};

    use anyhow::Context;
    use postgres::{Client, Config, NoTls};
    use taskgroup::{Backoff, CancelToken, TaskGroup, signal};
    use taskgroup_interop::{agent, request};
    use ureq::Agent;

    /// How long jobs in progress have after the first signal.
    const GRACE: Duration = Duration::from_secs(30);

    /// Pause of a worker that finds no job.
    const IDLE: Duration = Duration::from_millis(200);

    /// Processes that start at once make the table one after another, which `IF NOT EXISTS` alone
    /// does not do.
    const TABLE: &str = "
        BEGIN;
        SELECT pg_advisory_xact_lock(7153);
        CREATE TABLE IF NOT EXISTS jobs (
            id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            url TEXT NOT NULL,
            failures INT NOT NULL DEFAULT 0,
            error TEXT,
            answer TEXT
        );
        CREATE INDEX IF NOT EXISTS open_jobs ON jobs (failures, id) WHERE answer IS NULL;
        COMMIT";

    const TAKE: &str = "
        SELECT id, url FROM jobs WHERE answer IS NULL AND failures < 3
        ORDER BY failures, id LIMIT 1 FOR UPDATE SKIP LOCKED";

    pub(crate) fn main() -> anyhow::Result<()> {
        let mut arguments = env::args().skip(1);
        let config = arguments.next().context("a connection string is missing")?;
        let mut config: Config = config.parse()?;
        config.connect_timeout(Duration::from_secs(10));
        // If the database does not acknowledge for so long, the connection counts as lost.
        config.tcp_user_timeout(GRACE);
        let workers = arguments.next().map_or(Ok(4), |number| number.parse())?;
        let patience = arguments.next().map_or(Ok(60), |number| number.parse())?;
        let patience = Duration::from_secs(patience);

        let stop = signal::termination()?;
        let work = CancelToken::new();
        let drained = work.clone();
        let _drain = stop.on_cancel(move || {
            drained.cancel_gracefully(GRACE);
            println!("draining");
        });

        // The calls go to many hosts, so no connection is kept for the next one.
        let config_of_calls = Agent::config_builder().proxy(None).max_idle_connections(0);
        let agent = agent(config_of_calls.build());
        connect(&config)?.batch_execute(TABLE)?;
        let outcome = TaskGroup::builder().parent(&work).scope(|g| {
            for number in 1..=workers {
                let worker = g.task().name(format!("worker {number}"));
                worker.spawn(|| serve(&config, &agent, patience));
            }
            println!("ready");
            Ok(())
        });

        match outcome {
            Err(error) if error.cancelled().is_some() && error.failures().is_empty() => {
                println!("drained: {}", stop.check().unwrap_err().cause());
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }

    /// Works until the scope is cancelled. If the connection is lost, it makes a new one.
    fn serve(config: &Config, agent: &Agent, patience: Duration) -> anyhow::Result<()> {
        let policy = Backoff::exponential(Duration::from_millis(100))
            .max(Duration::from_secs(5))
            .attempts(u32::MAX)
            .when(|error: &anyhow::Error| error.is::<postgres::Error>());
        taskgroup::retry(policy, |_| {
            let mut client = connect(config)?;
            loop {
                taskgroup::checkpoint()?;
                // A drain waits for the job that has begun, and for nothing else.
                let work_off = || work_off_one(&mut client, agent, patience);
                if !taskgroup::winding_down(work_off)? {
                    taskgroup::sleep(IDLE)?;
                }
            }
        })
    }

    fn connect(config: &Config) -> anyhow::Result<Client> {
        let config = config.clone();
        Ok(taskgroup::abandon(move || config.connect(NoTls))??)
    }

    /// Takes a job and works it off. Returns false if there is none.
    fn work_off_one(
        client: &mut Client,
        agent: &Agent,
        patience: Duration,
    ) -> anyhow::Result<bool> {
        let mut transaction = client.transaction()?;
        let Some(job) = transaction.query_opt(TAKE, &[])? else {
            return Ok(false);
        };

        let (id, url): (i64, String) = (job.get(0), job.get(1));
        println!("job {id}: begun");
        let answered = call(agent, &url, patience).and_then(|answer| {
            // The table refuses some texts, such as one with a NUL. The savepoint keeps the
            // transaction, and with it the lock of the row.
            let mut part = transaction.transaction()?;
            part.execute("UPDATE jobs SET answer = $2 WHERE id = $1", &[&id, &answer])?;
            Ok(part.commit()?)
        });
        match answered {
            Ok(()) => println!("job {id}: done"),
            Err(error) => {
                // A cancel is not a failure of the job. The transaction is dropped here, and with
                // it the lock. If the connection is lost, the update fails too.
                taskgroup::checkpoint()?;
                let failed = "UPDATE jobs SET failures = failures + 1, error = $2 WHERE id = $1";
                transaction.execute(failed, &[&id, &format!("{error:#}")])?;
                println!("job {id}: failed");
            }
        }

        transaction.commit()?;
        Ok(true)
    }

    fn call(agent: &Agent, url: &str, patience: Duration) -> anyhow::Result<String> {
        let call = || request(|| agent.get(url).call()?.into_body().read_to_string());
        taskgroup::timeout(patience, call)?.context("no answer in time")
    }
}
