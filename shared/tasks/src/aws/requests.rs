//! Requests to the table: reads, and writes under a condition.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, KeysAndAttributes, Put, TransactWriteItem};
use futures::future::try_join_all;

use super::keys::Key;
use super::table::Table;
use super::{ROUNDS, contended, failed, pause};
use crate::StoreError;

/// An item, or a part of one.
pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A condition: `#name` is an attribute, `:name` a value. Every attribute goes by such a name, since many words are
/// reserved.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) expression: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: HashMap<String, AttributeValue>,
}

impl Condition {
    pub(super) fn new(expression: impl Into<String>) -> Self {
        let expression = expression.into();
        let mut words = expression.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '#' | '_'));
        let names = words.by_ref().filter_map(|word| Some((word.to_owned(), word.strip_prefix('#')?.to_owned())));
        Self { names: names.collect(), expression, values: HashMap::new() }
    }

    /// It always holds.
    pub(super) fn none() -> Self {
        Self::new("")
    }

    /// The value that the expression calls `:name`.
    pub(super) fn value(mut self, name: &str, value: AttributeValue) -> Self {
        self.values.insert(format!(":{name}"), value);
        self
    }

    /// This, or that; neither has an AND.
    pub(super) fn or(self, other: Self) -> Self {
        self.with(" OR ", other)
    }

    /// This, and that; neither has an OR.
    pub(super) fn and(self, other: Self) -> Self {
        self.with(" AND ", other)
    }

    fn with(mut self, word: &str, other: Self) -> Self {
        self.expression = self.expression + word + &other.expression;
        self.names.extend(other.names);
        self.values.extend(other.values);
        self
    }

    /// Expression, names and values, each only if there are any.
    fn parts(self) -> (Option<String>, Option<HashMap<String, String>>, Option<Item>) {
        (
            Some(self.expression).filter(|expression| !expression.is_empty()),
            Some(self.names).filter(|names| !names.is_empty()),
            Some(self.values).filter(|values| !values.is_empty()),
        )
    }
}

/// A write of one item under a condition.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Put(Item, Condition),
    Delete(Key, Condition),
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Written {
    /// It was done.
    Yes,
    /// A condition did not hold: nothing was written.
    Refused,
    /// Another write was under way, or the table is throttled: nothing was written; look, and try again.
    Contended,
}

/// What to look for in a partition.
#[derive(Debug, Clone)]
pub(super) struct Query<'q> {
    /// An index, which lags, or the table, which does not.
    pub(super) index: Option<&'q str>,
    pub(super) keys: Condition,
    pub(super) newest_first: bool,
    pub(super) limit: Option<usize>,
    /// Where the page before ended.
    pub(super) start: Option<Item>,
}

impl Table {
    /// The item of `key`, as it is now.
    pub(super) async fn read(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(&*self.name).set_key(Some(key.item())).consistent_read(true);
        let got = request.send().await.map_err(|error| failed("GetItem", &error))?;
        Ok(got.item)
    }

    /// The items of those `keys` that there are, each as it is now.
    pub(super) async fn read_all(&self, keys: BTreeSet<Key>) -> Result<HashMap<Key, Item>, StoreError> {
        /// As many as one request may name.
        const AT_ONCE: usize = 100;
        let keys: Vec<Item> = keys.iter().map(Key::item).collect();
        let found = try_join_all(keys.chunks(AT_ONCE).map(|keys| self.read_some(keys.to_vec()))).await?;
        Ok(found.into_iter().flatten().filter_map(|item| Some((Key::of(&item)?, item))).collect())
    }

    async fn read_some(&self, mut keys: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::new();
        for round in 0..ROUNDS {
            let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            let wanted = wanted.map_err(|error| StoreError::Unavailable(format!("BatchGetItem: {error}")))?;
            let request = self.client.batch_get_item().request_items(&*self.name, wanted);
            let mut got = request.send().await.map_err(|error| failed("BatchGetItem", &error))?;
            found.extend(got.responses.as_mut().and_then(|tables| tables.remove(&*self.name)).unwrap_or_default());
            // Where the answer would be too long, or the table is throttled.
            let left = got.unprocessed_keys.as_mut().and_then(|tables| tables.remove(&*self.name));
            keys = left.map(|left| left.keys).unwrap_or_default();
            if keys.is_empty() {
                return Ok(found);
            }
            pause(round).await;
        }
        Err(contended("BatchGetItem"))
    }

