//! The terminal, which is as it was before when the view ends, however it ends.

use std::cell::Cell;
use std::io::{self, IsTerminal, Stdout, stdin, stdout};
use std::mem::ManuallyDrop;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use anyhow::Context;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};

/// Whether the view has the terminal.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// It is held while something is drawn or the terminal is restored, so that nothing is drawn
/// afterwards.
static TERMINAL: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether this thread holds the lock.
    static IS_DRAWING: Cell<bool> = const { Cell::new(false) };
}

/// The terminal, with a screen of the view's own. It is restored when this is dropped, and before a
/// panic is printed, on any thread.
#[derive(Debug)]
pub struct Screen {
    /// Never dropped: its drop prints to stderr if the terminal has gone, and panics if it cannot.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>,
}

impl Screen {
    /// Checks that standard input and standard output are terminals.
    ///
    /// # Errors
    ///
    /// One of them is not.
    pub fn check() -> anyhow::Result<()> {
        for (name, is_terminal) in [
            ("input", stdin().is_terminal()),
            ("output", stdout().is_terminal()),
        ] {
            anyhow::ensure!(is_terminal, "standard {name} is not a terminal");
        }
        Ok(())
    }

    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// There is no terminal, or it refuses a setting. It is then restored.
    pub fn open() -> anyhow::Result<Self> {
        static HOOK: Once = Once::new();
        Screen::check()?;
        HOOK.call_once(|| {
            let print = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                restore();
                print(panic);
            }));
        });

        enable_raw_mode().context("cannot take the terminal")?;
        IS_OPEN.store(true, Ordering::SeqCst);

        // From here on, an error restores it.
        let restored = Restored;
        execute!(stdout(), EnterAlternateScreen)?;
        let mut terminal = ManuallyDrop::new(Terminal::new(CrosstermBackend::new(stdout()))?);
        terminal.hide_cursor()?;
        std::mem::forget(restored);
        Ok(Screen { terminal })
    }

    /// Draws, unless a panic has restored the terminal.
    ///
    /// # Errors
    ///
    /// The terminal takes no output: it may have gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let _lock = lock();
        if IS_OPEN.load(Ordering::SeqCst) {
            let _drawing = Drawing::begin();
            self.terminal.draw(draw)?;
        }
        Ok(())
    }

    /// Clears the screen, so that all of it is drawn the next time.
    ///
    /// # Errors
    ///
    /// The terminal takes no output: it may have gone.
    pub fn forget(&mut self) -> io::Result<()> {
        let _lock = lock();
        if IS_OPEN.load(Ordering::SeqCst) {
            self.terminal.clear()?;
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal when it is dropped.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        restore();
    }
}

/// Says that this thread draws, until it is dropped.
struct Drawing;

impl Drawing {
    fn begin() -> Self {
        IS_DRAWING.set(true);
        Drawing
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        IS_DRAWING.set(false);
    }
}

/// Gives the terminal back. Does nothing the second time.
fn restore() {
    // The hook of a panic in the drawing itself is called under the lock.
    let _lock = (!IS_DRAWING.get()).then(lock);
    if IS_OPEN.swap(false, Ordering::SeqCst) {
        // A terminal that has gone needs no restoring, and any other gives no error.
        let _ = disable_raw_mode();
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    }
}

fn lock() -> MutexGuard<'static, ()> {
    TERMINAL.lock().unwrap_or_else(PoisonError::into_inner)
}
