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
use std::os::fd::{AsFd, OwnedFd};
use std::process::{self, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use rustix::process::Signal;
use taskgroup::net::{TcpListener, TcpStream};
use taskgroup::process::Command;
use taskgroup::sync::{Event, Promise};
use taskgroup::{Cancelled, TaskGroup};
use taskgroup_examples::{Request, fetch, println, respond, until_ctrl_c};

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
            return launch(&options);
        }
        // Even if the launcher is killed and cannot end it, a server does not outlive it.
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        let socket = TcpListener::try_from(io::stdin().as_fd().try_clone_to_owned()?)?;
        let within = Duration::from_secs(options.within);
        serve(&socket, &options.hosts, within)
    })
}

/// Runs one of the servers, which looks for itself while it serves.
fn serve(socket: &TcpListener, hosts: &[String], within: Duration) -> anyhow::Result<()> {
    let id = RandomState::new().hash_one(process::id()).to_string();
    let own = Promise::new();
    Ok(TaskGroup::builder().name("server").scope(|g| {
        g.task().name("http").spawn_daemon(|| {
            for client in socket.incoming() {
                let client = client?;
                drop(g.spawn_isolated(|| answer(client, &id, &own)));
            }
            Ok(())
        });
        let number = taskgroup::timeout(within, || find(hosts, &id))?;
        let number = number.context("this server is none of the hosts")?;
        println!("found itself: number {number}");
        own.set(number).ok();
        Ok(g.token().wait()?)
    })?)
}

/// Answers one request. If its client has gone away, that is not a failure of the server.
fn answer(client: TcpStream, id: &str, own: &Promise<usize>) -> anyhow::Result<()> {
    let request = Request::read(&mut BufReader::new(&client))?;
    let text = match request {
        Ok(request) if request.path == "/id" => id.to_owned(),
        _ => format!("number {}", number(own)?),
    };
    Ok(respond(&mut &client, 200, &text, false)?)
}

fn find(hosts: &[String], id: &str) -> anyhow::Result<usize> {
    for (number, host) in hosts.iter().enumerate().cycle() {
        let ask = || fetch(&format!("http://{host}/id"));
        let heard = taskgroup::timeout(Duration::from_secs(10), ask);
        if matches!(heard, Ok(Some(heard)) if heard == id.as_bytes()) {
            return Ok(number);
        }
        taskgroup::sleep(Duration::from_millis(50))?;
    }
    bail!("there are no hosts")
}

/// Says so if a client has to wait for the number.
fn number(own: &Promise<usize>) -> Result<usize, Cancelled> {
    if !own.is_set() {
        println!("{WAITS}");
    }
    own.wait().copied()
}

/// Runs the three processes, and a client of theirs.
fn launch(options: &Options) -> anyhow::Result<()> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let sockets = [bind()?, bind()?, bind()?];
    let host = |socket: &TcpListener| socket.local_addr().map(|address| address.to_string());
    let hosts = sockets.iter().map(host).collect::<io::Result<Vec<_>>>()?;
    let client_waits = Event::new();
    let ask = |number: usize| {
        let answer = fetch(&format!("http://{}/", hosts[number]))?;
        Ok(String::from_utf8(answer)?)
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
        let answer = client.join()?;
        println!(
            "client: server 2 is {answer}, it says after {:.1?}",
            asked.elapsed()
        );
        for (number, answer) in g.map(0..3, ask).enumerate() {
            println!("client: server {number} is {}", answer?);
        }
        println!("Ctrl-C ends all three");
        Ok(g.token().wait()?)
    })?)
}

/// Runs a server until the scope is cancelled, which interrupts it. If the server ends by itself,
/// that is an error.
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
        .stdout(Stdio::piped())
        .stop_with(Signal::INT.as_raw());

    // In a group of its own, or a Ctrl-C at the terminal would end it before this program knows
    // why.
    let mut server = command.own_group().spawn()?;
    drop(command); // and with it the socket, which only the server may have
    println!("server {number}: process {}", server.id());
    let stdout = server.stdout.take().context("it is piped")?;
    let print = |line: io::Result<String>| {
        let line = line?;
        println!("server {number}: {line}");
        if line == WAITS {
            client_waits.set();
        }
        Ok::<_, anyhow::Error>(())
    };

    // A server that is stopped has a few words more to say.
    let print_all = || taskgroup::shield(|| BufReader::new(stdout).lines().try_for_each(print));
    let waited = taskgroup::join(print_all, || Ok(server.wait()?));
    // Stops the server also if the cancel came before the wait.
    let status = server.stop()?;
    waited?;
    bail!("{status}")
}
