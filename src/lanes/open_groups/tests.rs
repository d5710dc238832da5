use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;
use crate::lanes::{self, Listed};

/// A group that tells whether it lives.
struct Open(AtomicBool);

impl Open {
    fn new() -> Self {
        Open(AtomicBool::new(true))
    }
}

impl Describe for Open {
    fn describe(&self, into: &mut dyn Any) {
        *into.downcast_mut().expect("the tests ask for this") = self.0.load(SeqCst);
    }
}

fn numbers(list: &OpenGroups) -> Vec<u64> {
    let read = list.read(|groups| groups.iter().map(|(number, _)| number).collect());
    read.expect("no thread changes the list")
}

#[test]
fn groups_are_taken_back_in_any_order() {
    const ALL: usize = SHALLOW + 4;
    let all: Vec<_> = (0..ALL as u64).collect();
    let groups: Vec<_> = all.iter().map(|_| Open::new()).collect();

    // The last, one of the deep, one of the first, the first, and so on.
    for step in [1, 3, 5, 7, 11] {
        let list = OpenGroups::new();
        for (number, group) in iter::zip(&all, &groups) {
            // SAFETY: no other thread writes the list, and no group ends before it.
            unsafe { list.push(*number, group) };
        }
        assert_eq!(numbers(&list), all);

        let mut left = all.clone();
        let mut next = ALL - 1;
        while !left.is_empty() {
            next = (next + step) % left.len();
            let number = left.remove(next);
            // SAFETY: as above.
            unsafe { list.remove(&groups[number as usize]) };
            assert_eq!(numbers(&list), left);
            // One that is not on the list.
            //
            // SAFETY: as above.
            unsafe { list.remove(&groups[number as usize]) };
            assert_eq!(numbers(&list), left);
        }
    }
}

#[test]
fn a_group_is_read_only_while_it_lives() {
    let (list, over) = (&OpenGroups::new(), &AtomicBool::new(false));
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !over.load(SeqCst) {
                    let _ = list.read(|groups| {
                        for (_, group) in groups.iter() {
                            let mut is_alive = false;
                            group.describe(&mut is_alive);
                            assert!(is_alive, "a group that has been taken back is read");
                        }
                    });
                }
            });
        }

        for round in 0..20_000 {
            let groups: Vec<_> = (0..round % (SHALLOW + 3)).map(|_| Open::new()).collect();
            for (number, group) in iter::zip(0.., &groups) {
                // SAFETY: no other thread writes the list, and the group is taken back below.
                unsafe { list.push(number, group) };
            }
            for group in groups.iter().rev() {
                // SAFETY: as above.
                unsafe { list.remove(group) };
                group.0.store(false, SeqCst);
            }
        }
        over.store(true, SeqCst);
    });
}

#[test]
fn a_group_waits_for_its_readers_and_new_readers_do_not_wait() {
    let (list, group) = (&OpenGroups::new(), &Open::new());
    // SAFETY: the group is taken back below.
    unsafe { list.push(1, group) };
    let (reads, has_read) = mpsc::channel();
    let (ends, has_ended) = mpsc::channel();
    thread::scope(|threads| {
        threads.spawn(move || {
            list.read(|_| {
                reads.send(()).expect("the test waits");
                // Until the owner has come.
                while list.readers.load(Ordering::SeqCst) & CHANGING == 0 {
                    thread::yield_now();
                }
                assert!(matches!(list.read(|_| ()), Err(Busy)));
                assert!(has_ended.try_recv().is_err(), "the owner has not waited");
            })
        });

        let timeout = Duration::from_secs(60);
        has_read.recv_timeout(timeout).expect("the thread reads");
        // SAFETY: no other thread writes the list.
        unsafe { list.remove(group) };
        let _ = ends.send(());
        assert_eq!(numbers(list), []);
    });
}

#[test]
fn a_group_that_another_thread_lets_go_of_stays_alive() {
    let group = Arc::new(Open::new());
    let listed = Listed::new(1, group.clone());
    thread::scope(|threads| {
        threads.spawn(move || drop(listed));
    });
    assert_eq!(Arc::strong_count(&group), 2);

    let lane = lanes::mine().expect("the thread is not in a late destructor");
    let is_shown = lane.with_groups(|groups| groups.get(1).is_some());
    assert_eq!(is_shown, Ok(true));
}

#[test]
fn a_thread_that_ends_inside_of_a_scope_leaves_no_group() {
    const NUMBER: u64 = u64::MAX - 7;
    thread::spawn(|| std::mem::forget(Listed::new(NUMBER, Arc::new(Open::new()))))
        .join()
        .unwrap();
    for lane in lanes::all() {
        let is_shown = lane.with_groups(|groups| groups.get(NUMBER).is_some());
        assert!(!is_shown.unwrap_or(false));
    }
}
