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
        match step {
            Step::Spawn {
                level,
                how,
                keep,
                task,
            } => {
                let dropped = if *keep { "" } else { ", handle dropped" };
                draw_task(
                    text,
                    depth,
                    &format!("spawn {how:?} (group {level}{dropped}) "),
                    task,
                );
            }
            Step::Doomed {
                level,
                how,
                task,
                between,
                by,
            } => {
                draw_task(
                    text,
                    depth,
                    &format!("spawn {how:?} (group {level}) "),
                    task,
                );
                draw_region(
                    text,
                    depth,
                    format_args!("then cancel it by {by:?}, after"),
                    between,
                );
            }
            Step::Map {
                level,
                ordered,
                items,
                taken,
                block,
            } => {
                let name = if *ordered { "map" } else { "map_unordered" };
                line(
                    text,
                    depth,
                    format_args!("{name} (group {level}) of {items}, next() {taken} times {{"),
                );
                draw_block(text, depth + 1, block);
                line(text, depth, "}");
            }
            Step::Start { level, task } => {
                draw_task(text, depth, &format!("start (group {level}) "), task)
            }
            Step::Open { group, absorb } => draw_group(
                text,
                depth,
                if *absorb { "(error dropped) " } else { "" },
                group,
            ),
            Step::Hold(act, steps) => {
                draw_region(text, depth, format_args!("hold a value({act:?})"), steps)
            }
            Step::Shield { bounded, steps } => {
                draw_region(
                    text,
                    depth,
                    if *bounded {
                        "shield_for(an hour)"
                    } else {
                        "shield"
                    },
                    steps,
                );
            }
            Step::Timeout { past, steps } => {
                draw_region(
                    text,
                    depth,
                    if *past {
                        "timeout(0)"
                    } else {
                        "timeout(an hour)"
                    },
                    steps,
                );
            }
            Step::Run { token, steps } => {
                draw_region(text, depth, format_args!("token{token}.run"), steps)
            }
            Step::Winding(steps) => draw_region(text, depth, "winding_down", steps),
            Step::Hook(steps) => draw_region(text, depth, "with_cancel_hook", steps),
            Step::OnCancel { token, act, steps } => {
                draw_region(
                    text,
                    depth,
                    format_args!("token{token}.on_cancel({act:?}), guard held"),
                    steps,
                );
            }
            Step::Lock { lock, steps } => draw_region(text, depth, format_args!("{lock:?}"), steps),
            Step::Whole(whole, tasks) => {
                line(text, depth, format_args!("taskgroup::{whole:?}("));
                tasks
                    .iter()
                    .for_each(|task| draw_task(text, depth + 1, "", task));
                line(text, depth, ")");
            }
            Step::Permits(semaphore, count, steps) => {
                draw_region(
                    text,
                    depth,
                    format_args!("semaphore{semaphore}, {count} permits"),
                    steps,
                );
            }
            Step::Pipe {
                level,
                channels,
                tasks,
            } => {
                for (channel, capacity) in channels {
                    line(
                        text,
                        depth,
                        format_args!("channel{channel} of capacity {capacity:?}, group {level}"),
                    );
                }
                tasks
                    .iter()
                    .for_each(|task| draw_task(text, depth, "spawn ", task));
            }
            plain => line(text, depth, format_args!("{plain:?}")),
        }
    }
}
