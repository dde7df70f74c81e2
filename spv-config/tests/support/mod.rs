use spv_config::ClientConfig;

/// Settings in one expression.
pub(crate) trait Set: Sized {
    fn set(self, change: impl FnOnce(&mut Self)) -> Self;
}

impl Set for ClientConfig {
    fn set(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}
