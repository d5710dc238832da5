//! The messages of channels, and the end of these.

use super::*;

impl History<'_> {
    pub(super) fn messages(&self, streams: bool) -> Verdict {
        let received = self.received_once()?;
        for entry in self.entries {
            if let What::Sent {
                channel,
                message,
                seen,
            } = entry.what
            {
                self.sent_before(entry, channel, seen, received.get(&message).copied())?;
            }
        }

        for entry in self.entries {
            let (channel, of_senders) = match entry.what {
                What::Received {
                    channel,
                    seen: Seen::Disconnected | Seen::Broken,
                    ..
                } => (channel, true),
                What::Sent {
                    channel,
                    seen: Seen::Disconnected | Seen::Broken,
                    ..
                } => (channel, false),
                _ => continue,
            };
            self.disconnected(entry, channel, of_senders)?;
            if of_senders {
                self.drained(entry, channel, &received)?;
            }
            if streams {
                self.no_cut_stream(entry, channel, of_senders)?;
            }
        }
        self.rooms(&received)
    }

    /// The entries that received each message, of which each has one at most.
    fn received_once(&self) -> std::result::Result<BTreeMap<u64, &Entry>, String> {
        let mut received: BTreeMap<u64, &Entry> = BTreeMap::new();
        for entry in self.entries {
            let What::Received {
                message,
                seen,
                blocking,
                ..
            } = entry.what
            else {
                continue;
            };
            if blocking {
                self.blocking(entry, seen)?;
            }
            if let Some(message) = message {
                ensure!(
                    received.insert(message, entry).is_none(),
                    "message",
                    "{message} was received twice"
                );
            }
        }
        Ok(received)
    }

    /// A message arrives after it was sent, in the same channel. One that came back does not.
    fn sent_before(
        &self,
        entry: &Entry,
        channel: u64,
        seen: Seen,
        arrived: Option<&Entry>,
    ) -> Verdict {
        if let Seen::Cut(cut) = seen {
            self.justified(entry, cut)?;
        }
        ensure!(
            seen == Seen::Done || arrived.is_none(),
            "message",
            "{entry:?} arrived all the same"
        );
        if let Some(arrived) = arrived {
            let there = matches!(arrived.what, What::Received { channel: at, .. } if at == channel);
            ensure!(
                there && arrived.end > entry.begin,
                "message",
                "{arrived:?} came before {entry:?}"
            );
        }
        Ok(())
    }

    /// A disconnect comes when all ends of the other side have gone, and says whether an end went
    /// ill.
    fn disconnected(&self, entry: &Entry, channel: u64, senders: bool) -> Verdict {
        let closes: Vec<_> = self.closes(channel, senders).collect();
        let open = closes.iter().any(|close| close.begin > entry.end);
        ensure!(
            !open && !closes.is_empty(),
            "message",
            "{entry:?}, and not all of the other side had gone"
        );

        let ill = closes.iter().any(|close| self.closed_ill(close));
        let told = matches!(
            entry.what,
            What::Received {
                seen: Seen::Broken,
                ..
            } | What::Sent {
                seen: Seen::Broken,
                ..
            }
        );
        ensure!(
            told == ill,
            "ill ends",
            "{entry:?}, and the ends went by {closes:?}"
        );
        Ok(())
    }

    /// A receiver sees the end of a channel after each message of it was received.
    fn drained(&self, entry: &Entry, channel: u64, received: &BTreeMap<u64, &Entry>) -> Verdict {
        for sent in self.sent(channel) {
            let What::Sent { message, .. } = sent.what else {
                continue;
            };
            let gone = received
                .get(&message)
                .is_some_and(|received| received.begin < entry.end);
            ensure!(gone, "message", "{entry:?} before {message} was received");
        }
        Ok(())
    }

    /// In a scope that was known to be cancelled, the end of a stream is the cancel.
    fn no_cut_stream(&self, entry: &Entry, channel: u64, senders: bool) -> Verdict {
        let closes = self.closes(channel, senders);
        let last = closes.map(|close| close.begin).max().unwrap_or(NEVER);
        for (&node, &at) in &self.seen {
            let known = at < last && self.is_in(entry.scope, node, true, true);
            ensure!(
                !known,
                "no disconnect",
                "{entry:?}: scope {node} was cancelled at {at}, and the last end went at {last}"
            );
        }
        Ok(())
    }

    /// Whether an end of a channel was dropped because its task did not end well: unrun, or, of
    /// what it was given `with`, with anything but a value.
    fn closed_ill(&self, close: &Entry) -> bool {
        let What::Closed { by, with, .. } = close.what else {
            return false;
        };
        match self.tasks.get(&by).and_then(|task| task.ran) {
            None => true,
            Some((.., outcome)) => with && outcome != Outcome::Value,
        }
    }

    /// The ends of a channel that have gone, on the side of the senders or of the receivers.
    fn closes(&self, channel: u64, senders: bool) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |close| match close.what {
            What::Closed {
                channel: at,
                sender,
                ..
            } => at == channel && sender == senders,
            _ => false,
        })
    }

    /// The messages that a channel has taken.
    fn sent(&self, channel: u64) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |sent| match sent.what {
            What::Sent {
                channel: at, seen, ..
            } => at == channel && seen == Seen::Done,
            _ => false,
        })
    }

    /// No channel holds more than it has room for.
    pub(super) fn rooms(&self, received: &BTreeMap<u64, &Entry>) -> Verdict {
        for entry in self.entries {
            let What::Channel {
                channel,
                capacity: Some(capacity),
            } = entry.what
            else {
                continue;
            };
            for last in self.sent(channel) {
                let inside = self.sent(channel).filter(|sent| {
                    let What::Sent { message, .. } = sent.what else {
                        return false;
                    };
                    sent.end <= last.end
                        && received
                            .get(&message)
                            .is_none_or(|received| received.begin > last.end)
                });
                let inside = inside.count();
                // Receivers that go drop the messages inside.
                let mut closes = self.closes(channel, false);
                let closed = closes.any(|close| close.begin < last.end);
                ensure!(
                    inside <= capacity || closed,
                    "message",
                    "{inside} are in channel {channel} after {last:?}"
                );
            }
        }
        Ok(())
    }
}
