use qrinfo_recovery::{ConcurrencyThrottle, RecoveryEvent};
use qrinfo_scheduler::SchedulerHandle;
use tokio::{sync::mpsc, time};

/// Applies what a [`FailureWatchLayer`](qrinfo_recovery::FailureWatchLayer) says to a scheduler's cap as they
/// come, and raises it again in steps up to `full`. Ends with their sender; as it holds the scheduler, which holds the
/// peers, whoever spawns it has to abort it.
///
/// [`ParallelSync`](crate::ParallelSync) runs it by itself; a stack of one's own spawns it:
///
/// ```
/// # use qrinfo_scheduler::SchedulerHandle;
/// use qrinfo::slow_down;
/// use qrinfo_recovery::{FailureWatchLayer, RecoverySettings};
/// use tokio::sync::mpsc;
///
/// # async fn example(scheduler: SchedulerHandle) {
/// let (sender, events) = mpsc::unbounded_channel();
/// let slowing = tokio::spawn(slow_down(6, events, scheduler));
/// let settings = RecoverySettings { max_concurrent: 6, ..RecoverySettings::default() };
/// let around_each_peer = FailureWatchLayer::new(&settings, move |event| drop(sender.send(event.clone())));
/// # drop(around_each_peer);
/// // When the stack is not needed any more:
/// slowing.abort();
/// # }
/// ```
pub async fn slow_down(full: usize, mut events: mpsc::UnboundedReceiver<RecoveryEvent>, scheduler: SchedulerHandle) {
    let mut throttle = ConcurrencyThrottle::new(full);
    let mut cap = full;
    loop {
        let event = match throttle.next_change() {
            None => events.recv().await,
            Some(change) => match time::timeout_at(change.into(), events.recv()).await {
                Ok(event) => event,
                Err(_) => {
                    set(&scheduler, &mut cap, &mut throttle);
                    continue;
                }
            },
        };
        match event {
            Some(RecoveryEvent::SlowDown { strategy, .. }) => {
                throttle.apply(&strategy, time::Instant::now().into_std());
                set(&scheduler, &mut cap, &mut throttle);
            }
            Some(_) => {}
            None => return,
        }
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
