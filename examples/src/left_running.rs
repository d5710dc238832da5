use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// The names of the threads that still run a named task or serve, once they have had a second to go: a program prints them at its end, to
/// show that there are none.
///
/// Not among them are the threads that the crate keeps for the next task, those of libraries, which have no name of their own, and the
/// one that waits for Ctrl-C. Empty where there is no `/proc`.
pub fn left_running() -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        let names = named_threads();
        // A thread that was joined may be listed for a moment longer.
        if names.is_empty() || Instant::now() > deadline {
            return names;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn named_threads() -> Vec<String> {
    // A thread without a name has that of the program.
    let unnamed = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    let named = names.filter(|name| *name != unnamed && !name.starts_with("taskgroup") && name.trim_end() != "ctrl-c");
    named.map(|name| name.trim_end().to_owned()).collect()
}
