//! Chooses a program: its groups, its regions, and the steps that may stand in each place.

use std::sync::Arc;

use super::*;

/// A place of the program, by the steps that may stand there.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) depth: usize,
    /// For each group around: whether it has a limit, and whether it is cancelled sooner or later.
    pub(super) levels: Vec<(bool, bool)>,
    /// Spawns go to no group further out.
    pub(super) fence: usize,
    /// The scope is cancelled sooner or later.
    pub(super) doomed: bool,
    /// Nothing may wait.
    pub(super) quiet: bool,
    /// Its own tasks, with their level.
    pub(super) own: Vec<(usize, usize)>,
    /// Tasks that were spawned before, by others.
    pub(super) earlier: Vec<(usize, usize)>,
    pub(super) sends: Vec<usize>,
    pub(super) receives: Vec<usize>,
    /// Events that tasks which were spawned before set.
    pub(super) events: Vec<usize>,
    /// Locks below this are held.
    pub(super) lock: usize,
    pub(super) permits: bool,
    /// Inside of a daemon, which is cancelled when the tasks of its group have ended, and not
    /// before.
    pub(super) serves: bool,
}

pub(super) struct Generator {
    pub(super) choices: Choices,
    pub(super) size: Size,
    pub(super) tasks: usize,
    pub(super) channels: usize,
    pub(super) events: usize,
    pub(super) tokens: usize,
}

/// The program of these choices, and the choices that it took.
pub fn generate(choices: Choices, size: Size) -> (Program, Vec<u32>) {
    let mut generator = Generator {
        choices,
        size,
        tasks: 0,
        channels: 0,
        events: 0,
        tokens: 0,
    };
    let tokens = generator.tokens();
    let place = Place {
        depth: 0,
        levels: Vec::new(),
        fence: 0,
        doomed: false,
        quiet: false,
        own: Vec::new(),
        earlier: Vec::new(),
        sends: Vec::new(),
        receives: Vec::new(),
        events: Vec::new(),
        lock: 0,
        permits: false,
        serves: false,
    };
    let group = generator.group(&place);
    let program = Program {
        tokens,
        group,
        events: generator.events,
        tasks: generator.tasks,
    };
    (program, generator.choices.made())
}

impl Generator {
    pub(super) fn has(&self, feature: u64) -> bool {
        self.size.features & feature != 0
    }

    pub(super) fn tokens(&mut self) -> Vec<Token> {
        let count = self.choices.below(4);
        self.tokens = count;
        let token = |number: usize| match self.choices.below(3) {
            1 if number > 0 => Token::Child(self.choices.below(number)),
            2 if number > 1 => {
                Token::Linked(self.choices.below(number), self.choices.below(number))
            }
            _ => Token::New,
        };
        (0..count).map(token).collect()
    }

    pub(super) fn act(&mut self) -> Act {
        if !self.has(DESTRUCTORS) {
            return Act::Nothing;
        }
        match self.choices.below(8) {
            1 if self.has(PANICS) => Act::Panic,
            2 | 3 if self.tokens > 0 => Act::Cancel(self.choices.below(self.tokens)),
            4 => Act::Check,
            5 if self.has(SCOPES) => Act::Scope,
            _ => Act::Nothing,
        }
    }

    pub(super) fn some_act(&mut self, in_hundred: usize) -> Option<Act> {
        if self.choices.chance(in_hundred) {
            Some(self.act())
        } else {
            None
        }
    }

    /// A group that is opened here.
    pub(super) fn group(&mut self, at: &Place) -> Group {
        let limit = if self.has(LIMIT) {
            self.choices
                .weighed(&[(3, None), (2, Some(1)), (1, Some(2)), (1, Some(3))])
        } else {
            None
        };
        let collects = self.choices.chance(25);
        let deadline =
            self.choices
                .weighed(&[(6, Deadline::None), (1, Deadline::Far), (1, Deadline::Past)]);
        let deadline = if self.has(TIMES) {
            deadline
        } else {
            Deadline::None
        };
        let parent = if self.tokens > 0 && self.choices.chance(20) {
            Some(self.choices.below(self.tokens))
        } else {
            None
        };
        let release = self.some_act(8);
        let mut inside = at.clone();
        inside.depth += 1;
        inside.doomed |= deadline == Deadline::Past;
        inside.levels.push((limit.is_some(), inside.doomed));
        inside.earlier.append(&mut inside.own);
        let body = self.block(&mut inside);
        Group {
            limit,
            collects,
            deadline,
            parent,
            release,
            body,
        }
    }

    pub(super) fn block(&mut self, at: &mut Place) -> Block {
        let steps = self.steps(at);
        let when_cut = self.choices.weighed(&[
            (5, WhenCut::Return),
            (1, WhenCut::Swallow),
            (1, WhenCut::Fail),
            (1, WhenCut::Panic),
        ]);
        let when_cut = if when_cut == WhenCut::Panic && !self.has(PANICS) {
            WhenCut::Fail
        } else {
            when_cut
        };
        Block { steps, when_cut }
    }

