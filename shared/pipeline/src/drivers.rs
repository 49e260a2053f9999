//! The table of drivers: the one place that knows which crate makes which format.

use std::sync::Arc;

use accel_domain::FormatOptions;
use accel_driver::Driver;
use accel_driver_estargz::Estargz;
use accel_stream::Limits;

/// The driver for `options`.
pub(crate) fn of(options: &FormatOptions, limits: Limits) -> Arc<dyn Driver> {
    match options {
        FormatOptions::Estargz(options) => Arc::new(Estargz::new(options.clone(), limits)),
    }
}
