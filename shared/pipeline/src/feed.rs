//! Feed: a download into a bridge, to the blocking thread that reads it.

use accel_image::Descriptor;
use accel_registry::{End, RegistryError};
use accel_stream::bridge::BodySender;

/// Pieces of a download that wait to be read. A piece is what came from the network at once: up to half a MiB, which is
/// enough to read on while the next one comes.
pub(crate) const DEPTH: usize = 1;

/// Downloads `blob` from byte `from` on, to its end or until the other side has read enough. `seen` is told the size
/// of each piece.
///
/// # Errors
/// Those of the registry; the reader then knows only that it was cut off.
pub(crate) async fn feed(
    end: &End,
    blob: &Descriptor,
    from: u64,
    sender: BodySender,
    seen: impl Fn(u64),
) -> Result<(), RegistryError> {
    let mut download = end.open_blob(blob, from).await?;
    while let Some(piece) = download.next().await? {
        seen(piece.len() as u64);
        if sender.send(piece).await.is_err() {
            return Ok(());
        }
    }
    sender.finish();
    Ok(())
}
