//! Signals: kept in the order in which they came, and read as often as the handler runs.

use outlast_core::store::Signalled;
use outlast_core::{Error, NewSignal, Signal, TaskId};

use crate::failure::Failure;
use crate::row;
use crate::unit::Unit;

impl Unit<'_> {
    pub(crate) fn signal(&mut self, id: TaskId, signal: &NewSignal) -> Result<Signalled, Failure> {
        signal.check()?;
        let task = self.find(id)?.ok_or(Error::NotFound(id))?;
        if let Some(signal_id) = &signal.id
            && let Some(number) = self.signal_number(id, signal_id)?
        {
            return Ok(Signalled {
                number,
                repeated: true,
            });
        }
        let now = self.now;
        let (number, _) = self.change_found(&task, |task| task.signal(&signal.name, now))?;
        let kept = Signal {
            name: signal.name.clone(),
            number,
            id: signal.id.clone(),
            payload: signal.payload.clone(),
            at: now,
        };
        let (key, text) = (format!("s:{id}"), row::encode("signal", &kept)?);
        let field = format!("n{number}:{}", signal.name);
        self.call(&["HSET", &key, &field, &text]);
        if let Some(signal_id) = &signal.id {
            self.call(&["HSET", &key, &format!("i{signal_id}"), &number.to_string()]);
        }
        Ok(Signalled {
            number,
            repeated: false,
        })
    }
}
