//! A registry on loopback that fails as it is told to, over real sockets.

mod answer;
mod bodies;
mod line;
mod play;
mod request;
mod rule;
mod seen;
mod server;
mod turns;
mod whole;

pub use request::Request;
pub use rule::{Fault, Rule};
pub use seen::Seen;
pub use server::FaultyRegistry;
pub use turns::Held;
