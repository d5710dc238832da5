//! Three servers share a list of hosts, and each looks for itself in the list.
//!
//! Each makes up an id, answers requests with it, and asks one host after the other until it gets
//! its own id. The servers are processes: this program runs itself three times. They get their
//! sockets from the launcher, as from a service manager, so they cannot look up their address.
//!
//! ```text
//! cargo run --release --example find_self
//! ```
//!
//! Look at the last server, which is started alone: it has to wait for the first host of the list,
//! and a client has to wait until it has found itself. Then press Ctrl-C, or kill one of the
//! processes: that ends all three, and the report names the killed one.

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{self, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};
use taskgroup::TaskGroup;
use taskgroup::sync::{Event, Promise};
use taskgroup_examples::{OwnedChild, fetch, println, until_ctrl_c};
use tiny_http::{Request, Response, Server};

/// The answer of a server to a client that has to wait.
const WAITS: &str = "a client waits until this server has found itself";

/// Three servers that find themselves in a list of hosts.
#[derive(Parser)]
struct Options {
    /// How long a server looks for itself
    #[arg(long, value_name = "S", default_value_t = 60)]
    within: u64,
    /// Be one of the servers, with the socket as standard input
    hosts: Vec<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    until_ctrl_c(|| {
        if options.hosts.is_empty() {
            launch(&options)
        } else {
            serve(&options)
        }
    })
}

/// Runs one of the servers, which looks for itself while it serves.
fn serve(options: &Options) -> anyhow::Result<()> {
    let socket = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Even if the launcher is killed and cannot end it, a server does not outlive it.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let http = Server::from_listener(socket, None).map_err(anyhow::Error::from_boxed)?;
    let id = &RandomState::new().hash_one(process::id()).to_string();
    let own = &Promise::new();
    Ok(TaskGroup::builder().name("server").scope(|g| {
        g.task().name("http").spawn_daemon(|| {
            let serve = || {
                for request in http.incoming_requests() {
                    g.spawn(move || answer(request, id, own));
                }
            };
            taskgroup::with_cancel_hook(|| http.unblock(), serve);
            taskgroup::checkpoint()?;
            bail!("the socket broke")
        });
        let within = Duration::from_secs(options.within);
        let number = taskgroup::timeout(within, || find(&options.hosts, id))?
            .context("this server is none of the hosts")?;
        println!("found itself: number {number}");
        own.set(number).ok();
        Ok(g.token().wait()?)
    })?)
}

fn answer(request: Request, id: &str, own: &Promise<usize>) -> anyhow::Result<()> {
    let of_id = request.url() == "/id";
    if !of_id && !own.is_set() {
        println!("{WAITS}");
    }
    let text = if of_id {
        id.to_owned()
    } else {
        format!("number {}", own.wait()?)
    };
    // A client that has gone away wants no answer.
    let _ = request.respond(Response::from_string(text));
    Ok(())
}

fn find(hosts: &[String], id: &str) -> anyhow::Result<usize> {
    for (number, host) in hosts.iter().enumerate().cycle() {
        let heard = taskgroup::timeout(Duration::from_secs(10), || {
            fetch(&format!("http://{host}/id"))
        });
        if matches!(heard, Ok(Some(heard)) if heard == id.as_bytes()) {
            return Ok(number);
        }
        taskgroup::sleep(Duration::from_millis(50))?;
    }
    bail!("there are no hosts")
}

/// Runs the three processes, and a client of theirs.
fn launch(options: &Options) -> anyhow::Result<()> {
    let sockets =
        [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("127.0.0.1 has free ports"));
    let hosts = sockets.each_ref().map(|socket| {
        socket
            .local_addr()
            .expect("the socket is bound")
            .to_string()
    });
    let client_waits = Event::new();
    let ask = |number: usize| {
        anyhow::Ok(String::from_utf8(fetch(&format!(
            "http://{}/",
            hosts[number]
        ))?)?)
    };
    Ok(TaskGroup::builder().name("servers").scope(|g| {
        let start = |number, socket| {
            let (hosts, client_waits) = (&hosts, &client_waits);
            let task = g.task().name(format!("server {number}"));
            task.spawn(move || supervise(number, socket, hosts, options.within, client_waits));
        };
        let [first, second, last] = sockets;
        start(2, last);
        let asked = Instant::now();
        let client = g.task().name("client").spawn(|| ask(2));
        client_waits.wait()?;
        start(0, first);
        start(1, second);
        println!(
            "client: server 2 is {}, it says after {:.1?}",
            client.join()?,
            asked.elapsed()
        );
        for (number, answer) in g.map(0..3, ask).enumerate() {
            println!("client: server {number} is {}", answer?);
        }
        println!("Ctrl-C ends all three");
        Ok(g.token().wait()?)
    })?)
}

/// Runs a server until the scope is cancelled, and then interrupts it. If the server ends by
/// itself, that is an error.
fn supervise(
    number: usize,
    socket: TcpListener,
    hosts: &[String],
    within: u64,
    client_waits: &Event,
) -> anyhow::Result<()> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["--within", &within.to_string()])
        .args(hosts)
        .stdin(OwnedFd::from(socket))
        .stdout(Stdio::piped());
    // In a group of its own, or a Ctrl-C at the terminal would end it before this program knows
    // why.
    let mut process = OwnedChild(command.process_group(0).spawn()?);
    drop(command); // and with it the socket, which only the server may have
    println!("server {number}: process {}", process.0.id());
    let (pid, stdout) = (Pid::from_child(&process.0), process.0.stdout.take());
    let print = |line: String| {
        println!("server {number}: {line}");
        if line == WAITS {
            client_waits.set();
        }
    };
    taskgroup::with_cancel_hook(
        || _ = kill_process(pid, Signal::INT),
        || {
            BufReader::new(stdout.expect("it is piped"))
                .lines()
                .map_while(Result::ok)
                .for_each(print)
        },
    );
    let status = process.0.wait()?;
    taskgroup::checkpoint()?;
    bail!("{status}")
}
