//! Pull: downloads of a layer, from its registry into the bounded bridge to the driver's thread.

use std::io::Read;

use accel_driver::Source;
use accel_image::Descriptor;
use accel_registry::End;
use accel_stream::StreamError;
use accel_stream::bridge::{self, BodySender};
use tokio::sync::mpsc;

use crate::error::ConvertError;
use crate::feed::{DEPTH, feed};
use crate::watch::{Event, Observer, StopSignal};

/// The driver's side: asks for downloads.
pub(crate) struct Downloads(mpsc::Sender<BodySender>);

/// The other side: receives the asking.
pub(crate) struct Asked(mpsc::Receiver<BodySender>);

/// The two sides of a layer's downloads.
pub(crate) fn downloads() -> (Downloads, Asked) {
    let (asking, asked) = mpsc::channel(1);
    (Downloads(asking), Asked(asked))
}

impl Source for Downloads {
    fn open(&mut self) -> Result<Box<dyn Read + Send>, StreamError> {
        let (sender, reader) = bridge::channel(DEPTH);
        self.0.blocking_send(sender).map_err(|_| StreamError::Cut)?;
        Ok(Box::new(reader))
    }
}

impl Asked {
    /// Serves every download that the driver asks for, until it asks no more. An error ends the reader too, which
    /// then knows only that it was cut off.
    ///
    /// # Errors
    /// Those of the source's registry; [`ConvertError::Stopped`].
    pub(crate) async fn serve(
        mut self,
        end: &End,
        layer: &Descriptor,
        watch: &dyn Observer,
        stop: &StopSignal,
    ) -> Result<(), ConvertError> {
        let seen = |bytes| watch.event(&Event::LayerRead { layer: layer.digest, bytes });
        stop.unless(async {
            while let Some(sender) = self.0.recv().await {
                feed(end, layer, 0, sender, seen).await?;
            }
            Ok::<_, ConvertError>(())
        })
        .await
    }
}
