//! The steps that are done with the ends of channels.

use super::*;

impl Frame {
    pub(super) fn channel_step(&self, innermost: &dyn Opened, step: &Step) -> Result {
        let ends = self.ends.borrow();
        match step {
            Step::Pipe {
                level,
                channels,
                tasks,
            } => {
                // The spawned tasks have ends of their own.
                drop(ends);
                self.pipe(self.level(innermost, *level), channels, tasks);
                Ok(())
            }
            Step::Send(channel) => self.send(&ends.senders[channel]),
            Step::TrySend(channel) => {
                self.try_send(&ends.senders[channel]);
                Ok(())
            }
            Step::Receive(channel) => {
                let end = &ends.receivers[channel];
                self.receive(end, |receiver| receiver.recv().map_err(anyhow::Error::from))?;
                Ok(())
            }
            Step::Drain(channel) => {
                let end = &ends.receivers[channel];
                while self.receive(end, |receiver| receiver.recv().map_err(anyhow::Error::from))? {}
                Ok(())
            }
            Step::TryReceive(channel) => {
                self.try_receive(&ends.receivers[channel]);
                Ok(())
            }
            Step::Select {
                receives,
                sends,
                once,
                timed,
            } => self.select(&ends, receives, sends, *once, *timed),
            other => unreachable!("{other:?} has no channel"),
        }
    }

    /// Makes channels, and spawns the tasks that have their ends.
    fn pipe(&self, level: &dyn Opened, channels: &[(usize, Option<usize>)], tasks: &[Arc<Task>]) {
        let mut ends: Vec<Ends> = tasks.iter().map(|_| Ends::default()).collect();
        for &(channel, capacity) in channels {
            let (sender, receiver) = capacity.map_or_else(channel::unbounded, channel::bounded);
            let number = self.now();
            self.note(What::Channel {
                channel: number,
                capacity,
            });
            for (task, sender) in shares(sender, tasks, |task| task.sends.contains(&channel)) {
                let end = self.end(sender, number, true);
                ends[task].senders.insert(channel, end);
            }
            for (task, receiver) in shares(receiver, tasks, |task| task.receives.contains(&channel))
            {
                let end = self.end(receiver, number, false);
                ends[task].receivers.insert(channel, end);
            }
        }

        for (task, ends) in tasks.iter().zip(ends) {
            level.spawn(self, How::Plain, false, task, ends);
        }
    }

    fn end<T>(&self, end: T, channel: u64, sender: bool) -> End<T> {
        End {
            end: Some(end),
            channel,
            sender,
            by: OUTSIDE,
            with: false,
            world: self.world.clone(),
        }
    }

    fn send(&self, end: &End<Sender<Value>>) -> Result {
        let message = self.value(Act::Nothing);
        let (number, begin) = (message.number, self.now());
        let (seen, result) = match end.end.as_ref().map(|sender| sender.send(message)) {
            None | Some(Ok(())) => (Seen::Done, Ok(())),
            Some(Err(SendError::Cancelled(message, cancelled))) => {
                assert_eq!(message.number, number, "another message came back");
                (Seen::Cut(cut(&cancelled)), Err(cancelled.into()))
            }
            Some(Err(SendError::Disconnected(message, disconnected))) => {
                assert_eq!(message.number, number, "another message came back");
                (gone(&disconnected), self.fail())
            }
            Some(Err(other)) => unreachable!("{other:?} is no way to fail"),
        };
        self.sent(begin, end.channel, number, seen);
        result
    }

    fn try_send(&self, end: &End<Sender<Value>>) {
        let message = self.value(Act::Nothing);
        let (number, begin) = (message.number, self.now());
        let seen = match end.end.as_ref().map(|sender| sender.try_send(message)) {
            None | Some(Ok(())) => Seen::Done,
            Some(Err(TrySendError::Full(_))) => Seen::NotNow,
            Some(Err(other)) => {
                let back = other.into_inner().number;
                assert_eq!(back, number, "another message came back");
                Seen::NotNow
            }
        };
        self.sent(begin, end.channel, number, seen);
    }

    fn try_receive(&self, end: &End<Receiver<Value>>) {
        let begin = self.now();
        let (message, seen) = match end.end.as_ref().map(Receiver::try_recv) {
            Some(Ok(message)) => (Some(message), Seen::Done),
            None | Some(Err(TryRecvError::Empty)) => (None, Seen::NotNow),
            Some(Err(TryRecvError::Disconnected(disconnected))) => (None, gone(&disconnected)),
            Some(Err(other)) => (None, seen(&other.into())),
        };
        let number = message.as_ref().map(|message| message.number);
        self.received(begin, end.channel, number, seen, false);
    }

