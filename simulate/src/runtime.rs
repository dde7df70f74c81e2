//! One thread, virtual time, and choices that follow from a seed.
//!
//! Work for blocking threads is done while the main thread is idle and waits for it: otherwise the order of its end and
//! other events would be one of real time. Tokio's own choices, those of `select!`, follow from the seed in builds with
//! `--cfg tokio_unstable`.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::runtime::{Builder, Runtime};

/// Lets blocking threads work only while the main thread waits.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Blocking threads that were asked for and have not ended.
    threads: usize,
    is_open: bool,
}

/// Runs a future to its end, the same way each time for one seed.
pub(crate) fn run<T>(seed: u64, name: &str, future: impl Future<Output = T>) -> std::io::Result<T> {
    let gate = Arc::new(Gate::default());
    let [spawns, starts, stops, parks] = std::array::from_fn(|_| gate.clone());
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).max_blocking_threads(1).thread_keep_alive(Duration::ZERO);
    let name = name.to_owned();
    // The main thread asks for the name of a thread that it is about to start.
    builder.thread_name_fn(move || spawns.expect(&name));
    builder.on_thread_start(move || starts.pass()).on_thread_stop(move || stops.leave());
    builder.on_thread_park(move || parks.let_work());
    seeded(&mut builder, seed);
    let runtime: Runtime = builder.build()?;
    let result = runtime.block_on(future);
    // The end of the runtime waits for work that is left.
    gate.open();
    Ok(result)
}

#[cfg(tokio_unstable)]
fn seeded(builder: &mut Builder, seed: u64) {
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
}

#[cfg(not(tokio_unstable))]
fn seeded(_builder: &mut Builder, _seed: u64) {}

// === impl Gate ===

impl Gate {
    /// Counts a blocking thread, and names it.
    fn expect(&self, name: &str) -> String {
        self.state().threads += 1;
        name.to_owned()
    }

    /// A blocking thread waits for its turn.
    fn pass(&self) {
        let mut state = self.state();
        while !state.is_open {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn leave(&self) {
        self.state().threads -= 1;
        self.changed.notify_all();
    }

    fn open(&self) {
        self.state().is_open = true;
        self.changed.notify_all();
    }

    /// The main thread is idle: blocking threads do all their work.
    fn let_work(&self) {
        let mut state = self.state();
        state.is_open = true;
        self.changed.notify_all();
        while state.threads > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_open = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
