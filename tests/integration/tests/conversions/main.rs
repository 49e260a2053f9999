//! Conversions through real HTTP: a registry with faults on loopback, the webhook, the converter and the embedded
//! store. Tests of the acceptance cases begin with their number: A2, C13.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

mod stage;

mod nydus;
mod picture;

mod scenes;

mod classes;
mod deletions;
mod dictionary;
mod dictionary_losses;
mod events;
mod failures;
mod fan_out;
mod faults;
mod goldens;
mod hostile_headers;
mod hostile_layers;
mod hostile_registries;
mod images;
mod indexes;
mod interruptions;
mod layers;
mod matrix;
mod merged;
mod nydus_failures;
mod nydus_images;
mod order;
mod originals;
mod phases;
mod races;
mod schedules;
mod targets;
mod upstream;
