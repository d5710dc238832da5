//! The subscriber hears nothing of what a thread does while it ends.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::thread;

use taskgroup::TaskGroup;
use tracing::dispatcher::set_default;
use tracing::{Level, info};

use crate::recorder::Recorder;
use crate::support::{Gate, alone};

trials![
    nothing_is_sent_where_a_thread_ends,
    a_subscriber_of_the_process_hears_nothing_where_a_thread_of_the_crate_ends,
];

/// Opens a group in the destructor of a thread-local.
struct OpensAGroup(Arc<Gate>);

impl Drop for OpensAGroup {
    fn drop(&mut self) {
        let done = TaskGroup::builder()
            .name("in a destructor")
            .scope(|g| Ok(g.task().name("late").spawn(|| Ok(())).wait()?));
        assert!(done.is_ok());
        self.0.open();
    }
}

fn nothing_is_sent_where_a_thread_ends() {
    thread_local! {
        static LATE: RefCell<Option<OpensAGroup>> = const { RefCell::new(None) };
    }
    let calls = Arc::new(Mutex::new(Vec::new()));
    let counted = calls.clone();
    let (dispatch, recording) = Recorder::calling(Level::TRACE, move |call, metadata| {
        let thread = thread::current().id();
        counted
            .lock()
            .unwrap()
            .push((thread, call, metadata.name()));
    });
    let _default = set_default(&dispatch);
    for early in [false, true] {
        let ended = Arc::new(Gate::default());
        let theirs = ended.clone();
        let thread = TaskGroup::scope(|g| {
            let task = g.task().dedicated().spawn(move || {
                // Before or after the crate has made its thread-locals.
                if early {
                    LATE.set(Some(OpensAGroup(theirs.clone())));
                    info!("said");
                } else {
                    info!("said");
                    LATE.set(Some(OpensAGroup(theirs.clone())));
                }
                Ok(thread::current().id())
            });
            Ok(task.join()?)
        })
        .unwrap();
        let before = calls.lock().unwrap().len();
        ended.wait();
        let after = calls.lock().unwrap().split_off(before);
        assert!(after.iter().all(|call| call.0 != thread), "{after:?}");
    }
    assert!(
        recording
            .ours("group")
            .iter()
            .all(|group| !group.fields.contains_key("name"))
    );
    assert_eq!(recording.events_of("said").len(), 2);
}

/// A subscriber for all threads is there in the last destructors of a thread, too.
fn a_subscriber_of_the_process_hears_nothing_where_a_thread_of_the_crate_ends() {
    thread_local! {
        static LATE: RefCell<Option<OpensAGroup>> = const { RefCell::new(None) };
    }
    alone(
        "a_subscriber_of_the_process_hears_nothing_where_a_thread_of_the_crate_ends",
        || {
            let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
            tracing::dispatcher::set_global_default(dispatch).expect("it is the first");
            let ended = [(); 2].map(|()| Arc::new(Gate::default()));
            let set = |ended: &Arc<Gate>| {
                let theirs = ended.clone();
                move || {
                    LATE.set(Some(OpensAGroup(theirs)));
                    Ok(())
                }
            };
            let begun = Arc::new(Gate::default());
            TaskGroup::scope(|g| {
                g.task()
                    .name("on its own")
                    .dedicated()
                    .spawn(set(&ended[0]));
                let (sets, begins) = (set(&ended[1]), begun.clone());
                g.task().name("on a worker").spawn(move || {
                    begins.open();
                    sets()
                });
                // So that no thread joins it, and runs it in place.
                begun.wait();
                Ok(())
            })
            .unwrap();
            // A worker ends after ten seconds without a task.
            ended.iter().for_each(|ended| ended.wait());
            let tasks = recording.ours("task");
            let names: Vec<_> = tasks.iter().map(|task| task.fields.get("name")).collect();
            assert_eq!(names.len(), 2, "{names:?}");
            let groups = recording.ours("group");
            assert!(
                groups
                    .iter()
                    .all(|group| !group.fields.contains_key("name"))
            );
        },
    );
}
