//! The stack: tasks that run on the thread that waits for them overflow no stack that tasks on
//! threads of their own would not overflow.

use std::hint::black_box;
use std::thread;

use taskgroup::{GroupError, TaskGroup, TaskHandle};

/// Runs `f` with `N` more bytes of the stack in use.
#[inline(never)]
fn with_stack<const N: usize, T>(f: impl FnOnce() -> T) -> T {
    let mut used = [0_u8; N];
    black_box(&mut used);
    let value = f();
    black_box(&used);
    value
}

/// Runs `f` on a new thread with a stack of this size.
fn on_a_stack_of<T: Send + 'static>(bytes: usize, f: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::Builder::new().stack_size(bytes).spawn(f);
    thread
        .expect("the thread starts")
        .join()
        .expect("it does not panic")
}

/// Opens scopes inside each other. Each is in a task that the end of the scope around it may run.
fn nested<const N: usize>(levels: usize) -> anyhow::Result<usize> {
    with_stack::<N, _>(|| {
        let mut below = 0;
        if levels > 1 {
            TaskGroup::scope(|g| {
                g.spawn(|| {
                    below = nested::<N>(levels - 1)?;
                    Ok(())
                });
                Ok(())
            })?;
        }
        Ok(below + 1)
    })
}

/// Like `nested`, but each task is joined.
fn joined<const N: usize>(levels: usize) -> anyhow::Result<usize> {
    with_stack::<N, _>(|| {
        let below = match levels {
            0 | 1 => 0,
            _ => TaskGroup::scope(|g| Ok(g.spawn(|| joined::<N>(levels - 1)).join()?))?,
        };
        Ok(below + 1)
    })
}

/// Spawns tasks of one group; each joins the task before it.
fn chained<const N: usize>(tasks: usize) -> Result<usize, GroupError> {
    TaskGroup::scope(|g| {
        let mut last: TaskHandle<'_, usize> = g.spawn(|| Ok(0));
        for _ in 0..tasks {
            let before = last;
            last = g.spawn(move || Ok(with_stack::<N, _>(|| before.join())? + 1));
        }
        Ok(last.join()?)
    })
}

#[test]
fn tasks_with_much_stack_nest_to_any_depth() {
    on_a_stack_of(2 << 20, || {
        assert_eq!(nested::<{ 48 << 10 }>(400).expect("nothing fails"), 400);
        assert_eq!(joined::<{ 48 << 10 }>(400).expect("nothing fails"), 400);
        assert_eq!(
            chained::<{ 48 << 10 }>(1_000).expect("nothing fails"),
            1_000
        );
    });
}

#[test]
fn a_small_thread_is_not_used_up() {
    on_a_stack_of(64 << 10, || {
        assert_eq!(nested::<{ 8 << 10 }>(100).expect("nothing fails"), 100);
        assert_eq!(joined::<{ 8 << 10 }>(100).expect("nothing fails"), 100);
        assert_eq!(chained::<{ 8 << 10 }>(100).expect("nothing fails"), 100);
    });
}

#[test]
fn a_task_with_a_small_stack_is_not_used_up() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let nested = g
            .task()
            .stack_size(64 << 10)
            .spawn(|| nested::<{ 8 << 10 }>(100));
        let joined = g
            .task()
            .stack_size(64 << 10)
            .spawn(|| joined::<{ 8 << 10 }>(100));
        let chained = g
            .task()
            .stack_size(64 << 10)
            .spawn(|| Ok(chained::<{ 8 << 10 }>(100)?));
        assert_eq!([nested.join()?, joined.join()?, chained.join()?], [100; 3]);
        Ok(())
    })
}

#[test]
fn limited_groups_nest_to_any_depth() {
    fn limited(levels: usize) -> anyhow::Result<usize> {
        with_stack::<{ 48 << 10 }, _>(|| {
            let mut below = 0;
            if levels > 1 {
                TaskGroup::builder().limit(1).scope(|g| {
                    g.spawn(|| {
                        below = limited(levels - 1)?;
                        Ok(())
                    });
                    Ok(())
                })?;
            }
            Ok(below + 1)
        })
    }
    assert_eq!(
        on_a_stack_of(2 << 20, || limited(200)).expect("nothing fails"),
        200
    );
}

#[test]
fn a_failure_comes_up_from_any_depth() {
    fn down(levels: usize) -> anyhow::Result<()> {
        if levels == 0 {
            anyhow::bail!("at the bottom");
        }
        Ok(TaskGroup::scope(|g| {
            g.spawn(move || down(levels - 1));
            Ok(())
        })?)
    }
    on_a_stack_of(2 << 20, || {
        let error = down(1_000).expect_err("it fails at the bottom");
        assert!(error.to_string().ends_with("at the bottom"), "{error}");
        // The report and not the `anyhow::Error`, whose `Debug` may have a backtrace.
        let report = error.downcast_ref::<GroupError>().expect("a group failed");
        let drawn = format!("{report:#}");
        assert!(drawn.ends_with("at the bottom"));

        let groups = drawn
            .lines()
            .filter(|line| line.ends_with(": 1 failure"))
            .count();
        assert_eq!(groups, 1_000, "a line for each group");
    });
}
