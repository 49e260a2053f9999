//! Push: the converted blob, from the driver's thread into a chunked upload.

use std::io::{self, Write};
use std::pin::pin;
use std::time::Duration;

use accel_driver::Output;
use accel_image::Digest;
use accel_registry::{End, RegistryError, Upload};
use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::bodies::{BODY_BYTES, BodyPool, InUse, LayerBodies};
use crate::error::ConvertError;
use crate::watch::{Event, Observer, StopReason, StopSignal};

/// What goes from the driver's thread to the upload.
enum Piece {
    Body(Bytes, InUse),
    Restart,
    End,
}

/// The driver's side: gathers what it writes into bodies.
pub(crate) struct Bodies {
    handle: Handle,
    pool: LayerBodies,
    pieces: mpsc::Sender<Piece>,
    body: Option<(BytesMut, InUse)>,
}

/// The other side: receives the bodies.
pub(crate) struct Uploading {
    pieces: mpsc::Receiver<Piece>,
    pool: LayerBodies,
}

/// The two sides of a layer's upload.
pub(crate) fn upload(pool: &BodyPool) -> (Bodies, Uploading) {
    let (pieces, received) = mpsc::channel(1);
    let pool = pool.for_layer();
    let bodies = Bodies { handle: Handle::current(), pool: pool.clone(), pieces, body: None };
    (bodies, Uploading { pieces: received, pool })
}

impl Bodies {
    /// Nothing more comes: the blob is whole.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.flush()?;
        self.pass(Piece::End)
    }

    fn pass(&self, piece: Piece) -> io::Result<()> {
        self.pieces.blocking_send(piece).map_err(|_| closed())
    }

    /// The body that fills.
    fn body(&mut self) -> &mut BytesMut {
        let Self { body, handle, pool, .. } = self;
        let (body, _) = body.get_or_insert_with(|| handle.block_on(pool.take()));
        body
    }
}

fn closed() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Write for Bodies {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let body = self.body();
        let now = bytes.len().min(BODY_BYTES - body.len());
        body.extend_from_slice(&bytes[..now]);
        if body.len() == BODY_BYTES {
            self.flush()?;
        }
        Ok(now)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.body.take() {
            Some((body, permit)) => self.pass(Piece::Body(body.freeze(), permit)),
            None => Ok(()),
        }
    }
}

impl Output for Bodies {
    fn restart(&mut self) -> io::Result<()> {
        self.body = None;
        self.pass(Piece::Restart)
    }
}

impl Uploading {
    /// Uploads what the driver writes. `None` if the driver stopped before the blob was whole: the upload is
    /// cancelled then. A whole one is not closed: that waits until the source has proved right.
    ///
    /// # Errors
    /// Those of the target's registry; [`ConvertError::Stopped`].
    pub(crate) async fn run(
        mut self,
        end: &End,
        layer: Digest,
        watch: &dyn Observer,
        stop: &StopSignal,
    ) -> Result<Option<Upload>, ConvertError> {
        let mut upload = None;
        while let Some(piece) = self.pieces.recv().await {
            match piece {
                Piece::Body(body, permit) => {
                    let bytes = body.len() as u64;
                    if let Err(error) = send(end, &mut upload, body.clone(), stop).await {
                        cancel(upload).await;
                        return Err(error);
                    }
                    self.pool.give_back(body, permit);
                    watch.event(&Event::LayerWritten { layer, bytes });
                }
                Piece::Restart => cancel(upload.take()).await,
                Piece::End => return Ok(upload),
            }
        }
        cancel(upload).await;
        Ok(None)
    }
}

/// Sends a body; the first one opens the upload.
async fn send(end: &End, upload: &mut Option<Upload>, body: Bytes, stop: &StopSignal) -> Result<(), ConvertError> {
    let upload = match upload {
        Some(upload) => upload,
        None => upload.insert(open(end, stop).await?),
    };
    stop.unless(upload.write(body)).await
}

/// Opens an upload. One that the registry is opening when the stop comes is waited for and cancelled: without its answer
/// nobody knows where it is.
pub(crate) async fn open(end: &End, stop: &StopSignal) -> Result<Upload, ConvertError> {
    match answered(end.start_upload(), stop).await {
        Ok(upload) => Ok(upload),
        Err((error, late)) => {
            cancel(late).await;
            Err(error)
        }
    }
}

/// The answer to `request`, unless there is a reason to stop before it is there. A request that is under way then is waited
/// for a little, and what came late is handed over beside the reason: for one after which the registry may keep something.
pub(crate) async fn answered<T>(
    request: impl Future<Output = Result<T, RegistryError>>,
    stop: &StopSignal,
) -> Result<T, (ConvertError, Option<T>)> {
    if let Some(reason) = stop.reason() {
        return Err((ConvertError::Stopped(reason), None));
    }
    let mut request = pin!(request);
    match stop.unless(request.as_mut()).await {
        Err(stopped @ ConvertError::Stopped(_)) => {
            let late = tokio::time::timeout(TIME_AFTER_STOP, request).await;
            Err((stopped, late.ok().and_then(Result::ok)))
        }
        answered => answered.map_err(|error| (error, None)),
    }
}

/// Closes an upload. An answer that comes late counts: the blob is there, and whoever goes on hears of the stop.
pub(crate) async fn close(upload: Upload, digest: Digest, stop: &StopSignal) -> Result<(), ConvertError> {
    let mut closing = Box::pin(upload.finish(digest));
    match stop.unless(&mut closing).await {
        // Another layer has failed, for which this one need not be done again.
        Err(ConvertError::Stopped(StopReason::LayerFailed)) => Ok(closing.await?),
        Err(stopped @ ConvertError::Stopped(_)) => {
            let late = tokio::time::timeout(TIME_AFTER_STOP, closing).await;
            if matches!(late, Ok(Ok(()))) { Ok(()) } else { Err(stopped) }
        }
        closed => closed,
    }
}

/// Closes an upload if all of it was `sent`, or else cancels it.
pub(crate) async fn close_if(
    sent: Result<(), ConvertError>,
    upload: Upload,
    digest: Digest,
    stop: &StopSignal,
) -> Result<(), ConvertError> {
    match sent {
        Ok(()) => close(upload, digest, stop).await,
        Err(error) => {
            cancel(Some(upload)).await;
            Err(error)
        }
    }
}

/// How long a registry may take to answer a request that is under way at the stop, and then to forget an upload. Both, and the
/// record of what was done, have to fit into the ten seconds that an invocation keeps back for its end.
const TIME_AFTER_STOP: Duration = Duration::from_secs(4);

/// Frees what the registry keeps of an upload that nobody will finish. A registry that does not answer in time keeps
/// it until it cleans up by itself.
pub(crate) async fn cancel(upload: Option<Upload>) {
    if let Some(upload) = upload {
        drop(tokio::time::timeout(TIME_AFTER_STOP, upload.cancel()).await);
    }
}
