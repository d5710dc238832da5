//! Which threads cannot go on, and which of them wait for each other in a cycle.
//!
//! Threads are numbers here, and what each needs to go on is given.

/// The need of a thread: the threads that have to act before it can go on.
#[derive(Clone, Debug, Default)]
pub(super) struct Need {
    pub(super) how: How,
    /// The threads that it waits for.
    pub(super) on: Vec<usize>,
    /// Threads beside these, each of which may let it go on.
    pub(super) beside: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum How {
    /// One of the threads has to go on, and it is not known which.
    #[default]
    One,
    /// Each of them has to go on.
    Each,
}

impl Need {
    pub(super) fn one(on: Vec<usize>) -> Self {
        Need {
            how: How::One,
            on,
            beside: Vec::new(),
        }
    }

    pub(super) fn each(on: Vec<usize>) -> Self {
        Need {
            how: How::Each,
            on,
            beside: Vec::new(),
        }
    }

    /// Returns whether the thread is stuck if these threads are.
    fn is_stuck(&self, stuck: &[bool]) -> bool {
        let mut on = self.on.iter();

        // A wait for nothing that is known is not stuck: `any` and the look at `on` say so.
        let on = match self.how {
            How::Each => on.any(|other| stuck[*other]),
            How::One => !self.on.is_empty() && on.all(|other| stuck[*other]),
        };
        on && self.beside.iter().all(|other| stuck[*other])
    }
}

/// Returns which threads are stuck. A thread without a need can go on.
///
/// This is the largest set in which each thread waits for threads of the set. So it contains
/// exactly the threads that none of the other threads can let go on.
pub(super) fn stuck(needs: &[Option<Need>]) -> Vec<bool> {
    // Begins with all that wait, and lets go on what can, until nothing changes.
    let mut stuck: Vec<_> = needs.iter().map(Option::is_some).collect();
    loop {
        let mut changed = false;
        for (thread, need) in needs.iter().enumerate() {
            let goes_on = need.as_ref().is_none_or(|need| !need.is_stuck(&stuck));
            if stuck[thread] && goes_on {
                stuck[thread] = false;
                changed = true;
            }
        }
        if !changed {
            return stuck;
        }
    }
}

/// A cycle of threads that wait for each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cycle {
    pub(super) threads: Vec<usize>,
    /// Threads outside of any cycle that wait, over any number of others, for this one.
    pub(super) tail: Vec<usize>,
}

/// Returns the cycles among the stuck threads.
pub(super) fn cycles(needs: &[Option<Need>], stuck: &[bool]) -> Vec<Cycle> {
    // Threads outside of it are not edges: they are waited for only in so far as they may help.
    let edges: Vec<Vec<usize>> = needs
        .iter()
        .enumerate()
        .map(|(thread, need)| match need {
            Some(need) if stuck[thread] => {
                let stuck = need.on.iter().copied().filter(|other| stuck[*other]);
                stuck.collect()
            }
            _ => Vec::new(),
        })
        .collect();

    let mut components = strongly_connected(&edges);

    // A single thread is a cycle if it waits for itself.
    components.retain(|threads| threads.len() > 1 || edges[threads[0]].contains(&threads[0]));
    let in_cycle: std::collections::HashSet<_> = components.iter().flatten().copied().collect();

    // Threads of another cycle are in a report of their own.
    let back = reversed(&edges);
    let cycles = components.into_iter().map(|mut threads| {
        threads.sort_unstable();
        let mut tail = reachable(&back, &threads);
        tail.retain(|thread| !in_cycle.contains(thread));
        tail.sort_unstable();
        Cycle { threads, tail }
    });
    cycles.collect()
}

fn reversed(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut back = vec![Vec::new(); edges.len()];
    for (from, to) in edges.iter().enumerate() {
        to.iter().for_each(|to| back[*to].push(from));
    }
    back
}

fn reachable(edges: &[Vec<usize>], from: &[usize]) -> Vec<usize> {
    let mut seen = vec![false; edges.len()];
    let mut open = from.to_vec();
    let mut found = Vec::new();

    // Not the roots themselves, unless an edge leads back to them.
    while let Some(at) = open.pop() {
        for next in &edges[at] {
            if !std::mem::replace(&mut seen[*next], true) {
                open.push(*next);
                found.push(*next);
            }
        }
    }
    found
}

