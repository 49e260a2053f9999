//! DynamoDB and SQS pass the suite of the stores, on whatever `AWS_ENDPOINT_URL` names: an emulator, never AWS itself,
//! since the credentials are made up.
//!
//! `AWS_ENDPOINT_URL_DYNAMODB` and `AWS_ENDPOINT_URL_SQS` name one for each, as the SDK has it.
//!
//! Each case has a table and a queue of its own, with the keys that `infra/template.yaml` gives them. Time passes by
//! waiting, so run many at once: `cargo test -p accel-tasks --features aws,conformance --test emulator -- --ignored
//! --test-threads 16`.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

mod faults;
mod further;
mod stage;
mod watch;

use stage::fresh;

accel_tasks::conformance!(fresh, ignore = "needs an emulator at AWS_ENDPOINT_URL");
