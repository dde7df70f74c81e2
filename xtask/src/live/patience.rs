//! Waiting that always ends: at a limit, or when the user stops the check.

use std::{
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Pause between two looks at what is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// The place where everything waits: it ends at a limit, and on Ctrl-C.
#[derive(Debug, Clone, Default)]
pub(super) struct Patience(Arc<AtomicBool>);

/// A program that is killed when this is dropped, so that none is left behind.
#[derive(Debug)]
pub(super) struct Running(pub(super) Child);

// === impl Patience ===

impl Patience {
    /// Takes over Ctrl-C and a request to terminate: both end every wait with an error, and dropping ends the programs.
    pub(super) fn of_user() -> Result<Self> {
        let patience = Self::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, patience.0.clone()).context("cannot handle signals")?;
        }
        Ok(patience)
    }

    /// Looks again and again until there is a result.
    ///
    /// # Errors
    ///
    /// The look's own error, `what` took longer than the limit, or the user stopped the check.
    #[expect(clippy::disallowed_methods, reason = "waits for other programs, outside any runtime")]
    pub(super) fn wait<T>(
        &self,
        limit: Duration,
        what: &str,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            if self.0.load(Ordering::Relaxed) {
                bail!("{what}: stopped by the user");
            }
            if let Some(found) = look()? {
                return Ok(found);
            }
            if start.elapsed() > limit {
                bail!("{what} took longer than {} s", limit.as_secs());
            }
            thread::sleep(PAUSE);
        }
    }

    /// Runs a program to its end and returns what it printed.
    ///
    /// # Errors
    ///
    /// The program cannot be started, or [`wait`](Self::wait) fails; it is killed then.
    pub(super) fn output(&self, limit: Duration, what: &str, command: &mut Command) -> Result<Output> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = Running::start(what, command)?;
        // Both are read while the program runs: it would stop at a full pipe.
        let (stdout, stderr) = (drain(program.0.stdout.take()), drain(program.0.stderr.take()));
        let status = self.wait(limit, what, || program.ended())?;
        let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
        Ok(Output { status, stdout, stderr })
    }
}

fn drain(pipe: Option<impl std::io::Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is still worth showing.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    })
}

// === impl Running ===

impl Running {
    pub(super) fn start(what: &str, command: &mut Command) -> Result<Self> {
        command.spawn().map(Self).with_context(|| format!("{what}: cannot run {}", command.get_program().display()))
    }

    /// Returns how the program ended, or nothing while it runs.
    pub(super) fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        self.0.try_wait().context("cannot look after a program")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a program that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A program that would run for a minute.
    fn long() -> Command {
        let mut command = Command::new("sleep");
        command.arg("60");
        command
    }

    fn is_alive(process: u32) -> bool {
        let mut kill = Command::new("kill");
        kill.args(["-0", &process.to_string()]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    #[test]
    fn a_program_ends_with_what_holds_it() {
        let program = Running::start("sleep", &mut long()).unwrap();
        let process = program.0.id();
        assert!(is_alive(process));
        drop(program);
        assert!(!is_alive(process));
    }

    #[test]
    fn a_wait_ends_at_its_limit_and_at_the_users_word() {
        let patience = Patience::default();
        let error = patience.output(Duration::ZERO, "sleep", &mut long()).unwrap_err().to_string();
        assert_eq!(error, "sleep took longer than 0 s");
        patience.0.store(true, Ordering::Relaxed);
        let error = patience.output(Duration::MAX, "sleep", &mut long()).unwrap_err().to_string();
        assert_eq!(error, "sleep: stopped by the user");
    }

    #[test]
    fn long_output_is_read_while_the_program_runs() {
        let mut command = Command::new("head");
        let output =
            Patience::default().output(Duration::from_secs(60), "head", command.args(["-c", "300000", "/dev/zero"]));
        assert_eq!(output.unwrap().stdout.len(), 300_000);
    }
}