    pub(super) fn steps(&mut self, at: &mut Place) -> Vec<Step> {
        let count = self.choices.below(self.size.steps + 1);
        (0..count).map(|_| self.step(at)).collect()
    }

    /// Steps in a region inside of this place. Tasks that they spawn may be waited for afterwards.
    pub(super) fn inside(&mut self, at: &mut Place, change: impl FnOnce(&mut Place)) -> Vec<Step> {
        let mut place = at.clone();
        change(&mut place);
        let steps = self.steps(&mut place);
        at.own = place.own;
        // No events: a timeout may have cut the region short before their tasks were spawned, and
        // goes on.
        steps
    }

    /// A group that may be spawned into, with its level.
    pub(super) fn level(&mut self, at: &Place) -> Option<usize> {
        let innermost = at.levels.len() - 1;
        if innermost < at.fence {
            return None;
        }
        if self.goes_outward(at) && innermost > at.fence && self.choices.chance(20) {
            return Some(at.fence + self.choices.below(innermost - at.fence));
        }
        Some(innermost)
    }

    /// Whether tasks of inner groups may spawn into groups further out and wait for their tasks.
    pub(super) fn goes_outward(&self, at: &Place) -> bool {
        let limited = at.levels.iter().any(|(limited, _)| *limited);
        self.has(OUTWARD) && (!limited || self.has(OUTWARD_LIMITED))
    }

    pub(super) fn has_tasks(&self) -> bool {
        self.tasks < self.size.tasks
    }

    /// The inside of a task that is spawned here, into the group of this level.
    pub(super) fn place_of_task(&self, at: &Place, level: usize) -> Place {
        let mut place = at.clone();
        place.levels.truncate(level + 1);
        place.depth = level + 1;
        place.doomed = at.levels[level].1;
        place.quiet = false;

        // A task of an inner group that waits for one of an outer group is a feature of its own.
        place.earlier.append(&mut place.own);
        let outward = self.goes_outward(at);
        place
            .earlier
            .retain(|(of, _)| *of == level || (*of < level && outward));

        place.sends.clear();
        place.receives.clear();
        place.lock = 0;
        place.permits = false;
        place
    }

    /// A task that is spawned into the group of this level.
    pub(super) fn task(
        &mut self,
        at: &Place,
        level: usize,
        doomed: bool,
        change: impl FnOnce(&mut Place),
    ) -> Task {
        let id = self.tasks;
        self.tasks += 1;
        let mut place = self.place_of_task(at, level);
        place.doomed |= doomed;
        change(&mut place);
        let (sends, receives) = (place.sends.clone(), place.receives.clone());
        let captured = self.some_act(25);
        let result = self.some_act(15);
        let block = self.block(&mut place);
        Task {
            id,
            captured,
            result,
            sends,
            receives,
            with: false,
            sets: None,
            block,
        }
    }

    pub(super) fn step(&mut self, at: &mut Place) -> Step {
        // Steps that cannot stand here turn into the plainest.
        self.try_step(at).unwrap_or(Step::Checkpoint)
    }

    pub(super) fn try_step(&mut self, at: &mut Place) -> Option<Step> {
        let channels = at.sends.len() + at.receives.len();
        if channels > 0 && !at.quiet && self.choices.chance(60) {
            return self.channel_step(at);
        }
        if at.doomed && !at.quiet && self.choices.chance(30) {
            return Some(Step::Forever(self.forever()));
        }
        if self.has(IO) && !at.quiet && self.choices.chance(4) {
            return Some(Step::Io(self.choices.weighed(&Io::ALL)));
        }
        if self.has(MEETINGS) && !at.quiet && self.choices.chance(3) {
            let attendance = if self.choices.chance(30) {
                Attendance::OneIsAway
            } else {
                Attendance::All
            };
            return Some(Step::Meet(self.choices.pick(&Meeting::ALL), attendance));
        }
        match self.choices.below(112) {
            0..=4 => Some(Step::Checkpoint),
            5..=8 => Some(Step::Yield),
            9..=10 => Some(Step::Nap),
            11..=14 => Some(Step::Fail),
            15..=17 if self.has(PANICS) => Some(Step::Panic),
            18 if self.has(FOREIGN) && self.tokens > 0 => {
                Some(Step::Foreign(self.choices.below(self.tokens)))
            }
            19..=21 => Some(Step::Hold(self.act(), self.inside(at, |_| ()))),
            22..=39 => self.spawn(at),
            40..=46 => self.doomed(at),
            47..=60 => self.wait(at),
            61..=64 => self.completed(at),
            65..=68 => self.map(at),
            69..=71 => self.start(at),
            72 => self.on_finished(at),
            73..=78 => self.open(at),
            79..=82 => self.whole(at),
            83..=94 => self.region(at),
            95..=96 => Some(Step::CancelGroup(self.choices.below(at.levels.len()))),
            97 if self.has(GRACE) => Some(Step::Gracefully(self.choices.below(at.levels.len()))),
            98..=99 if self.tokens > 0 => Some(Step::CancelToken(self.choices.below(self.tokens))),
            100..=101 => self.lock(at),
            102..=103 => self.permits(at),
            104 => Some(Step::CloseSemaphore(self.choices.below(PERMITS.len()))),
            105..=106 => self.await_event(at),
            107..=108 => self.clock(at),
            _ => self.pipe(at),
        }
    }

