//! Between the client and DynamoDB: sees each request, loses answers, and answers for the server.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_sdk_dynamodb::config::interceptors::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is done, and its answer is lost.
    AnswerLost,
    /// It is not done, and answered with this error.
    Refused(&'static str),
}

/// The requests that were sent, and what is to happen to the next ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    seen: Vec<String>,
    faults: VecDeque<(&'static str, Fault)>,
    /// That of the request under way. Tests with faults send one at a time.
    current: Option<Fault>,
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The next requests of `operation` meet `faults`, one each.
    pub(crate) fn meet(&self, operation: &'static str, faults: &[Fault]) {
        self.state().faults.extend(faults.iter().map(|fault| (operation, *fault)));
    }

    /// The requests since the last call, and that no fault is left.
    pub(crate) fn seen(&self) -> Vec<String> {
        let mut state = self.state();
        assert_eq!(state.faults, [], "they were to be met");
        std::mem::take(&mut state.seen)
    }
}

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        let target = headers.get("x-amz-target").unwrap_or_default().to_owned();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let mut state = self.state();
        let due = state.faults.front().is_some_and(|(name, _)| *name == operation);
        state.current = due.then(|| state.faults.pop_front()).flatten().map(|(_, fault)| fault);
        if matches!(state.current, Some(Fault::Refused(_))) {
            headers.insert("x-amz-target", "DynamoDB_20120810.NoSuchOperation");
        }
        state.seen.push(operation);
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        match self.state().current.take() {
            None => {}
            Some(Fault::AnswerLost) => *response.status_mut() = 500.try_into()?,
            Some(Fault::Refused(error)) => {
                assert!(!response.status().is_success(), "nothing is to be done");
                *response.status_mut() = 400.try_into()?;
                *response.body_mut() = error.into();
                // Some emulators say the error's name here too.
                response.headers_mut().remove("x-amzn-errortype");
            }
        }
        Ok(())
    }
}
