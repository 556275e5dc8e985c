//! What a server declares besides its tools (limits over all of them, schedules), and declaring it anew
//! while the engine runs.
//!
//! Everything is checked before anything is changed: a declaration that cannot hold leaves all as it was.

use outlast_core::{Error, NewSchedule};

use crate::handle::Handle;
use crate::order::{ALL_TOOLS, Order};
use crate::schedule;
use crate::tool::Tools;

/// Limits over all tools and schedules that can hold together with certain tools. Made by
/// [`Declarations::check`].
#[derive(Debug)]
pub struct Declarations {
    order: Order,
    schedules: Vec<NewSchedule>,
}

impl Declarations {
    /// Checks what a server with these tools declares.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the limits over all tools or a schedule cannot hold, or two schedules have one
    /// name.
    pub fn check(tools: &Tools, order: Order, schedules: Vec<NewSchedule>) -> Result<Self, Error> {
        order.check(ALL_TOOLS).map_err(Error::Invalid)?;
        let schedules = schedule::declared_by_server(schedules, tools)?;
        Ok(Self { order, schedules })
    }

    pub(crate) fn into_parts(self) -> (Order, Vec<NewSchedule>) {
        (self.order, self.schedules)
    }
}

impl Handle {
    /// Brings the store to what the server declares now; [`Handle::set_tools`] comes before. Schedules that
    /// have changed keep their history, those that are declared no longer are removed. Tasks that run or
    /// wait keep the limits that they were created under.
    ///
    /// # Errors
    /// The store failed; a part may have been stored, and doing it again is harmless.
    pub async fn declare(&self, declarations: Declarations) -> Result<(), Error> {
        let (order, schedules) = declarations.into_parts();
        self.shared.set_order(order);
        self.shared.declare_rules().await?;
        schedule::declare(&self.shared, &schedules).await
    }
}
