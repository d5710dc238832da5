//! The order in which the queued tasks of a limited group begin: first those that another task
//! waits for, then the others in the order of their spawns.

use std::sync::Mutex;

use crate::support::{Gate, MOMENT, until, watch};
use taskgroup::{CancelToken, TaskGroup, TaskHandle};

/// The tasks in the order in which they began.
#[derive(Default)]
struct Order(Mutex<Vec<&'static str>>);

impl Order {
    fn task<'scope>(
        &'scope self,
        g: &'scope TaskGroup<'scope, '_>,
        name: &'static str,
    ) -> TaskHandle<'scope, ()> {
        g.spawn(move || {
            self.0.lock().unwrap().push(name);
            Ok(())
        })
    }
}

/// Runs a task that waits, with `wait`, for two tasks that are queued behind one that it does not
/// wait for. The first of the two runs meanwhile and cancels the token. Returns the order in which
/// the three began.
fn order_after(
    wait: impl for<'scope> FnOnce(
        &'scope TaskGroup<'scope, '_>,
        &CancelToken,
        [TaskHandle<'scope, ()>; 2],
        &Gate,
    ) + Send,
) -> Vec<&'static str> {
    let _watch = watch();
    let (order, stop, leave) = (Order::default(), CancelToken::new(), Gate::default());
    let result = TaskGroup::builder().limit(1).scope(|g| {
        let (order, stop, leave) = (&order, &stop, &leave);
        g.spawn(move || {
            order.task(g, "not awaited");
            let first = g.spawn(|| {
                order.0.lock().unwrap().push("first");
                stop.cancel();
                leave.wait();
                Ok(())
            });
            let second = order.task(g, "second");
            wait(g, stop, [first, second], leave);
            leave.open();
            until(|| g.stats().finished >= 1);
            Ok(())
        });
        Ok(())
    });
    result.unwrap();
    order.0.into_inner().unwrap()
}

#[test]
fn tasks_that_an_iteration_waits_for_come_first() {
    let order = order_after(|g, _, tasks, leave| {
        leave.open();
        g.as_completed(tasks)
            .for_each(|task| task.unwrap().join().unwrap());
    });
    assert_eq!(order, ["first", "second", "not awaited"]);
}

#[test]
fn tasks_of_an_iteration_that_was_cut_wait_for_their_turn() {
    let order = order_after(|g, stop, tasks, leave| {
        let mut ended = g.as_completed(tasks);
        assert!(stop.run(|| ended.next()).is_some_and(|cut| cut.is_err()));
        leave.open();
        // The iteration is still there while this task waits for a daemon and its permit is given
        // away. A wait for a daemon puts no queued task first.
        let all = g.spawn_daemon(|| {
            until(|| g.stats().finished == 3);
            Ok(())
        });
        all.wait().unwrap();
        drop(ended);
    });
    assert_eq!(order, ["first", "not awaited", "second"]);
}

#[test]
fn an_iteration_that_is_taken_up_again_has_its_tasks_come_first() {
    let order = order_after(|g, stop, tasks, leave| {
        let mut ended = g.as_completed(tasks);
        assert!(stop.run(|| ended.next()).is_some_and(|cut| cut.is_err()));
        leave.open();
        ended.for_each(|task| task.unwrap().join().unwrap());
    });
    assert_eq!(order, ["first", "second", "not awaited"]);
}

#[test]
fn tasks_of_an_iteration_that_was_dropped_wait_for_their_turn() {
    let order = order_after(|g, _, tasks, leave| {
        leave.open();
        let mut ended = g.as_completed(tasks);
        assert!(ended.next().is_some_and(|task| task.is_ok()));
    });
    assert_eq!(order, ["first", "not awaited", "second"]);
}

#[test]
fn a_task_waits_for_its_turn_once_its_waiter_has_given_up() {
    let order = order_after(|_, _, [first, second], _| {
        // The first begins with the permit. The second is waited for meanwhile, and stays in the
        // queue.
        assert_eq!(first.wait_timeout(MOMENT), Ok(None));
        until(|| {
            first.status() == taskgroup::TaskStatus::Running
                || first.wait_timeout(MOMENT) != Ok(None)
        });
        assert_eq!(second.wait_timeout(MOMENT), Ok(None));
    });
    assert_eq!(order, ["first", "not awaited", "second"]);
}
