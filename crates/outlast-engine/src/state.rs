//! An application's own state, handed to every handler.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

/// One value for each type, set before the server starts and the same in every call, after a
/// restart and in a worker process.
#[derive(Clone, Default)]
pub struct StateMap {
    values: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl StateMap {
    /// Puts a value, replacing the one of the same type.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.values.insert(TypeId::of::<T>(), Arc::new(value));
    }

    /// Puts a value that somebody else holds too, replacing the one of the same type.
    pub fn insert_shared<T: Send + Sync + 'static>(&mut self, value: Arc<T>) {
        self.values.insert(TypeId::of::<T>(), value);
    }

    /// Puts all values of `others` for whose types there is none.
    pub fn fill(&mut self, others: &Self) {
        for (id, value) in &others.values {
            self.values.entry(*id).or_insert_with(|| Arc::clone(value));
        }
    }

    /// The value of this type, if one was put.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let value = Arc::clone(self.values.get(&TypeId::of::<T>())?);
        value.downcast().ok()
    }
}
