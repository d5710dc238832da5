use std::{
    fs, io, thread,
    time::{Duration, Instant},
};

/// Returns the names of the threads of this process that still run something, or `none`. Not
/// counted are the main thread, and the threads that the crate keeps for later tasks and for
/// signals.
///
/// A thread is seen by its name. So a task is seen only if it has a name, and a thread that a
/// library leaves nameless is not.
pub fn left_behind() -> String {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        match threads() {
            Ok(names) if names.is_empty() => return "none".to_owned(),
            // A thread that was joined may be listed for a moment longer.
            Ok(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            Ok(names) => return names.join(", "),
            Err(_) => return "not known on this system".to_owned(),
        }
    }
}

fn threads() -> io::Result<Vec<String>> {
    // A nameless thread has the name of the thread that started it, in the end the program's name.
    let program = fs::read_to_string("/proc/self/comm")?;
    let mut names = Vec::new();
    for thread in fs::read_dir("/proc/self/task")? {
        // A thread that ends during this look is not left behind.
        let Ok(name) = fs::read_to_string(thread?.path().join("comm")) else {
            continue;
        };
        if name != program && !name.starts_with("taskgroup") {
            names.push(name.trim_end().to_owned());
        }
    }
    Ok(names)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use taskgroup::{GroupError, TaskGroup, sync::Latch};

    use super::left_behind;

    #[test]
    fn a_task_is_named_until_it_has_ended() -> Result<(), GroupError> {
        let running = Latch::new(1);
        TaskGroup::scope(|g| {
            let task = g.task().name("in the kitchen").spawn(|| {
                running.count_down();
                Ok(taskgroup::park()?)
            });
            running.wait()?;
            assert!(
                left_behind().contains("in the kitchen"),
                "{}",
                left_behind()
            );
            task.cancel();
            Ok(())
        })?;
        assert!(
            !left_behind().contains("in the kitchen"),
            "{}",
            left_behind()
        );
        Ok(())
    }
}
