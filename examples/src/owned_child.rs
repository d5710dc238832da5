use std::process::Child;

/// A child process that does not outlive its owner: dropping this kills the process and waits for
/// it.
#[derive(Debug)]
pub struct OwnedChild(pub Child);

impl Drop for OwnedChild {
    fn drop(&mut self) {
        // A process that has been waited for has nothing left to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
