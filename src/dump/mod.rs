//! A dump of all threads at a signal.
//!
//! # Owners
//!
//! - The *handler* writes one byte to a socket, and nothing else: `signal-hook` saves `errno` and
//!   sends without a wait. A socket that is full means that a dump is on its way.
//! - The *thread* of the dump owns all that a dump needs, from its installation on: itself, the
//!   socket, a descriptor that it gives up for as long as it reads a file, and a buffer on its
//!   stack. It allocates nothing, takes no lock of other threads but by trying, and writes to
//!   standard error alone. It takes no signal but that of its dump.
//!
//! So a dump comes when every other thread is stuck, when the process is out of memory, threads or
//! descriptors, and when a thread that holds the lock of the allocator never gives it back.

mod frames;
mod line;
mod mask;
#[cfg_attr(not(target_os = "linux"), path = "no_proc.rs")]
mod proc;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex as StdMutex, PoisonError};
use std::thread;

use signal_hook::consts::FORBIDDEN;
use signal_hook::{SigId, low_level};

use crate::facade::{Before, PlainMutex, generation, per_process};
use proc::Reserve;

per_process! {
    /// The actions that make dumps come. A child of `fork` has those of its parent, unless another
    /// thread was about to install one: they wake the thread of the parent.
    static INSTALLED: PlainMutex<Vec<Installed>> = |before| {
        PlainMutex::new(match before {
            Before::Whole(before) => before.lock().clone(),
            Before::None | Before::Torn => Vec::new(),
        })
    };
}

#[derive(Clone, Copy)]
struct Installed {
    signal: i32,
    action: SigId,
    /// The [`generation`] of the process that prints.
    process: u32,
}

per_process! {
    /// Held by the thread that prints, so that the lines of two signals do not mix. The lock of
    /// std, since a wait for one of `parking_lot` may allocate. Only the threads of dumps take it.
    /// In a child of `fork` the copy may stay locked: the thread of the parent holds it for as long
    /// as its standard error is not read.
    static PRINTS: StdMutex<()> = StdMutex::new(());
}

/// How large the stack of the thread is. The kernel gives the memory as it is used.
const STACK: usize = 256 << 10;

/// Prints what every thread of the process is doing, whenever `signal` comes. Needs the feature
/// `signal`, which is on by default; on Unix only.
///
/// The Java virtual machine does this at SIGQUIT, which a terminal sends at Ctrl-\. Go does too,
/// and ends the process then; here it goes on. The dump goes to standard error, one line for each
/// task, scope or wait of each thread that uses the crate. It is what [`snapshot`](crate::snapshot)
/// knows, without the tree, the names of groups, the queues, the files behind descriptors and the
/// holders of locks. The holder of a lock is the thread whose line says `holds` with the number
/// that the line of the waiting thread says after `waits`.
///
/// It works when nothing else does: the thread, its stack and its descriptors are reserved by this
/// call, and a dump allocates nothing. If standard error is a pipe that is not read, the dump waits
/// for it, and no other thread does.
///
/// The call returns when that thread has begun.
///
/// Handlers that were set before are called too. A second call for the same signal does nothing.
/// Signals that come while a dump is printed lead to one more, and the dumps of two signals are
/// printed one after the other. A dump comes even if every other thread of the program blocks the
/// signal, unless that is a real-time signal. A child process gets the default action, as after
/// every `exec`. A child that was made by `fork` alone prints nothing: its signal has this process
/// print, until the child calls this function itself.
///
/// # Errors
///
/// Fails with `InvalidInput` for a signal that cannot be handled: SIGKILL, SIGSTOP, and the signals
/// of a fault. Fails if the system refuses the thread, a descriptor or the handler.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// const SIGQUIT: i32 = 3;
///
/// taskgroup::dump_on_signal(SIGQUIT)?;
/// # Ok(())
/// # }
/// ```
pub fn dump_on_signal(signal: i32) -> io::Result<()> {
    if FORBIDDEN.contains(&signal) {
        let text = format!("signal {signal} cannot be handled");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }

    let mut installed = INSTALLED.lock();
    let is_here = |of: &Installed| of.signal == signal && of.process == generation();
    if installed.iter().any(is_here) {
        return Ok(());
    }

    // What the first use makes is made now: a dump does not allocate.
    frames::prepare();
    let prints: &'static StdMutex<()> = &PRINTS;

    // The thread first: a handler without it would swallow the signal.
    let (mut wake, woken) = UnixStream::pair()?;
    let reserve = Reserve::take()?;
    let thread = thread::Builder::new().name("taskgroup-dump".into());
    let process = std::process::id();
    thread.stack_size(STACK).spawn(move || {
        mask::take_only(signal);
        run(woken, reserve, process, prints);
    })?;

    // A thread takes memory as it begins, and there may be none left at the first signal.
    wake.read_exact(&mut [0])?;

    // If this fails, the other end is closed, and the thread ends.
    let action = low_level::pipe::register(signal, wake)?;

    // From now on this process prints, and its parent no longer does in its stead.
    installed.retain(|of| {
        let is_of_parent = of.signal == signal;
        if is_of_parent {
            low_level::unregister(of.action);
        }
        !is_of_parent
    });
    installed.push(Installed {
        signal,
        action,
        process: generation(),
    });
    Ok(())
}

/// Prints a dump for each byte, or for several that have come meanwhile.
fn run(mut woken: UnixStream, mut reserve: Reserve, process: u32, prints: &'static StdMutex<()>) {
    // It has begun. The other end reads this at once, so a failure means that it has gone.
    let _ = woken.write_all(&[0]);

    let mut bytes = [0; 256];
    loop {
        match woken.read(&mut bytes) {
            // The handler was never registered, so no signal leads here.
            Ok(0) => return,
            Ok(_) => {
                let _prints = prints.lock().unwrap_or_else(PoisonError::into_inner);
                frames::print(&mut reserve, process);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
