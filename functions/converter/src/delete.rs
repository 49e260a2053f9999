//! A deletion: removes a target whose source is gone.

use accel_domain::marker::{Marker, source_name};
use accel_domain::task::{Sizes, State, Task};
use accel_registry::{End, RegistryError};
use accel_tasks::{LayerCache, TaskQueue, TaskStore};

use crate::counts::Counts;
use crate::heartbeat::Heartbeat;
use crate::run::{Ended, RunError};
use crate::settle::Converter;

const NOT_OURS: &str = "the target was made of something else and stays";

impl<S: TaskStore + LayerCache, Q: TaskQueue> Converter<S, Q> {
    /// Removes the target if its marker names this source and digest, and the source tag is gone.
    pub(crate) async fn delete(
        &self,
        task: &Task,
        counts: &Counts,
        heartbeat: &Heartbeat<'_, S, Q>,
    ) -> Result<Ended, RunError> {
        self.may_move_tag(task, counts, heartbeat).await?;
        let source: End = self.registries.repository(&task.source)?.into();
        let target: End = self.registries.repository(&task.target)?.into();
        let done = |reason| Ok(Ended::done(State::Completed, reason, Sizes::default(), None));
        let standing = match target.get_manifest(&task.target.manifest_key()).await {
            Ok(standing) => standing,
            Err(RegistryError::ManifestNotFound(_)) => return done("the target was not there"),
            Err(RegistryError::Document { .. }) => return done(NOT_OURS),
            Err(error) => return Err(error.into()),
        };
        let marker = Marker::read(standing.document.annotations());
        let names =
            |marker: Marker| marker.source == source_name(&task.source) && Some(marker.source_digest) == task.digest;
        if !marker.is_some_and(names) {
            return done(NOT_OURS);
        }
        if source.head_manifest(&task.source.manifest_key()).await?.is_some() {
            return done("the source is there again, so the target stays");
        }
        target.delete_manifest(standing.digest).await?;
        done("deleted")
    }
}
