//! Layer records, forgotten 90 days after their last use.

use std::time::Duration;

use accel_domain::Timestamp;

use super::Embedded;
use super::clock::later;
use super::record::{KeptLayer, layer_key};
use super::tables::{self, load};
use crate::{LayerCache, LayerKey, LayerRecord, StoreError};

/// How long a record is kept after its last use.
pub(super) const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// A use is noted at most this often: a cache hit costs a write a day, not one each.
const NOTED: Duration = Duration::from_secs(24 * 3600);

impl LayerCache for Embedded {
    async fn find_layer(&self, key: &LayerKey, now: Timestamp) -> Result<Option<LayerRecord>, StoreError> {
        let name = layer_key(key);
        let found = self.read(move |view| load::<KeptLayer>(&view.table(tables::LAYERS)?, &name)).await?;
        let Some(layer) = found.filter(|layer| later(layer.used, KEPT) > now) else { return Ok(None) };
        if later(layer.used, NOTED) <= now {
            self.note_use(key, now).await?;
        }
        Ok(Some(layer.record))
    }

    async fn remember_layer(&self, key: &LayerKey, record: &LayerRecord, now: Timestamp) -> Result<(), StoreError> {
        let layer = KeptLayer { key: key.clone(), record: record.clone(), used: now };
        self.write(move |tables| {
            let before = load(&tables.layers, &layer_key(&layer.key))?;
            tables.put_layer(before.as_ref(), &layer)
        })
        .await
    }

    async fn forget_layer(&self, key: &LayerKey) -> Result<(), StoreError> {
        let name = layer_key(key);
        self.write(move |tables| match load(&tables.layers, &name)? {
            Some(layer) => tables.remove_layer(&layer),
            None => Ok(()),
        })
        .await
    }
}

impl Embedded {
    async fn note_use(&self, key: &LayerKey, now: Timestamp) -> Result<(), StoreError> {
        let name = layer_key(key);
        self.write(move |tables| match load::<KeptLayer>(&tables.layers, &name)? {
            Some(layer) if layer.used < now => {
                tables.put_layer(Some(&layer), &KeptLayer { used: now, ..layer.clone() })
            }
            Some(_) | None => Ok(()),
        })
        .await
    }
}
