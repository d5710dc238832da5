use std::process::Child;

/// A child process that does not outlive its owner: dropping this kills the process and waits for
/// it.
#[derive(Debug)]
pub struct OwnedChild(pub Child);

impl Drop for OwnedChild {
    fn drop(&mut self) {
        // Of a process that has been waited for, nothing is left to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