    /// A page of what `query` finds, and where it ended if there may be more.
    pub(super) async fn query(&self, query: Query<'_>) -> Result<(Vec<Item>, Option<Item>), StoreError> {
        let Query { index, keys, newest_first, limit, start } = query;
        let limit = limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX));
        let (expression, names, values) = keys.parts();
        let request = self
            .client
            .query()
            .table_name(&*self.name)
            .set_index_name(index.map(str::to_owned))
            .consistent_read(index.is_none())
            .set_key_condition_expression(expression)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .scan_index_forward(!newest_first)
            .set_limit(limit)
            .set_exclusive_start_key(start);
        let got = request.send().await.map_err(|error| failed("Query", &error))?;
        Ok((got.items.unwrap_or_default(), got.last_evaluated_key.filter(|key| !key.is_empty())))
    }

    /// Does `change` if its condition holds.
    pub(super) async fn write(&self, change: Change) -> Result<Written, StoreError> {
        match change {
            Change::Put(item, condition) => {
                let (expression, names, values) = condition.parts();
                let request = self.client.put_item().table_name(&*self.name).set_item(Some(item));
                let request = request
                    .set_condition_expression(expression)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values);
                written("PutItem", request.send().await)
            }
            Change::Delete(key, condition) => {
                let (expression, names, values) = condition.parts();
                let request = self.client.delete_item().table_name(&*self.name).set_key(Some(key.item()));
                let request = request
                    .set_condition_expression(expression)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values);
                written("DeleteItem", request.send().await)
            }
        }
    }

    /// Does `change` if its condition holds: whether it did. Waits for writes that are in the way.
    pub(super) async fn settle(&self, change: Change) -> Result<bool, StoreError> {
        for round in 0..ROUNDS {
            match self.write(change.clone()).await? {
                Written::Yes => return Ok(true),
                Written::Refused => return Ok(false),
                Written::Contended => pause(round).await,
            }
        }
        Err(contended("a write"))
    }

    /// Does all `changes`, or none. The SDK sends the same token with each of its attempts, so one whose answer was lost
    /// is not taken for another's.
    pub(super) async fn transact(&self, changes: Vec<Change>) -> Result<Written, StoreError> {
        let items = changes.into_iter().map(|change| self.part(change)).collect::<Result<_, _>>()?;
        let outcome = self.client.transact_write_items().set_transact_items(Some(items)).send().await;
        if let Err(SdkError::ServiceError(error)) = &outcome
            && let Some(reason) = hopeless(error.err())
        {
            return Err(StoreError::Unavailable(format!("TransactWriteItems: {reason}")));
        }
        written("TransactWriteItems", outcome)
    }

    fn part(&self, change: Change) -> Result<TransactWriteItem, StoreError> {
        let part = TransactWriteItem::builder();
        let part = match change {
            Change::Put(item, condition) => {
                let (expression, names, values) = condition.parts();
                let put = Put::builder()
                    .table_name(&*self.name)
                    .set_item(Some(item))
                    .set_condition_expression(expression)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values);
                put.build().map(|put| part.put(put))
            }
            Change::Delete(key, condition) => {
                let (expression, names, values) = condition.parts();
                let delete = Delete::builder()
                    .table_name(&*self.name)
                    .set_key(Some(key.item()))
                    .set_condition_expression(expression)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values);
                delete.build().map(|delete| part.delete(delete))
            }
        };
        let part = part.map_err(|error| StoreError::Unavailable(format!("TransactWriteItems: {error}")))?;
        Ok(part.build())
    }
}

/// Why a transaction was cancelled, if that does not change.
fn hopeless(error: &TransactWriteItemsError) -> Option<String> {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else { return None };
    let reason = cancelled
        .cancellation_reasons()
        .iter()
        .find(|reason| matches!(reason.code(), Some("ValidationError" | "ItemCollectionSizeLimitExceeded")))?;
    Some(format!("{}: {}", reason.code().unwrap_or_default(), reason.message().unwrap_or_default()))
}

/// What the answer to a write under a condition means. A transaction that was cancelled may have met another one or a
/// condition that does not hold; which of its writes that was, older servers do not say, so nobody relies on it.
fn written<T, E, R>(operation: &str, outcome: Result<T, SdkError<E, R>>) -> Result<Written, StoreError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let Err(error) = outcome else { return Ok(Written::Yes) };
    match error.code() {
        Some("ConditionalCheckFailedException") => Ok(Written::Refused),
        Some(
            "TransactionCanceledException"
            | "TransactionConflictException"
            | "TransactionInProgressException"
            | "ThrottlingException"
            | "ProvisionedThroughputExceededException"
            | "RequestLimitExceeded",
        ) => Ok(Written::Contended),
        _ => Err(failed(operation, &error)),
    }
}
