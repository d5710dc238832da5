//! Tests that wait for seconds: for a thread to have been idle, for a silence, or for the compiler.
//!
//! The usual harness runs as many tests at once as there are cores, and the cores would be idle. So
//! this binary has its own `main`, which runs all tests at once. They take as long as the longest.
//! Nearly all are alone in a process of their own.

#[cfg(unix)]
#[path = "../support/children.rs"]
mod children;
#[path = "../support/deadlocks.rs"]
mod deadlocks;
#[path = "../support/recorder.rs"]
mod recorder;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Defines a function that returns a trial for each of these functions of the module.
macro_rules! trials {
    ($($(#[$on:meta])? $name:ident,)*) => {
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            Vec::from([$($(#[$on])? crate::trial(module_path!(), stringify!($name), $name),)*])
        }
    };
}

mod compile_errors;
#[cfg(target_os = "linux")]
mod idle;
mod policy;
#[cfg(target_os = "linux")]
mod stall_output;
#[cfg(target_os = "linux")]
mod suspected;
mod thread_ends;

/// Returns a trial with the name that the usual harness would give the test.
fn trial(module: &str, name: &str, test: fn()) -> Trial {
    let (_, module) = module.split_once("::").expect("it is in a module");
    let run = move || {
        test();
        Ok(())
    };
    Trial::test(format!("{module}::{name}"), run)
}

fn main() -> ExitCode {
    // Elsewhere the system does not tell what other threads do, and nothing is suspected.
    #[cfg(target_os = "linux")]
    if suspected::run_case() {
        return ExitCode::SUCCESS;
    }

    let mut trials = compile_errors::trials();
    trials.extend(policy::trials());
    trials.extend(thread_ends::trials());
    #[cfg(target_os = "linux")]
    {
        trials.extend(idle::trials());
        trials.extend(stall_output::trials());
        trials.extend(suspected::trials());
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(trials.len());
    libtest_mimic::run(&arguments, trials).exit_code()
}