/// Returns the strongly connected components (Kosaraju), without recursion: a chain of threads may
/// be long.
fn strongly_connected(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    // First pass: each thread after all that it leads to.
    let mut order = Vec::new();
    let mut seen = vec![false; edges.len()];
    for root in 0..edges.len() {
        visit(edges, root, &mut seen, &mut order);
    }

    // Second pass, against the edges and from the last: what it reaches is one component.
    let back = reversed(edges);
    let mut seen = vec![false; edges.len()];
    let mut components = Vec::new();
    for root in order.into_iter().rev() {
        let mut component = Vec::new();
        visit(&back, root, &mut seen, &mut component);
        if !component.is_empty() {
            components.push(component);
        }
    }
    components
}

/// Adds what can be reached from `root` and was not seen before, each after what it leads to.
fn visit(edges: &[Vec<usize>], root: usize, seen: &mut [bool], order: &mut Vec<usize>) {
    if std::mem::replace(&mut seen[root], true) {
        return;
    }

    // The path from the root, each thread with the number of its next edge.
    let mut path = vec![(root, 0)];
    while let Some((at, next)) = path.last_mut() {
        match edges[*at].get(*next) {
            Some(to) => {
                *next += 1;
                if !std::mem::replace(&mut seen[*to], true) {
                    path.push((*to, 0));
                }
            }
            None => {
                order.push(*at);
                path.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(on: &[usize]) -> Option<Need> {
        Some(Need::one(on.to_vec()))
    }

    fn each(on: &[usize]) -> Option<Need> {
        Some(Need::each(on.to_vec()))
    }

    fn found(needs: &[Option<Need>]) -> Vec<(Vec<usize>, Vec<usize>)> {
        let cycles = cycles(needs, &stuck(needs)).into_iter();
        let mut found: Vec<_> = cycles.map(|cycle| (cycle.threads, cycle.tail)).collect();
        found.sort();
        found
    }

    #[test]
    fn a_chain_that_ends_at_a_running_thread_is_no_deadlock() {
        assert_eq!(found(&[one(&[1]), one(&[2]), None]), []);
        assert_eq!(found(&[one(&[])]), []);
        assert_eq!(found(&[]), []);
    }

    #[test]
    fn cycles_are_found_apart_from_the_threads_that_wait_for_them() {
        let needs = [
            one(&[1]),
            one(&[0]),
            one(&[1]),
            one(&[2]),
            None,
            one(&[4]),
            one(&[6]),
            one(&[6]),
        ];
        let expected = [(vec![0, 1], vec![2, 3]), (vec![6], vec![7])];
        assert_eq!(found(&needs), expected);
    }

    #[test]
    fn one_thread_that_may_help_is_enough_where_one_is_needed() {
        assert_eq!(found(&[one(&[1, 2]), one(&[0]), None]), []);
        assert_eq!(
            found(&[each(&[1, 2]), one(&[0]), None]),
            [(vec![0, 1], vec![])]
        );
    }

    #[test]
    fn a_thread_that_waits_for_no_thread_that_is_known_may_go_on() {
        assert_eq!(found(&[one(&[1, 2]), one(&[0]), one(&[])]), []);
        assert_eq!(found(&[one(&[1, 2]), one(&[0]), each(&[])]), []);
    }

    #[test]
    fn a_thread_beside_that_may_go_on_is_enough_too() {
        let beside = |beside| {
            Some(Need {
                beside,
                ..Need::one(vec![1])
            })
        };
        assert_eq!(found(&[beside(vec![2]), one(&[0]), None]), []);

        // Side by side they are not a cycle.
        assert_eq!(
            found(&[beside(vec![2]), one(&[1]), beside(vec![0])]),
            [(vec![1], vec![0, 2])]
        );
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let length = 10_000;
        let needs: Vec<_> = (0..length)
            .map(|thread| one(&[(thread + 1) % length]))
            .collect();
        assert_eq!(found(&needs), [((0..length).collect(), vec![])]);
    }
}