    /// Steps in a scope that no group belongs to, or under a hook or callback.
    fn region(&mut self, at: &mut Place) -> Option<Step> {
        if self.has(BINDINGS) && self.choices.chance(15) {
            return Some(Step::Bind(self.inside(at, |_| ())));
        }
        match self.choices.below(12) {
            0..=1 => {
                let bounded = self.choices.chance(30);
                Some(Step::Shield {
                    bounded,
                    steps: self.inside(at, |place| place.doomed = false),
                })
            }
            2..=4 if self.has(TIMES) => {
                let past = self.choices.chance(50);
                let steps = self.inside(at, |place| place.doomed |= past);
                Some(Step::Timeout { past, steps })
            }
            5..=6 if self.has(RUN) && self.tokens > 0 => {
                let token = self.choices.below(self.tokens);
                Some(Step::Run {
                    token,
                    steps: self.inside(at, |_| ()),
                })
            }
            7 if self.has(GRACE) => {
                Some(Step::Winding(self.inside(at, |place| place.doomed = false)))
            }
            8..=9 => Some(Step::Hook(self.inside(at, |_| ()))),
            10..=11 if self.tokens > 0 => {
                let (token, act) = (self.choices.below(self.tokens), self.act());
                Some(Step::OnCancel {
                    token,
                    act,
                    steps: self.inside(at, |_| ()),
                })
            }
            _ => None,
        }
    }

    /// A receive from a channel of the clock.
    fn clock(&mut self, at: &Place) -> Option<Step> {
        if at.quiet || !self.has(TIMES) {
            return None;
        }
        Some(match self.choices.below(3) {
            0 => Step::After,
            ticks => Step::Tick(ticks),
        })
    }

    pub(super) fn open(&mut self, at: &mut Place) -> Option<Step> {
        if at.depth >= self.size.depth || at.quiet {
            return None;
        }
        let absorb = self.choices.chance(50);
        let group = self.group(at);
        Some(Step::Open {
            group: Box::new(group),
            absorb,
        })
    }

    pub(super) fn whole(&mut self, at: &mut Place) -> Option<Step> {
        let whole = match self.choices.below(5) {
            0 => Whole::Join,
            1 => Whole::Race,
            2 => Whole::Map(1 + self.choices.below(2)),
            collects => Whole::Typed {
                collects: collects == 4,
            },
        };
        let count = match whole {
            Whole::Join => 2,
            _ => 1 + self.choices.below(3),
        };
        if at.depth >= self.size.depth || at.quiet || self.tasks + count > self.size.tasks {
            return None;
        }

        // They are tasks of a group that nothing else can be spawned into, and know of no others.
        let (level, doomed) = (at.levels.len() - 1, at.doomed);
        let mut task = || {
            let task = self.task(at, level, doomed, |place| {
                place.depth = at.depth + 1;
                place.doomed = doomed;
                place.fence = at.levels.len();
                place.earlier.clear();
                place.events.clear();
            });
            Arc::new(Task {
                result: None,
                ..task
            })
        };
        Some(Step::Whole(whole, (0..count).map(|_| task()).collect()))
    }

    pub(super) fn lock(&mut self, at: &mut Place) -> Option<Step> {
        if at.quiet && at.lock == 0 {
            return None;
        }
        let free: Vec<_> = Lock::ALL
            .into_iter()
            .filter(|(number, _)| *number >= at.lock)
            .collect();
        if free.is_empty() {
            return None;
        }
        let (number, lock) = self.choices.pick(&free);
        let steps = self.inside(at, |place| {
            place.lock = number + 1;
            place.quiet = true;
        });
        Some(Step::Lock { lock, steps })
    }

    pub(super) fn permits(&mut self, at: &mut Place) -> Option<Step> {
        if at.quiet || at.permits {
            return None;
        }
        let semaphore = self.choices.below(PERMITS.len());
        let count = 1 + self.choices.below(PERMITS[semaphore]);
        let steps = self.inside(at, |place| {
            place.permits = true;
            place.quiet = true;
            place.lock = Lock::NUMBERS;
        });
        Some(Step::Permits(semaphore, count, steps))
    }

    pub(super) fn await_event(&mut self, at: &mut Place) -> Option<Step> {
        if at.quiet || at.events.is_empty() {
            return None;
        }
        Some(Step::AwaitEvent(self.choices.pick(&at.events)))
    }
}
