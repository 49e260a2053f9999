//! Start here: [`convert_image`] pulls an image, converts its layers and pushes the result; [`move_tag`] makes it
//! visible. Bytes flow one way, from the source's registry to the target's, and are never whole anywhere.
//!
//! Per layer: `pull` downloads into a bounded bridge; on a blocking thread `accel-stream` decompresses and walks the
//! tar, a driver cuts chunks, the process-wide pool compresses them; `push` uploads what comes out in order.

mod fan_out;
mod image;

mod source;

mod plan;

mod bodies;
mod layer;
mod pull;
mod push;
mod reuse;

mod ending;

mod assemble;
mod documents;
mod publish;
mod tag;

mod bootstrap;
mod dictionary;
mod feed;
mod inspect;
mod verify;

mod drivers;
mod engine;
mod error;
mod nydus;
mod watch;

pub use engine::Engine;
pub use error::ConvertError;
pub use fan_out::{Step, convert_layer, convert_or_fan_out};
pub use image::{ConvertedImage, Job, Outcome, convert_image};
pub use inspect::{
    BootstrapContents, ImageContents, InspectError, InspectReport, Landmark, LargestFile, LayerContents, LayerFormat,
    Origin, TocContents, inspect_image,
};
pub use layer::LayerReport;
pub use tag::{Tagged, confirm_tag, move_tag};
pub use verify::{VerifyError, VerifyOptions, VerifyReport, verify_image};
pub use watch::{Event, LayerEnd, Observer, Stop, StopReason, StopSignal, Tally};
