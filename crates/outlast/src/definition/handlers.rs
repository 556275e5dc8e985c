//! The handlers that are made of functions: arguments are checked and read, then the function is called.

use std::marker::PhantomData;

use outlast_core::{RawJson, ToolResult};
use outlast_engine::{BoxFuture, Cx, Handler};
use serde::de::DeserializeOwned;

use crate::{Error, Result, arguments, schema};

/// A function that takes its arguments as a type.
pub(super) struct Typed<A, F> {
    validator: Option<schema::Later>,
    run: F,
    arguments: PhantomData<fn(A)>,
}

impl<A, F> Typed<A, F> {
    pub(super) fn new(validator: Option<schema::Later>, run: F) -> Self {
        Self {
            validator,
            run,
            arguments: PhantomData,
        }
    }
}

impl<A, F> Handler for Typed<A, F>
where
    A: DeserializeOwned + Send + 'static,
    F: Fn(A, Cx) -> BoxFuture<'static, Result<ToolResult>> + Send + Sync + 'static,
{
    fn check(&self, arguments: &RawJson) -> Result<(), String> {
        arguments::read::<A>(arguments)?;
        match self.validator.as_deref() {
            Some(Some(validator)) => arguments::validate(validator, arguments),
            _ => Ok(()),
        }
    }

    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        match arguments::read(&arguments) {
            Ok(arguments) => (self.run)(arguments, cx),
            // A task that older code accepted.
            Err(sentence) => Box::pin(async move { Err(Error::arguments(sentence)) }),
        }
    }
}

/// A function that takes its arguments as they came.
pub(super) struct Untyped<F> {
    validator: jsonschema::Validator,
    run: F,
}

impl<F> Untyped<F> {
    pub(super) fn new(validator: jsonschema::Validator, run: F) -> Self {
        Self { validator, run }
    }
}

impl<F, Fut> Handler for Untyped<F>
where
    F: Fn(RawJson, Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<ToolResult>> + Send + 'static,
{
    fn check(&self, arguments: &RawJson) -> Result<(), String> {
        arguments::validate(&self.validator, arguments)
    }

    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        Box::pin((self.run)(arguments, cx))
    }
}
