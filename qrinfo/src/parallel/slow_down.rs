use qrinfo_recovery::{ConcurrencyThrottle, RecoveryStrategy};
use qrinfo_scheduler::SchedulerHandle;
use tokio::{sync::mpsc, time};

/// Applies the strategies of [`RecoveryEvent::SlowDown`](qrinfo_recovery::RecoveryEvent::SlowDown) to a scheduler's cap
/// as they come, and raises it again in steps up to `full`. Ends with their sender.
///
/// [`ParallelSync`](crate::ParallelSync) runs it by itself; a stack of one's own spawns it:
///
/// ```
/// # use qrinfo_scheduler::SchedulerHandle;
/// use qrinfo::slow_down;
/// use qrinfo_recovery::{RecoveryEvent, RecoveryLayer, RecoverySettings};
/// use tokio::sync::mpsc;
///
/// # async fn example(scheduler: SchedulerHandle) {
/// let (sender, strategies) = mpsc::unbounded_channel();
/// tokio::spawn(slow_down(6, strategies, scheduler));
/// let settings = RecoverySettings { max_concurrent: 6, ..RecoverySettings::default() };
/// let layer = RecoveryLayer::new(settings).on_event(move |event| {
///     if let RecoveryEvent::SlowDown { strategy, .. } = event {
///         let _ = sender.send(strategy.clone());
///     }
/// });
/// # drop(layer);
/// # }
/// ```
pub async fn slow_down(
    full: usize,
    mut strategies: mpsc::UnboundedReceiver<RecoveryStrategy>,
    scheduler: SchedulerHandle,
) {
    let mut throttle = ConcurrencyThrottle::new(full);
    let mut cap = full;
    loop {
        let strategy = match throttle.next_change() {
            None => strategies.recv().await,
            Some(change) => match time::timeout_at(change.into(), strategies.recv()).await {
                Ok(strategy) => strategy,
                Err(_) => {
                    set(&scheduler, &mut cap, &mut throttle);
                    continue;
                }
            },
        };
        let Some(strategy) = strategy else { return };
        throttle.apply(&strategy, time::Instant::now().into_std());
        set(&scheduler, &mut cap, &mut throttle);
    }
}

fn set(scheduler: &SchedulerHandle, cap: &mut usize, throttle: &mut ConcurrencyThrottle) {
    let limit = throttle.limit(time::Instant::now().into_std());
    if limit != *cap {
        tracing::info!(from = *cap, to = limit, "requests at a time");
        *cap = limit;
        scheduler.set_cap(limit);
    }
}
