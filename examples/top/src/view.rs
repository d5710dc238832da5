//! The view: one task talks to the process, and the thread of the terminal reads keys and draws.

use std::time::{Duration, Instant};

use anyhow::ensure;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::terminal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use taskgroup::TaskGroup;
use taskgroup::channel::{self, Receiver, RecvTimeoutError, Sender};

use crate::app::{Action, App};
use crate::client::Client;
use crate::picture::Picture;
use crate::screen::Screen;

/// How soon a picture is drawn after it has come, and a signal is noticed. A key is at once.
const TICK: Duration = Duration::from_millis(50);

const SECOND: Duration = Duration::from_secs(1);

/// A message from the connection to the viewer.
enum News {
    Picture(Box<Picture>),
    Answer { group: u64, answer: String },
    Lost(anyhow::Error),
}

/// Shows a process until a key says quit.
///
/// # Errors
///
/// There is no terminal, the connection is lost, or the scope was cancelled. The terminal has been
/// restored when this returns.
pub fn view(mut client: Client, every: Duration, has_colour: bool) -> anyhow::Result<()> {
    // Before the screen, so that a wrong socket is told as plain text.
    let first = client.snapshot()?;
    let mut app = App::new(first, Instant::now(), has_colour);
    let mut screen = Screen::open()?;
    let lost = TaskGroup::builder().name("view").scope(|g| {
        let (ask, asked) = channel::bounded(16);
        let (tell, told) = channel::bounded(1);
        let connection = g.task().name("connection").with((asked, tell));
        connection.spawn(move |(asked, tell)| talk(client, asked, tell, every));

        let outcome = keys(&mut app, &mut screen, &ask, &told)?;
        g.cancel_because("the view has ended");
        Ok(outcome)
    })?;
    lost.map_or(Ok(()), Err)
}

/// Asks for a picture at each interval, and for what the keys want.
fn talk(
    mut client: Client,
    asked: &Receiver<u64>,
    tell: &Sender<News>,
    every: Duration,
) -> anyhow::Result<()> {
    let mut pause = every;
    loop {
        let news = match asked.recv_timeout(pause) {
            Ok(group) => {
                let answer = client.cancel(group);
                answer.map(|answer| News::Answer { group, answer })
            }
            Err(RecvTimeoutError::Timeout) => {
                let picture = client.snapshot();
                picture.map(|picture| News::Picture(Box::new(picture)))
            }
            Err(error) => return Err(error.into()),
        };
        // The end of the view loses no connection.
        taskgroup::checkpoint()?;
        let news = news.unwrap_or_else(News::Lost);
        let is_over = matches!(news, News::Lost(_));

        // What a cancel has done is shown at once.
        pause = match news {
            News::Answer { .. } => Duration::ZERO,
            _ => every,
        };
        tell.send(news)?;
        if is_over {
            return Ok(());
        }
    }
}

/// Draws, and does what the keys say. Returns why the connection was lost, if it was.
fn keys(
    app: &mut App,
    screen: &mut Screen,
    ask: &Sender<u64>,
    told: &Receiver<News>,
) -> anyhow::Result<Option<anyhow::Error>> {
    let (mut drawn, mut size) = (None, None);
    loop {
        // The header says how old the picture is, and a terminal may be resized.
        if size != Some(terminal::size()?) {
            drawn = None;
            size = Some(terminal::size()?);
        }
        let now = Instant::now();
        if drawn.is_none_or(|drawn| now.duration_since(drawn) >= SECOND) {
            screen.draw(|frame| app.draw(frame, now))?;
            drawn = Some(now);
        }
        // One read may bring several keys.
        let has_event = has_input()?;
        while has_event && event::poll(Duration::ZERO)? {
            drawn = None;
            if let Event::Key(key) = event::read()? {
                match app.press(key) {
                    Some(Action::Quit) => return Ok(None),
                    // The keys go on to work while the process does not answer.
                    Some(Action::Cancel(group)) => {
                        if ask.try_send(group).is_err() {
                            app.answered(group, "not asked");
                        }
                    }
                    Some(Action::Redraw) => screen.forget()?,
                    Some(Action::Draw) | None => {}
                }
            }
        }

        // A signal, or the failure of the other task.
        taskgroup::checkpoint()?;
        for news in told.try_iter() {
            drawn = None;
            match news {
                News::Picture(picture) => app.show(*picture, Instant::now()),
                News::Answer { group, answer } => app.answered(group, &answer),
                News::Lost(why) => return Ok(Some(why)),
            }
        }
    }
}

/// Waits for keys, for a moment. Fails if the terminal has gone: crossterm would read from it again
/// and again.
fn has_input() -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    let mut input = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut input, Some(&Timespec::try_from(TICK)?)) {
        // The size is looked at after each signal.
        Err(rustix::io::Errno::INTR) => return Ok(false),
        polled => polled?,
    };
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    let is = input[0].revents();
    ensure!(!is.intersects(gone), "the terminal has gone");
    Ok(is.contains(PollFlags::IN))
}
