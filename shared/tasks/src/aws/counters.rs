//! Counters that many processes add to: each a number in one of a few items, so that no item takes all the writes.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::failed;
use super::keys::{Key, SHARDS};
use super::requests::number;
use super::table::Table;
use crate::StoreError;

/// What the attributes of counters begin with.
const COUNT: &str = "n:";
/// So many counters are raised by one request; an expression has a length.
const AT_ONCE: usize = 50;

/// The counters of a table: best effort. A request whose answer was lost is sent again and may count twice; one that
/// failed is not counted. They only ever rise, and live as long as the table.
#[derive(Debug, Clone)]
pub struct Counters(Table);

impl Table {
    /// Its counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters(self.clone())
    }
}

impl Counters {
    /// Adds to the counters of these names, each named once: any text of up to 1,000 bytes, such as a metric with its
    /// labels. One request, as long as there are not more than 50.
    ///
    /// # Errors
    /// The table could not be written; some may have been counted.
    pub async fn add(&self, counts: &[(&str, u64)]) -> Result<(), StoreError> {
        let counts: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
        for counts in counts.chunks(AT_ONCE) {
            let parts: Vec<String> = (0..counts.len()).map(|n| format!("#n{n} :n{n}")).collect();
            let mut request = self
                .0
                .client
                .update_item()
                .table_name(&*self.0.name)
                .set_key(Some(Key::counter(fastrand::u8(..SHARDS)).item()))
                .update_expression(format!("ADD {}", parts.join(", ")));
            for (n, (name, count)) in counts.iter().enumerate() {
                request = request
                    .expression_attribute_names(format!("#n{n}"), format!("{COUNT}{name}"))
                    .expression_attribute_values(format!(":n{n}"), number(count));
            }
            request.send().await.map_err(|error| failed("UpdateItem", &error))?;
        }
        Ok(())
    }

    /// All counters that were ever added to.
    ///
    /// # Errors
    /// The table could not be read.
    pub async fn totals(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let items = self.0.read_all((0..SHARDS).map(Key::counter).collect()).await?;
        let mut totals = BTreeMap::new();
        for (name, value) in items.into_values().flatten() {
            if let (Some(name), Some(count)) = (name.strip_prefix(COUNT), count(&value)) {
                let total: &mut u64 = totals.entry(name.to_owned()).or_default();
                *total = total.saturating_add(count);
            }
        }
        Ok(totals)
    }
}

fn count(value: &AttributeValue) -> Option<u64> {
    value.as_n().ok()?.parse().ok()
}