    /// Receives one message; false where no more will come.
    fn receive(
        &self,
        end: &End<Receiver<Value>>,
        call: impl FnOnce(&Receiver<Value>) -> Result<Value>,
    ) -> Result<bool> {
        let begin = self.now();
        let received = end.end.as_ref().map(call);
        let (message, seen, result) = match received {
            Some(Ok(message)) => (Some(message), Seen::Done, Ok(true)),
            None => (None, Seen::Disconnected, Ok(false)),
            Some(Err(error)) => match seen(&error) {
                seen @ (Seen::Cut(_) | Seen::Broken) => (None, seen, Err(error)),
                other => (None, other, Ok(false)),
            },
        };
        let number = message.as_ref().map(|message| message.number);
        self.received(begin, end.channel, number, seen, true);
        result
    }

    fn select(
        &self,
        ends: &Ends,
        receives: &[usize],
        sends: &[usize],
        once: bool,
        timed: bool,
    ) -> Result {
        let mut messages: Vec<_> = sends
            .iter()
            .map(|_| Some(self.value(Act::Nothing)))
            .collect();
        let clock = timed.then(|| channel::after(SOON));

        let mut select = Select::new();
        for channel in receives {
            let end = &ends.receivers[channel];
            if let Some(receiver) = &end.end {
                select.recv(receiver, move |message| Did::Received(end.channel, message));
            }
        }
        for (channel, message) in sends.iter().zip(&mut messages) {
            let end = &ends.senders[channel];
            if let Some(sender) = &end.end {
                let number = message.as_ref().map_or(0, |message| message.number);
                select.send(sender, message, move |sent| {
                    Did::Sent(end.channel, number, sent)
                });
            }
        }
        if let Some(clock) = &clock {
            select.recv(clock, |_| Did::Timed);
        }

        let begin = self.now();
        let did = if once {
            select.try_select()
        } else {
            select.select().map(Some)
        };
        self.selected(begin, did, once)
    }

    /// Writes what a select did, and returns how the step ends.
    fn selected(
        &self,
        begin: u64,
        did: std::result::Result<Option<Did>, Cancelled>,
        once: bool,
    ) -> Result {
        match did {
            Ok(Some(Did::Received(channel, message))) => {
                let seen = message.as_ref().map_or_else(gone, |_| Seen::Done);
                let number = message.as_ref().ok().map(|message| message.number);
                self.received(begin, channel, number, seen, !once);
                if seen == Seen::Broken {
                    self.fail()
                } else {
                    Ok(())
                }
            }
            Ok(Some(Did::Sent(channel, message, sent))) => {
                let seen = sent.as_ref().map_or_else(gone, |()| Seen::Done);
                self.sent(begin, channel, message, seen);
                if sent.is_ok() || once {
                    Ok(())
                } else {
                    self.fail()
                }
            }
            Ok(None) => Ok(()),
            Ok(Some(Did::Timed)) => {
                if !once {
                    self.write_point(begin, "select", Seen::Done, false);
                }
                Ok(())
            }
            Err(cancelled) => {
                self.write_point(begin, "select", Seen::Cut(cut(&cancelled)), false);
                Err(cancelled.into())
            }
        }
    }

    fn sent(&self, begin: u64, channel: u64, message: u64, seen: Seen) {
        let what = What::Sent {
            channel,
            message,
            seen,
        };
        self.write(begin, what);
    }

    fn received(&self, begin: u64, channel: u64, message: Option<u64>, seen: Seen, blocking: bool) {
        let what = What::Received {
            channel,
            message,
            seen,
            blocking,
        };
        self.write(begin, what);
    }
}

/// The action of a case of a select, for the ledger.
enum Did {
    Received(u64, std::result::Result<Value, Disconnected>),
    Sent(u64, u64, std::result::Result<(), Disconnected>),
    Timed,
}

/// Gives each task that `has` an end one, with the index of the task.
///
/// The channel's own end goes before a task can be first to close it: it is moved into the last of
/// these tasks.
fn shares<T: Clone>(end: T, tasks: &[Arc<Task>], has: impl Fn(&Task) -> bool) -> Vec<(usize, T)> {
    let with: Vec<usize> = (0..tasks.len()).filter(|task| has(&tasks[*task])).collect();
    let count = with.len();
    with.into_iter()
        .zip(std::iter::repeat_n(end, count))
        .collect()
}
