/// The names of the threads of this process that still run something: all but the main thread and the idle workers that the crate keeps for
/// the next tasks. `none`, one would hope. A thread is seen by its name, so a task is only if it has one.
pub fn left_behind() -> String {
    match threads() {
        Ok(names) if names.is_empty() => "none".to_owned(),
        Ok(names) => names.join(", "),
        Err(_) => "not known on this system".to_owned(),
    }
}

fn threads() -> std::io::Result<Vec<String>> {
    let main = std::process::id().to_string();
    let mut names = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task")? {
        let thread = thread?;
        // One that ends while it is looked at is none that is left.
        let Ok(name) = std::fs::read_to_string(thread.path().join("comm")) else { continue };
        if thread.file_name() != *main && !name.starts_with("taskgroup") {
            names.push(name.trim_end().to_owned());
        }
    }
    Ok(names)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use taskgroup::{sync::Latch, GroupError, TaskGroup};

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
            assert!(left_behind().contains("in the kitchen"), "{}", left_behind());
            task.cancel();
            Ok(())
        })?;
        assert!(!left_behind().contains("in the kitchen"), "{}", left_behind());
        Ok(())
    }
}
