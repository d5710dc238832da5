//! Draws a program, in the words of the crate.

use std::fmt::{self, Write as _};

use super::*;

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, token) in self.tokens.iter().enumerate() {
            writeln!(f, "let token{number} = {token:?};")?;
        }
        let mut text = String::new();
        draw_group(&mut text, 0, "", &self.group);
        f.write_str(&text)
    }
}

fn line(text: &mut String, depth: usize, line: impl fmt::Display) {
    let _ = writeln!(text, "{:width$}{line}", "", width = depth * 4);
}

fn draw_group(text: &mut String, depth: usize, prefix: &str, group: &Group) {
    let mut options = String::new();
    if let Some(limit) = group.limit {
        let _ = write!(options, ".limit({limit})");
    }
    if group.collects {
        options += ".on_failure(Collect)";
    }
    if group.deadline != Deadline::None {
        let _ = write!(options, ".deadline({:?})", group.deadline);
    }
    if let Some(parent) = group.parent {
        let _ = write!(options, ".parent(token{parent})");
    }
    line(text, depth, format_args!("{prefix}group{options}.scope {{"));
    if let Some(act) = group.release {
        line(text, depth + 1, format_args!("on_release({act:?})"));
    }
    draw_block(text, depth + 1, &group.body);
    line(text, depth, "}");
}

fn draw_block(text: &mut String, depth: usize, block: &Block) {
    draw_steps(text, depth, &block.steps);
    if block.when_cut != WhenCut::Return {
        line(
            text,
            depth,
            format_args!("when cancelled: {:?}", block.when_cut),
        );
    }
}

fn draw_task(text: &mut String, depth: usize, prefix: &str, task: &Task) {
    let mut with = format!("{prefix}task{} ", task.id);
    if let Some(act) = task.captured {
        let _ = write!(with, "captures({act:?}) ");
    }
    if let Some(act) = task.result {
        let _ = write!(with, "returns({act:?}) ");
    }
    if task.with {
        with += "given with it: ";
    }
    for channel in &task.sends {
        let _ = write!(with, "sends(channel{channel}) ");
    }
    for channel in &task.receives {
        let _ = write!(with, "receives(channel{channel}) ");
    }
    if let Some(event) = task.sets {
        let _ = write!(with, "sets(event{event}) ");
    }
    line(text, depth, format_args!("{with}{{"));
    draw_block(text, depth + 1, &task.block);
    line(text, depth, "}");
}

fn draw_region(text: &mut String, depth: usize, name: impl fmt::Display, steps: &[Step]) {
    line(text, depth, format_args!("{name} {{"));
    draw_steps(text, depth + 1, steps);
    line(text, depth, "}");
}

fn draw_steps(text: &mut String, depth: usize, steps: &[Step]) {
    for step in steps {
        draw_step(text, depth, step);
    }
}

fn draw_step(text: &mut String, depth: usize, step: &Step) {
    match step {
        Step::Spawn { .. }
        | Step::Doomed { .. }
        | Step::Start { .. }
        | Step::Map { .. }
        | Step::Whole(..)
        | Step::Pipe { .. } => draw_spawns(text, depth, step),
        Step::Open { group, absorb } => {
            let prefix = if *absorb { "(error dropped) " } else { "" };
            draw_group(text, depth, prefix, group);
        }
        plain => match region_of(plain) {
            Some((name, steps)) => draw_region(text, depth, name, steps),
            None => line(text, depth, format_args!("{plain:?}")),
        },
    }
}

/// Draws a step that spawns tasks, with these.
fn draw_spawns(text: &mut String, depth: usize, step: &Step) {
    match step {
        Step::Spawn {
            level,
            how,
            keep,
            task,
        } => {
            let dropped = if *keep { "" } else { ", handle dropped" };
            let prefix = format!("spawn {how:?} (group {level}{dropped}) ");
            draw_task(text, depth, &prefix, task);
        }
        Step::Doomed {
            level,
            how,
            task,
            between,
            by,
        } => {
            let prefix = format!("spawn {how:?} (group {level}) ");
            draw_task(text, depth, &prefix, task);
            let name = format!("then cancel it by {by:?}, after");
            draw_region(text, depth, name, between);
        }
        Step::Start { level, task } => {
            draw_task(text, depth, &format!("start (group {level}) "), task);
        }
        Step::Map {
            level,
            ordered,
            items,
            taken,
            block,
        } => {
            let name = if *ordered { "map" } else { "map_unordered" };
            let call = format!("{name} (group {level}) of {items}, next() {taken} times {{");
            line(text, depth, call);
            draw_block(text, depth + 1, block);
            line(text, depth, "}");
        }
        Step::Whole(whole, tasks) => {
            line(text, depth, format_args!("taskgroup::{whole:?}("));
            draw_tasks(text, depth + 1, "", tasks);
            line(text, depth, ")");
        }
        Step::Pipe {
            level,
            channels,
            tasks,
        } => {
            for (channel, capacity) in channels {
                let made = format!("channel{channel} of capacity {capacity:?}, group {level}");
                line(text, depth, made);
            }
            draw_tasks(text, depth, "spawn ", tasks);
        }
        other => unreachable!("{other:?} spawns nothing"),
    }
}

fn draw_tasks(text: &mut String, depth: usize, prefix: &str, tasks: &[Arc<Task>]) {
    for task in tasks {
        draw_task(text, depth, prefix, task);
    }
}

/// The head and the steps of a step that has steps inside.
fn region_of(step: &Step) -> Option<(String, &[Step])> {
    let (name, steps) = match step {
        Step::Hold(act, steps) => (format!("hold a value({act:?})"), steps),
        Step::Shield { bounded, steps } => {
            let name = if *bounded {
                "shield_for(an hour)"
            } else {
                "shield"
            };
            (name.to_owned(), steps)
        }
        Step::Timeout { past, steps } => {
            let name = if *past {
                "timeout(0)"
            } else {
                "timeout(an hour)"
            };
            (name.to_owned(), steps)
        }
        Step::Run { token, steps } => (format!("token{token}.run"), steps),
        Step::Winding(steps) => ("winding_down".to_owned(), steps),
        Step::Hook(steps) => ("with_cancel_hook".to_owned(), steps),
        Step::Bind(steps) => ("with a scoped value".to_owned(), steps),
        Step::OnCancel { token, act, steps } => (
            format!("token{token}.on_cancel({act:?}), guard held"),
            steps,
        ),
        Step::Lock { lock, steps } => (format!("{lock:?}"), steps),
        Step::Permits(semaphore, count, steps) => {
            (format!("semaphore{semaphore}, {count} permits"), steps)
        }
        _ => return None,
    };
    Some((name, steps))
}
