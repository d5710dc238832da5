//! The steps that are done with the ends of channels.

use super::*;

impl Frame {
    pub(super) fn pipe(
        &self,
        level: &dyn Opened,
        channels: &[(usize, Option<usize>)],
        tasks: &[Arc<Task>],
    ) {
        let mut ends: Vec<Ends> = tasks.iter().map(|_| Ends::default()).collect();
        for &(channel, capacity) in channels {
            let (sender, receiver) = capacity.map_or_else(channel::unbounded, channel::bounded);
            let number = self.now();
            self.note(What::Channel {
                channel: number,
                capacity,
            });
            // The channel's own ends go before a task can be first to close it: they are moved into
            // the last tasks.
            let (mut sender, mut receiver) = (Some(sender), Some(receiver));
            let last = |of: fn(&Task) -> &Vec<usize>| {
                tasks.iter().rposition(|task| of(task).contains(&channel))
            };
            let (last_sender, last_receiver) =
                (last(|task| &task.sends), last(|task| &task.receives));
            for (index, task) in tasks.iter().enumerate() {
                if task.sends.contains(&channel) {
                    let end = if last_sender == Some(index) {
                        sender.take()
                    } else {
                        sender.clone()
                    };
                    ends[index]
                        .senders
                        .insert(channel, self.end(end, number, true));
                }
                if task.receives.contains(&channel) {
                    let end = if last_receiver == Some(index) {
                        receiver.take()
                    } else {
                        receiver.clone()
                    };
                    ends[index]
                        .receivers
                        .insert(channel, self.end(end, number, false));
                }
            }
        }
        for (task, ends) in tasks.iter().zip(ends) {
            level.spawn(self, How::Plain, false, task, ends);
        }
    }

    fn end<T>(&self, end: Option<T>, channel: u64, sender: bool) -> End<T> {
        End {
            end,
            channel,
            sender,
            by: OUTSIDE,
            with: false,
            world: self.world.clone(),
        }
    }

    pub(super) fn channel_step(&self, step: &Step) -> Result {
        let ends = self.ends.borrow();
        match step {
            Step::Send(channel) => {
                let end = &ends.senders[channel];
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
                self.write(
                    begin,
                    What::Sent {
                        channel: end.channel,
                        message: number,
                        seen,
                    },
                );
                result
            }
            Step::TrySend(channel) => {
                let end = &ends.senders[channel];
                let message = self.value(Act::Nothing);
                let (number, begin) = (message.number, self.now());
                let seen = match end.end.as_ref().map(|sender| sender.try_send(message)) {
                    None | Some(Ok(())) => Seen::Done,
                    Some(Err(TrySendError::Full(_))) => Seen::NotNow,
                    Some(Err(other)) => {
                        assert_eq!(
                            other.into_inner().number,
                            number,
                            "another message came back"
                        );
                        Seen::NotNow
                    }
                };
                self.write(
                    begin,
                    What::Sent {
                        channel: end.channel,
                        message: number,
                        seen,
                    },
                );
                Ok(())
            }
            Step::Receive(channel) => self
                .receive(&ends.receivers[channel], |receiver| {
                    receiver
                        .recv()
                        .map_err(|error: RecvError| anyhow::Error::from(error))
                })
                .map(drop),
            Step::Drain(channel) => {
                let end = &ends.receivers[channel];
                while self.receive(end, |receiver| receiver.recv().map_err(anyhow::Error::from))? {}
                Ok(())
            }
            Step::TryReceive(channel) => {
                let end = &ends.receivers[channel];
                let begin = self.now();
                let (message, seen) = match end.end.as_ref().map(Receiver::try_recv) {
                    Some(Ok(message)) => (Some(message), Seen::Done),
                    None | Some(Err(TryRecvError::Empty)) => (None, Seen::NotNow),
                    Some(Err(TryRecvError::Disconnected(disconnected))) => {
                        (None, gone(&disconnected))
                    }
                    Some(Err(other)) => (None, seen(&other.into())),
                };
                let number = message.as_ref().map(|message| message.number);
                self.write(
                    begin,
                    What::Received {
                        channel: end.channel,
                        message: number,
                        seen,
                        blocking: false,
                    },
                );
                Ok(())
            }
            Step::Select {
                receives,
                sends,
                once,
                timed,
            } => self.select(&ends, receives, sends, *once, *timed),
            _ => Ok(()),
        }
    }

    /// Receives one message; false where there will be none any more.
    pub(super) fn receive(
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
        self.write(
            begin,
            What::Received {
                channel: end.channel,
                message: number,
                seen,
                blocking: true,
            },
        );
        result
    }

    pub(super) fn select(
        &self,
        ends: &Ends,
        receives: &[usize],
        sends: &[usize],
        once: bool,
        timed: bool,
    ) -> Result {
        /// What a case did, for the ledger.
        enum Did {
            Received(u64, std::result::Result<Value, Disconnected>),
            Sent(u64, u64, std::result::Result<(), Disconnected>),
            Timed,
        }
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
        match did {
            Ok(Some(Did::Received(channel, message))) => {
                let seen = message.as_ref().map_or_else(gone, |_| Seen::Done);
                let number = message.as_ref().ok().map(|message| message.number);
                self.write(
                    begin,
                    What::Received {
                        channel,
                        message: number,
                        seen,
                        blocking: !once,
                    },
                );
                if seen == Seen::Broken {
                    self.fail()
                } else {
                    Ok(())
                }
            }
            Ok(Some(Did::Sent(channel, message, sent))) => {
                let seen = sent.as_ref().map_or_else(gone, |()| Seen::Done);
                self.write(
                    begin,
                    What::Sent {
                        channel,
                        message,
                        seen,
                    },
                );
                if sent.is_ok() || once {
                    Ok(())
                } else {
                    self.fail()
                }
            }
            Ok(None) => Ok(()),
            Ok(Some(Did::Timed)) => {
                if !once {
                    self.selected(begin, Seen::Done);
                }
                Ok(())
            }
            Err(cancelled) => {
                self.selected(begin, Seen::Cut(cut(&cancelled)));
                Err(cancelled.into())
            }
        }
    }
    /// Writes that a select ended by a cancel or by the clock.
    fn selected(&self, begin: u64, seen: Seen) {
        let what = What::Point {
            name: "select",
            seen,
            forever: false,
        };
        self.write(begin, what);
    }
}
